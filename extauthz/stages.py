"""Stages: CUSTOM, request authentication and the policies, one after the other, on one request (semantics 0.2).

It is the order of `mesh.deciding`, here with a network.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from envoy.service.auth.v3 import external_auth_pb2

from authn import UnauthenticatedError
from authz.attributes import Attributes
from authz.decision import Decision, Stage, Verdict
from authz.extension_provider import ExtensionProvider
from authz.model import Action
from extauthz.answer import Answer, Authorized, Refused
from extauthz.authorizers import Authorizers
from extauthz.tally import Tally, Token
from extauthz.tokens import TokenReader
from mesh.deciding import refused_at_port, unasked, unauthenticated, with_identity
from mesh.snapshot import Guard

__all__ = ["Asker", "Outcome", "Stages"]

# Where Envoy's own filter puts what an authorizer says beside its verdict, for later filters to look at.
_EXT_AUTHZ = "envoy.filters.http.ext_authz"
_UNTOUCHED = Authorized()


class Outcome(NamedTuple):
    """The decision, the facts that it was made about, and what becomes of the request if it goes on."""

    decision: Decision
    attributes: Attributes
    passed: Authorized = _UNTOUCHED


class Asker(Protocol):
    """Who asks external authorizers."""

    async def ask(
        self,
        provider: ExtensionProvider,
        asked: external_auth_pb2.CheckRequest,
        attributes: Attributes,
        *,
        seconds: float,
    ) -> Answer:
        """What `provider` says about a request, as `Authorizers.ask`."""
        ...


class Stages:
    """Takes requests through the stages; `tokens` reads what tokens prove, `tally` counts what came of it."""

    def __init__(self, tokens: TokenReader, tally: Tally) -> None:
        self._tokens = tokens
        self._tally = tally
        self._authorizers = Authorizers(tally)

    async def decide(
        self,
        guard: Guard,
        request: external_auth_pb2.CheckRequest,
        ways: Sequence[Attributes],
        *,
        seconds: float,
        asker: Callable[[Asker], Asker] | None = None,
    ) -> Outcome:
        """The outcome for a request that may be read in several `ways`: the most restrictive.

        `request` is how Envoy asked, and `seconds` is how long it waits. `asker` makes of whoever asks authorizers who asks them
        about this one.
        """
        if (refused := refused_at_port(guard, ways[0])) is not None:
            return Outcome(refused, ways[0])
        ways = [with_identity(guard, way) for way in ways]
        passed = _UNTOUCHED
        if guard.tree.providers:
            asking = self._authorizers if asker is None else asker(self._authorizers)
            answer = await _ask_authorizers(asking, guard, request, ways, time.monotonic() + seconds)
            if isinstance(answer, Decision):
                return Outcome(answer, ways[0])
            passed = answer
            ways = [_after(answer, way) for way in ways]
        if guard.jwt_rules:
            try:
                # Where tokens are looked for, the first reading leaves lines joined that came so: none can hide in a split.
                authenticated = await self._tokens.read(guard.jwt_rules, ways[0])
            except UnauthenticatedError as error:
                self._tally.count(error.status)
                return Outcome(unauthenticated(error), ways[0])
            if authenticated.rule is not None:
                self._tally.count(Token.VERIFIED)
            passed = passed.then(Authorized(changes=authenticated.changes))
            ways = [authenticated.applied_to(way) for way in ways]
        decision, attributes = _most_restrictive(guard, ways, guard.tree.providers)
        return Outcome(decision, attributes, passed)

    async def close(self) -> None:
        """Close the connections to external authorizers."""
        await self._authorizers.close()


async def _ask_authorizers(
    asker: Asker,
    guard: Guard,
    request: external_auth_pb2.CheckRequest,
    ways: Sequence[Attributes],
    deadline: float,
) -> Authorized | Decision:
    """What the external authorizers say to whom CUSTOM policies leave the request, in the order of their names.

    One is asked if any way to read the request triggers it, and hears of the request as those before it left it.
    """
    passed = _UNTOUCHED
    allowed = guard.authorizers.passed(ways[0].protocol)
    for name in sorted(guard.tree.providers - allowed):
        triggers = [trigger for way in ways for trigger in guard.tree.triggered(way) if trigger.provider == name]
        if not triggers:
            continue
        provider = guard.authorizers.asked.get(name)
        if provider is None:
            return unasked(_most_restrictive(guard, ways, allowed)[0], triggers[0], guard)
        left = max(deadline - time.monotonic(), 0.0)
        answer = await asker.ask(provider, request, ways[0], seconds=left)
        if isinstance(answer, Refused):
            return Decision(
                verdict=Verdict.DENY,
                stage=Stage.CUSTOM,
                action=Action.CUSTOM,
                match=triggers[0].match,
                reason=answer.reason,
                denied_with=answer.denial,
            )
        ways = [_after(answer, way) for way in ways]
        passed = passed.then(answer)
        allowed |= {name}
    return passed


def _after(answer: Authorized, attributes: Attributes) -> Attributes:
    """The facts as the filters after ext_authz see them: with the changes, and what it wrote into the metadata."""
    changed = answer.changes.applied_to(attributes)
    if not answer.metadata:
        return changed
    before = attributes.metadata or {}
    written = {**before.get(_EXT_AUTHZ, {}), **answer.metadata}
    return replace(changed, metadata={**before, _EXT_AUTHZ: written})


def _most_restrictive(
    guard: Guard, ways: Sequence[Attributes], allowed_by: frozenset[str]
) -> tuple[Decision, Attributes]:
    """The decision, and the reading of the request that led to it: the first that denies, where there are several."""
    if len(ways) == 1:
        return guard.tree.decide(ways[0], allowed_by=allowed_by), ways[0]
    decided = [(guard.tree.decide(way, allowed_by=allowed_by), way) for way in ways]
    return next((each for each in decided if each[0].verdict is Verdict.DENY), decided[0])
