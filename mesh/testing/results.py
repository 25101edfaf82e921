"""Results: what came of a suite, as plain data that every report is written from."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from authz.decision import Decision, Match, Verdict
from authz.span import Span
from authz.tree import DecisionTree
from mesh.answering import Answer, answer_of
from mesh.snapshot import Snapshot
from mesh.testing.coverage import Coverage, Covering, shortfalls
from mesh.testing.curl import curl_of
from mesh.testing.evasions import Evaded, Evading, kinds_of
from mesh.testing.recorded import replay_test
from mesh.testing.running import Case, Outcome, Running
from mesh.testing.sent import Sent, as_sent
from mesh.testing.suites import Suite
from parser.request import RequestDocument

__all__ = ["Failed", "Result", "Through", "Wanted", "run_suite"]


@dataclass(frozen=True, slots=True)
class Through:
    """A way to write a denied request by which it is let through: its kind, the command, what decided, and why it works."""

    kind: str
    curl: str
    decided: str
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A case that did not go as expected. `problems` are sentences, `span` is the place of its test.

    `answer` says why it is decided so: the verdict, and lines behind labels. `curl` is none for what is no HTTP request. Nobody is
    its `caller` where traffic was replayed.
    """

    name: str
    span: Span
    caller: str
    problems: tuple[str, ...]
    answer: Answer
    curl: str | None = None
    through: tuple[Through, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one file.

    `passed` are the names of the cases that went as expected, as far as names were asked for; `mutants` is how many evasions
    were tried. `coverage` is none where it was not asked for, and `shortfalls` say where it is less than the file demands.
    """

    file: str
    cases: int
    passed: tuple[str, ...]
    failed: tuple[Failed, ...]
    mutants: int
    seconds: float
    coverage: Coverage | None = None
    shortfalls: tuple[str, ...] = ()


class Wanted(Enum):
    """What is wanted to be known of a run besides what failed."""

    NAMES = "names"
    COVERAGE = "coverage"


def run_suite(
    suite: Suite,
    *,
    at: float,
    chosen: Callable[[str], bool] | None = None,
    wanted: frozenset[Wanted] = frozenset(),
    sections: range | None = None,
) -> Result:
    """Run the cases of a suite, or of some `sections` of it, or those with a `chosen` name.

    `at` is the time where the suite does not say any. Where a file demands coverage, it is looked at in any case, unless only
    cases with some names are run; of sections, the shortfalls are those of all that they are a part of to find.
    """
    begun = time.perf_counter()
    running = Running(suite, at=at)
    evading = Evading(running)
    gate = suite.tests.coverage if chosen is None else None
    covering = Covering(suite) if gate is not None or Wanted.COVERAGE in wanted else None
    decides = DecisionTree.decide if covering is None else covering.watch
    count = 0
    passed: list[str] = []
    failed: list[Failed] = []
    for case in running.cases(sections):
        if chosen is not None and not chosen(case.name):
            continue
        count += 1
        outcome = running.outcome(case, decides)
        if covering is not None:
            covering.note(case, outcome.decision)
        through: tuple[Evaded, ...] = ()
        if case.test.evasions and outcome.decision.verdict is Verdict.DENY:
            through = tuple(evading.through(case))
        if outcome.failures or through:
            failed.append(_failed(running, outcome, through))
        elif Wanted.NAMES in wanted:
            passed.append(case.name)
    for name, recorded in _recorded(running, chosen, sections):
        count += 1
        if recorded is not None:
            failed.append(recorded)
        elif Wanted.NAMES in wanted:
            passed.append(name)
    coverage = None if covering is None else covering.coverage()
    return Result(
        file=suite.tests.file,
        cases=count,
        passed=tuple(passed),
        failed=tuple(failed),
        mutants=evading.tried,
        seconds=time.perf_counter() - begun,
        coverage=coverage,
        shortfalls=() if coverage is None or sections is not None else shortfalls(coverage, gate),
    )


def _recorded(
    running: Running, chosen: Callable[[str], bool] | None, sections: range | None
) -> Iterator[tuple[str, Failed | None]]:
    """The tests of recorded traffic by their names, each with how it failed, if it did."""
    suite = running.suite
    for test, check in running.recordings(sections):
        name = f"{suite.tests.file}::{test.name}[{check.path.text}]"
        if chosen is None or chosen(name):
            problems, answer = replay_test(suite, test, check, at=running.at)
            failed = Failed(name=name, span=test.span, caller="", problems=problems, answer=answer)
            yield name, failed if problems else None


def _failed(running: Running, outcome: Outcome, through: tuple[Evaded, ...]) -> Failed:
    case = outcome.case
    snapshot, token = running.suite.snapshot, running.tokens.get(case.caller.name)
    problems = list(outcome.failures)
    if through:
        count = len(kinds_of(case.test))
        problems.append(f"written otherwise it is allowed, in {len(through)} of {count} ways")
    sent = _sent(case)
    return Failed(
        name=case.name,
        span=case.test.span,
        caller=_caller(case),
        problems=tuple(problems),
        answer=_answer(running, outcome),
        curl=None if sent is None else curl_of(sent, token=token),
        through=tuple(
            Through(
                evaded.kind,
                curl_of(_at_home(evaded.sent, case), token=token),
                _decided(evaded.decision, snapshot),
                evaded.why,
            )
            for evaded in through
        ),
    )


def _answer(running: Running, outcome: Outcome) -> Answer:
    decision = outcome.decision
    if (explained := running.explain(outcome.case)) is not None:
        return answer_of(explained)
    return Answer(headline=f"{decision.verdict.value} {decision.status}  {decision.reason}", lines=())


def _caller(case: Case) -> str:
    """Who asks, in words that go behind "as"."""
    facts = case.asked.attributes if isinstance(case.asked, RequestDocument) else None
    if facts is None or not facts.identities:
        return f"{case.caller.name} (plaintext)" if facts is not None else case.caller.name
    return f"{case.caller.name} ({facts.identities[0]})"


def _sent(case: Case) -> Sent | None:
    if not isinstance(case.asked, RequestDocument) or case.target is None:
        return None
    facts = replace(case.asked.attributes, path=case.target, remote_ip=case.caller.remote_address)
    return _at_home(as_sent(facts), case)


def _at_home(sent: Sent, case: Case) -> Sent:
    """The request to a host that is there: where a test names none, that of the workload."""
    if case.request.host is not None:
        return sent
    workload, port = case.place.workload, case.request.port or case.place.port
    host = f"{workload.name}.{workload.namespace}" + ("" if port is None else f":{port}")
    return replace(sent, hosts=(host, *sent.hosts[1:]))


def _decided(decision: Decision, snapshot: Snapshot) -> str:
    if decision.match is None:
        return decision.reason
    return f"{decision.reason}: {_named(decision.match, snapshot)}"


def _named(match: Match, snapshot: Snapshot) -> str:
    place = snapshot.place(match)
    return f"{match.policy}#{match.rule}" + ("" if place is None else f" ({place})")
