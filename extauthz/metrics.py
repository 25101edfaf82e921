"""Metrics: what a server tells Prometheus, one set for all its processes."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate

from prometheus_client import ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from authn.status import JwtStatus
from authz.decision import Stage, Verdict
from authz.model import Action
from extauthz.tally import BUCKETS, Beside, Call, Counted, Decided, Fetch, Refusal, Tally, Token
from mesh.snapshot import Snapshot

__all__ = ["Answerer", "Metrics", "Reload", "Status"]

_SILENCE = 10.0
"""After how many seconds a process whose loop does not turn is taken not to answer. It should every second."""

# Those that a server makes; any other is told of once it has occurred.
_EXPECTED: frozenset[Decided] = frozenset(
    {
        (Verdict.ALLOW, Stage.ALLOW, Action.ALLOW),
        (Verdict.ALLOW, Stage.NONE, None),
        (Verdict.DENY, Stage.ALLOW, Action.ALLOW),
        (Verdict.DENY, Stage.CUSTOM, Action.CUSTOM),
        (Verdict.DENY, Stage.DENY, Action.DENY),
        (Verdict.DENY, Stage.JWT, None),
        (Verdict.DENY, Stage.NONE, None),
    }
)


class Reload(Enum):
    """What came of loading the manifests."""

    OK = "ok"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answerer:
    """A process that answers, as the first one sees it: its id, none while it does not run, and by what it answers.

    `shadow` is the revision that it decides by besides; empty where there is none.
    """

    name: str
    pid: int | None
    tally: Tally
    revision: str
    shadow: str = ""
    restarts: int = 0

    @property
    def silent(self) -> float:
        """For how many seconds its loop has not turned."""
        return max(time.monotonic() - self.tally.alive_at, 0.0)

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return self.pid is not None and self.revision != "" and self.silent < _SILENCE


class Status:
    """What the first process knows of the server as a whole.

    `answerers` says who answers; `outdated`, whether what is in force is not what the manifests say now. `shadow` is what is
    decided by besides, where that is wanted, and `shadow_outdated` the same of that.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.shadow: Snapshot | None = None
        self.shadow_outdated: Callable[[], bool] = bool
        self.answerers: Callable[[], Sequence[Answerer]] = tuple
        self.outdated: Callable[[], bool] = bool
        self.draining = False
        self.reloads = dict.fromkeys(Reload, 0)
        self.reloaded_at = dict.fromkeys(Reload, 0.0)

    def loaded(self, snapshot: Snapshot) -> None:
        """This one is in force from now on."""
        self.snapshot = snapshot
        self._count(Reload.OK)

    def refused(self) -> None:
        """A change was not taken up."""
        self._count(Reload.REFUSED)

    def _count(self, what: Reload) -> None:
        self.reloads[what] += 1
        self.reloaded_at[what] = time.time()

    @property
    def ready(self) -> bool:
        """Whether questions are answered, by the last good policies."""
        return self.snapshot is not None and not self.draining and any(each.up for each in self.answerers())


class Metrics(Collector):
    """Collects all that is told, in the words of `Status` and of the tallies of those who answer."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._processes = _Processes()

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        answerers = self._status.answerers()
        tallies = [each.tally for each in answerers]
        yield from _answers(tallies)
        yield from _outside(tallies)
        yield from self._manifests()
        yield from self._shadow(tallies)
        yield from self._workers(answerers)
        yield from self._processes.collect(answerers)

    def _manifests(self) -> Iterator[Metric]:
        status = self._status
        reloads = CounterMetricFamily(
            "meshward_reloads", "Times that changed manifests were loaded, the first included.", labels=["result"]
        )
        times = GaugeMetricFamily(
            "meshward_reload_timestamp_seconds", "When that was last; 0 for never.", labels=["result"]
        )
        for result in Reload:
            reloads.add_metric([result.value], status.reloads[result])
            times.add_metric([result.value], status.reloaded_at[result])
        yield reloads
        yield times
        yield _gauge(
            "manifests_refused", "1 if an older revision is in force, because the last was refused.", status.outdated()
        )
        yield _gauge("ready", "1 if questions are answered: what /readyz says.", status.ready)
        policies = GaugeMetricFamily("meshward_policies", "Policies in force.", labels=["kind"])
        revision = InfoMetricFamily("meshward_revision", "The revision in force.")
        rules = workloads = 0
        if (snapshot := status.snapshot) is not None:
            policies.add_metric(["AuthorizationPolicy"], len(snapshot.policies))
            policies.add_metric(["PeerAuthentication"], len(snapshot.peer_authentications))
            policies.add_metric(["RequestAuthentication"], len(snapshot.request_authentications))
            revision.add_metric([], {"revision": snapshot.revision})
            rules = sum(len(policy.rules) for policy in snapshot.policies)
            workloads = len(snapshot.registry)
        yield policies
        yield revision
        yield _gauge("rules", "Rules of the AuthorizationPolicies in force.", rules)
        yield _gauge("workloads", "Workloads that are known.", workloads)

    def _shadow(self, tallies: Sequence[Tally]) -> Iterator[Metric]:
        """The version that is decided by and not enforced."""
        shadow = self._status.shadow
        decided = CounterMetricFamily(
            "meshward_shadow_decisions",
            "Questions that were decided by the shadow, too: what was answered, and what it would have.",
            labels=["enforced", "shadow"],
        )
        revision = InfoMetricFamily("meshward_shadow_revision", "The revision of the shadow.")
        if shadow is not None:
            counts: dict[tuple[Verdict, Beside], int] = {}
            for tally in tallies:
                for each, count in tally.shadows:
                    counts[each] = counts.get(each, 0) + count
            for (verdict, beside), count in counts.items():
                decided.add_metric([verdict.value, beside.value], count)
            revision.add_metric([], {"revision": shadow.revision})
        yield decided
        yield revision
        yield _gauge(
            "shadow_manifests_refused",
            "1 if an older revision of the shadow is decided by, because the last was refused.",
            self._status.shadow_outdated(),
        )

    def _workers(self, answerers: Sequence[Answerer]) -> Iterator[Metric]:
        wanted = tuple("" if each is None else each.revision for each in (self._status.snapshot, self._status.shadow))
        yield _gauge("workers", "Processes that should answer.", len(answerers))
        yield _gauge("workers_up", "Processes that answer.", sum(each.up for each in answerers))
        yield _gauge(
            "workers_behind",
            "Processes that have not taken up the revision in force.",
            sum((each.revision, each.shadow) != wanted for each in answerers),
        )
        yield CounterMetricFamily(
            "meshward_worker_restarts",
            "Times that a worker was started again.",
            value=sum(each.restarts for each in answerers),
        )
        silent = GaugeMetricFamily(
            "meshward_worker_silent_seconds",
            "For how long its loop has not turned; what it counted until then is in these metrics.",
            labels=["process"],
        )
        for each in answerers:
            silent.add_metric([each.name], each.silent)
        yield silent


def _answers(tallies: Sequence[Tally]) -> Iterator[Metric]:
    decisions: dict[Decided, int] = {}
    for tally in tallies:
        for each, count in tally.decisions:
            decisions[each] = decisions.get(each, 0) + count
    decided = CounterMetricFamily("meshward_decisions", "Questions answered.", labels=["verdict", "stage", "action"])
    for (verdict, stage, action), count in decisions.items():
        if count or (verdict, stage, action) in _EXPECTED:
            decided.add_metric([verdict.value, stage.value, "none" if action is None else action.value], count)
    yield decided
    counts = [sum(column) for column in zip(*(tally.times for tally in tallies), strict=True)] or [0] * (
        len(BUCKETS) + 1
    )
    bounds = map(floatToGoString, (*BUCKETS, math.inf))
    yield HistogramMetricFamily(
        "meshward_decision_duration_seconds",
        "From a question's coming in to its answer, external authorizers included and gRPC left out.",
        buckets=list(zip(bounds, accumulate(counts), strict=True)),
        sum_value=sum(tally.seconds for tally in tallies),
    )
    yield _counter(tallies, "refused_questions", "Questions denied without asking a policy.", "reason", Refusal)


def _outside(tallies: Sequence[Tally]) -> Iterator[Metric]:
    """What has to do with others: issuers of tokens, and external authorizers."""
    yield _counter(
        tallies, "token_verifications", "Requests whose tokens were verified.", "status", (*Token, *JwtStatus)
    )
    yield _counter(tallies, "authorizer_calls", "Requests left to external authorizers.", "outcome", Call)
    yield _counter(tallies, "jwks_fetches", "Fetches of keys.", "result", Fetch)
    usable, missing, oldest = (
        zip(*(tally.key_sets for tally in tallies), strict=True) if tallies else ((0,), (0,), (0.0,))
    )
    sources = GaugeMetricFamily(
        "meshward_jwks_sources",
        "Key sets that policies need, fetched or not: the worst of all processes.",
        labels=["state"],
    )
    sources.add_metric(["usable"], min(usable))
    sources.add_metric(["missing"], max(missing))
    yield sources
    fetched = [at for at in oldest if at]
    yield _gauge(
        "jwks_oldest_age_seconds",
        "Age of the oldest key set; 0 where none is fetched.",
        max(time.monotonic() - min(fetched), 0.0) if fetched else 0.0,
    )


def _counter(tallies: Sequence[Tally], name: str, text: str, label: str, values: Iterable[Counted]) -> Metric:
    counter = CounterMetricFamily(f"meshward_{name}", text, labels=[label])
    for value in values:
        word = value.name.lower().replace("_", "-") if isinstance(value, JwtStatus) else value.value
        counter.add_metric([word], sum(tally.of(value) for tally in tallies))
    return counter


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"meshward_{name}", text, value=value)


class _Processes:
    """The usual metrics of processes, for the first and for each worker, whichever process that is at the time."""

    _CPU = "process_cpu_seconds"

    def __init__(self) -> None:
        # By name: the process seen last, its CPU time then, and that of all before it.
        self._cpu: dict[str, tuple[str, float, float]] = {}

    def collect(self, answerers: Sequence[Answerer]) -> Iterator[Metric]:
        """Those of the first process and of `answerers`."""
        families: dict[str, Metric] = {}
        pids = {"server": "self", **{each.name: str(each.pid) for each in answerers if each.pid is not None}}
        for name, pid in pids.items():
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    value = self._going_on(name, pid, sample.value) if metric.name == self._CPU else sample.value
                    family.add_sample(sample.name, {"process": name}, value)
        yield from families.values()

    def _going_on(self, name: str, pid: str, seconds: float) -> float:
        """The CPU time of all processes that had this name: a counter does not go back when one follows another."""
        last, latest, before = self._cpu.get(name, (pid, 0.0, 0.0))
        if last != pid:
            before += latest
        self._cpu[name] = pid, seconds, before
        return before + seconds
