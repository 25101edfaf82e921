"""Version: one version of the policies, deciding what was recorded, and saying why."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from authn import UnauthenticatedError, authenticate
from authz.attributes import Attributes
from authz.decision import Decision, Match, Stage, Verdict
from authz.errors import UnsupportedValueError
from authz.keys import OPERATION_FIELDS
from authz.matcher import matches
from authz.normalization import RefusedPathError
from authz.span import Span
from authz.values import Scope
from mesh.deciding import Offline, as_seen, decide, decide_as_sent, destination_of
from mesh.errors import UnknownWorkloadError
from mesh.replaying.record import Record, RefusedRequestError
from mesh.snapshot import Snapshot

__all__ = ["Cause", "Version"]


class Cause(NamedTuple):
    """A verdict, and what determined it: a rule, or in words. `place` is where the rule is written."""

    verdict: Verdict
    policy: str | None = None
    rule: int | None = None
    reason: str | None = None
    place: Span | None = None


class Version:
    """A version of the policies, and how it decides what is recorded.

    `normalize` takes every request as the client sent it. `fixed` is whether `offline` is the time for all of them.
    """

    def __init__(self, snapshot: Snapshot, offline: Offline, *, normalize: bool = False, fixed: bool = True) -> None:
        self.snapshot = snapshot
        self._offline = offline
        providers = frozenset(provider.name for provider in snapshot.config.extension_providers)
        self._let_through = replace(offline, allowed_by=providers)
        self._normalize = normalize
        self._fixed = fixed
        self._policies = {policy.id: policy for policy in snapshot.policies}

    def decide(self, record: Record) -> tuple[Decision, Attributes]:
        """The decision, and the way to read the request that led to it."""
        document, offline = record.document, self.offline(record)
        try:
            if record.ways is not None:
                decided = [
                    (decide(self.snapshot, replace(document, attributes=way), offline), way)
                    for way in record.ways(self.snapshot)
                ]
                return next((each for each in decided if each[0].verdict is Verdict.DENY), decided[0])
            how = decide_as_sent if record.as_sent or self._normalize else decide
            return how(self.snapshot, document, offline), document.attributes
        except (UnknownWorkloadError, RefusedRequestError) as error:
            # As the server does it, which denies what it knows no policies for.
            refusal = Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=str(error))
            return refusal, document.attributes

    def offline(self, record: Record) -> Offline:
        """What stands in for a network when this record is decided.

        Tokens are verified as of its time. An external authorizer is taken to have let through what it is not said to have refused.
        """
        recorded = record.recorded
        heard = recorded is not None and recorded.stage is not Stage.CUSTOM
        offline = self._let_through if heard else self._offline
        return offline if record.at is None or self._fixed else replace(offline, at=record.at)

    def cause(self, decision: Decision, shown: Callable[[str], str]) -> Cause:
        """What determined the decision, in words as `shown`."""
        reason = shown(decision.reason)
        if (match := decision.match) is None:
            return Cause(decision.verdict, reason=reason)
        return Cause(decision.verdict, match.policy, match.rule, reason, self.snapshot.place(match))

    def seen(self, record: Record, way: Attributes) -> Attributes:
        """The facts of a record, read in this way, as the policies see them; with what its token says, if that is a good one."""
        document = replace(record.document, attributes=way)
        with suppress(UnknownWorkloadError, RefusedPathError, UnauthenticatedError):
            if record.as_sent or self._normalize:
                document = as_seen(self.snapshot, document)
            if document.attributes.claims is None:
                guard = self.snapshot.guard(destination_of(self.snapshot, document), document.destination.service)
                offline = self.offline(record)
                found = authenticate(guard.jwt_rules, document.attributes, key_sets=offline.key_sets, at=offline.at)
                return replace(document.attributes, claims=found.claims)
        return document.attributes

    def pattern(self, match: Match, path: str) -> str | None:
        """The pattern of the rule's that the path matches; none where it has none, or the one that all paths match."""
        policy = self._policies.get(match.policy)
        if policy is None or match.rule >= len(policy.rules):
            return None
        attribute, scope = OPERATION_FIELDS["paths"], Scope(policy.namespace, self.snapshot.config.trust_domains)
        (compared,) = attribute.read(Attributes(path=path))
        patterns = (each for operation in policy.rules[match.rule].operations for each in operation.paths)
        for each in patterns:
            with suppress(UnsupportedValueError):
                if each != "*" and any(matches(matcher, compared) for matcher in attribute.matchers(each, scope)):
                    return each
        return None
