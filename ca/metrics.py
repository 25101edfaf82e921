"""Metrics: what an authority tells Prometheus. No label comes from a request or names a workload."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ca.counting import BUCKETS, Counters
from ca.errors import AuthorityError, StoreError
from ca.inventory import InventoryFilter, IssuedKind, IssuedState
from ca.office import Office
from ca.phases import Phase, SlotKind
from ca.rotation import Reason
from identity import X509Svid

__all__ = ["ENDING", "Metrics"]

_logger = logging.getLogger("meshward.ca")

ENDING = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1))
"""How soon what ends is counted."""


class Metrics(Collector):
    """Collects all of an office. Reading the store for it blocks, so it is to be collected in a thread.

    `own` is what the authority's servers show, where they show something.
    """

    def __init__(self, office: Office, *, own: Callable[[], X509Svid] | None = None) -> None:
        self._office = office
        self._own = own

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        at = self._office.clock()
        yield from _counted(self._office.counters)
        yield from self._authorities(at)
        yield from self._rotation(at)
        failures = [self._office.watcher.failure, self._office.supervisor.failure]
        kept: list[Metric] = []
        try:
            kept += self._consumers(at)
            kept += self._inventory(at)
        except AuthorityError as error:
            # What cannot be read is left out, and that it cannot is told.
            _logger.warning("%s", error)
            failures.append(error)
        yield from kept
        yield _gauge(
            "store_failed",
            "1 while the store cannot be read or written.",
            any(isinstance(error, StoreError) for error in failures),
        )
        if self._own is not None:
            yield from self._own_svid(self._own, at)

    def _authorities(self, at: datetime) -> Iterator[Metric]:
        try:
            signing = self._office.signing.now()
        except AuthorityError:
            yield _gauge("can_sign", "1 if X.509-SVIDs can be signed now.", False)  # noqa: FBT003  # a value
            return
        yield _gauge("can_sign", "1 if X.509-SVIDs can be signed now.", _succeeds(signing.require_authority, at))
        if signing.jwt is not None or signing.authorities is not None:
            yield _gauge("can_sign_jwt", "1 if JWT-SVIDs can be signed now.", _succeeds(signing.require_jwt, at))
        if signing.bundle.sequence is not None:
            yield _gauge("bundle_sequence", "The sequence of the bundle.", signing.bundle.sequence)
        slots = () if signing.authorities is None else signing.authorities.slots
        number = GaugeMetricFamily("meshward_ca_authorities", "Signing authorities.", labels=["kind", "phase"])
        expiry = GaugeMetricFamily(
            "meshward_ca_authority_expiry_seconds",
            "How long the first of them to end has left; negative if it has ended.",
            labels=["kind", "phase"],
        )
        life = GaugeMetricFamily(
            "meshward_ca_authority_lifetime_seconds", "The whole life of that one.", labels=["kind", "phase"]
        )
        for kind in SlotKind:
            for phase in Phase:
                found = [slot for slot in slots if slot.kind is kind and slot.phase is phase]
                number.add_metric([kind.value, phase.value], len(found))
                # Who is retired has nothing left to lose.
                if found and phase is not Phase.RETIRED:
                    first = min(found, key=lambda slot: slot.not_after)
                    expiry.add_metric([kind.value, phase.value], (first.not_after - at).total_seconds())
                    life.add_metric([kind.value, phase.value], (first.not_after - first.not_before).total_seconds())
        yield number
        if signing.authority is not None:
            # Of a plugged-in authority not all are in slots.
            plugged_in = {
                SlotKind.ROOT: signing.authority.root,
                SlotKind.INTERMEDIATE: signing.authority.intermediate.certificate,
            }
            for kind, each in plugged_in.items():
                if any(slot.kind is kind and slot.phase is Phase.ACTIVE for slot in slots):
                    continue
                end = each.not_valid_after_utc
                expiry.add_metric([kind.value, Phase.ACTIVE.value], (end - at).total_seconds())
                life.add_metric([kind.value, Phase.ACTIVE.value], (end - each.not_valid_before_utc).total_seconds())
        yield expiry
        yield life

    def _rotation(self, at: datetime) -> Iterator[Metric]:
        supervisor = self._office.supervisor
        yield _gauge("rotation_failed", "1 while the steps of rotation cannot be done.", supervisor.failure is not None)
        waits = () if supervisor.waiting is None else supervisor.waiting.waits
        waiting = GaugeMetricFamily(
            "meshward_ca_rotation_waiting", "1 for what the next step of rotation waits for.", labels=["kind", "reason"]
        )
        for kind in SlotKind:
            for reason in Reason:
                found = any(wait.kind is kind and wait.reason is reason for wait in waits)
                waiting.add_metric([kind.value, reason.name.lower()], found)
        yield waiting
        deadline = GaugeMetricFamily(
            "meshward_ca_rotation_deadline_seconds",
            "How long what signs has left while its successor waits for consumers.",
            labels=["kind"],
        )
        for wait in waits:
            if wait.reason is Reason.CONSUMERS and wait.deadline is not None:
                deadline.add_metric([wait.kind.value], (wait.deadline - at).total_seconds())
        yield deadline

    def _consumers(self, at: datetime) -> Iterable[Metric]:
        held = self._office.consumers.acknowledged(at=at).values()
        try:
            sequence = self._office.signing.now().bundle.sequence or 0
        except AuthorityError:
            sequence = 0
        return (
            _gauge("consumers", "Consumers of the bundle that count.", len(held)),
            _gauge(
                "consumers_behind",
                "Of these, those that do not hold the newest.",
                sum(each < sequence for each in held),
            ),
        )

    def _inventory(self, at: datetime) -> Iterable[Metric]:
        inventory = self._office.store.inventory
        valid = InventoryFilter(kind=IssuedKind.X509, state=IssuedState.VALID)
        ending = GaugeMetricFamily(
            "meshward_ca_certificates_ending",
            "Valid certificates of workloads that end within so many seconds.",
            labels=["within"],
        )
        for within in ENDING:
            soon = InventoryFilter(kind=IssuedKind.X509, expiring_within=within)
            ending.add_metric([f"{within.total_seconds():.0f}"], inventory.count(soon, at=at))
        return (
            _gauge("certificates_valid", "Valid certificates of workloads.", inventory.count(valid, at=at)),
            ending,
            _gauge(
                "renewals_overdue",
                "Names all of whose valid certificates are in the last sixth of their lives.",
                inventory.names_overdue(at=at),
            ),
        )

    def _own_svid(self, own: Callable[[], X509Svid], at: datetime) -> Iterator[Metric]:
        try:
            leaf = own().leaf
        except AuthorityError:
            left = life = 0.0
        else:
            left = (leaf.not_valid_after_utc - at).total_seconds()
            life = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
        yield _gauge(
            "own_svid_expiry_seconds", "How long the authority's own certificate has left; 0 if it has none.", left
        )
        yield _gauge("own_svid_lifetime_seconds", "The whole life of the authority's own certificate.", life)


def _counted(counters: Counters) -> Iterator[Metric]:
    # Copied: the event loop goes on counting.
    issued = CounterMetricFamily("meshward_ca_issued", "Certificates and tokens issued.", labels=["edge", "kind"])
    for (edge, kind), number in list(counters.issued_by.items()):
        issued.add_metric([edge, kind.value], number)
    yield issued
    refused = CounterMetricFamily("meshward_ca_refused", "Requests refused.", labels=["edge", "code"])
    for (edge, code), number in list(counters.refused_by.items()):
        refused.add_metric([edge, code], number)
    yield refused
    times = HistogramMetricFamily(
        "meshward_ca_issue_duration_seconds",
        "From a request's coming in to its answer, for those that got what they asked for.",
        labels=["edge", "kind"],
    )
    bounds = list(map(floatToGoString, (*BUCKETS, math.inf)))
    for (edge, kind), counts in list(counters.times.items()):
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        times.add_metric([edge, kind.value], buckets=buckets, sum_value=counters.total_seconds[edge, kind])
    yield times


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"meshward_ca_{name}", text, value=value)


def _succeeds(ask: Callable[[datetime], object], at: datetime) -> bool:
    try:
        ask(at)
    except AuthorityError:
        return False
    return True
