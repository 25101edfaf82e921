"""Evasions: what a case denies, written otherwise and decided again. None of it may be allowed."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Verdict
from mesh.testing.mutations import GAPS, KINDS, Known
from mesh.testing.running import Case, Running
from mesh.testing.sent import HttpVersion, Refused, Sent, as_seen, as_sent
from parser.policy_tests import ALL, PolicyTest
from parser.request import RequestDocument

__all__ = ["Evaded", "Evading", "kinds_of"]

_WHY = {gap.mutation: gap.why for gap in GAPS}


class Evaded(NamedTuple):
    """A way to write a denied request by which it is allowed: of which kind, how it is written, and what decided."""

    kind: str
    sent: Sent
    decision: Decision

    @property
    def why(self) -> str | None:
        """What Envoy and Istio mean by it, where they mean something."""
        return _WHY.get(KINDS[self.kind])


def kinds_of(test: PolicyTest) -> tuple[str, ...]:
    """The kinds that a test asks for."""
    if any(kind.text == ALL for kind in test.evasions):
        spared = {kind.text for kind in test.spared}
        return tuple(kind for kind in KINDS if kind not in spared)
    return tuple(kind.text for kind in test.evasions)


class Evading:
    """Tries the evasions of one suite. `tried` counts the requests that were decided."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._known: dict[str, Known] = {}
        self.tried = 0

    def through(self, case: Case) -> Iterator[Evaded]:
        """The evasions by which what the case denies is allowed, the first of each kind."""
        if not isinstance(case.asked, RequestDocument) or not (kinds := kinds_of(case.test)):
            return
        facts = case.asked.attributes
        written = as_sent(replace(facts, path=case.target))
        tried: set[object] = set()
        versions = HttpVersion if facts.protocol is Protocol.HTTP else (HttpVersion.HTTP_1,)
        bases = [
            base for base in (replace(written, version=version) for version in versions) if self._denied(base, case)
        ]
        for kind in kinds:
            if (evaded := self._first(kind, bases, case, tried)) is not None:
                yield evaded

    def _first(self, kind: str, bases: Sequence[Sent], case: Case, tried: set[object]) -> Evaded | None:
        known = self._known_of(case)
        for base in bases:
            for sent in KINDS[kind](base, known):
                seen = self._seen(sent, base, case)
                if seen is None or (sight := _sight(seen)) in tried:
                    continue
                tried.add(sight)
                self.tried += 1
                decision = self._decision(seen, case)
                if decision.verdict is Verdict.ALLOW:
                    return Evaded(kind, sent, decision)
        return None

    def _denied(self, base: Sent, case: Case) -> bool:
        """Whether the request is denied as it is, with what every proxy adds to it; else there is nothing to evade."""
        seen = self._seen(base, base, case)
        return seen is not None and self._decision(seen, case).verdict is Verdict.DENY

    def _decision(self, seen: Attributes, case: Case) -> Decision:
        return self._running.decide(case, RequestDocument(destination=case.place.destination, attributes=seen))

    def _seen(self, sent: Sent, base: Sent, case: Case) -> Attributes | None:
        """What the policies see of it; nothing where the proxy refuses it."""
        if not isinstance(case.asked, RequestDocument):
            return None
        snapshot, facts = self._running.suite.snapshot, case.asked.attributes
        try:
            seen = as_seen(sent, facts, snapshot.config, case.place.workload.proxy)
        except Refused:
            return None
        if facts.host is None and facts.protocol is Protocol.HTTP:
            # A request that names no host has none to write otherwise.
            return replace(seen, host=None) if seen.host == base.hosts[0] else None
        return seen

    def _known_of(self, case: Case) -> Known:
        suite, to = self._running.suite, case.test.to.text
        if (known := self._known.get(to)) is None:
            known = self._known[to] = Known.of(suite.applying(case.place))
        return known


def _sight(seen: Attributes) -> object:
    """What of the facts is the client's to write."""
    return seen.method, seen.path, seen.host, seen.remote_ip, seen.sni, tuple(seen.headers.items())
