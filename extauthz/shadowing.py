"""Shadowing: a second version of the policies, decided by beside the one in force, and never enforced.

It is asked after the answer is known and can change nothing about it: not by what it says, not by what goes wrong in it, and not by
waiting. Nobody is asked for its sake. What authorizers said for the version in force is taken for this one, too, and tokens are
verified with the keys at hand; where that is not enough, what it would say is not known.
"""

import logging
from typing import NamedTuple

import orjson
from envoy.service.auth.v3 import external_auth_pb2

from authn import Authenticated
from authz.attributes import Attributes
from authz.decision import Decision, Verdict
from authz.extension_provider import ExtensionProvider
from authz.request_authentication import JwtRule
from extauthz.answer import Answer
from extauthz.decision_log import Consulted
from extauthz.located import locate
from extauthz.refusing import refusal
from extauthz.stages import Asker, Stages
from extauthz.tally import Beside, Tally
from extauthz.tokens import TokenReader
from extauthz.wire import Asked, Destination, MalformedRequestError
from mesh.deciding import decision_document
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Snapshot

__all__ = ["Noting", "Shadowed", "Shadowing"]

_logger = logging.getLogger("meshward")


class Shadowed(NamedTuple):
    """What the policies of the other version look at, and its decision as JSON where that is another verdict."""

    consulted: Consulted
    differing: orjson.Fragment | None


class Noting:
    """Asks authorizers for the version in force, and notes what they say."""

    def __init__(self) -> None:
        self.answers: list[tuple[ExtensionProvider, Answer]] = []

    def through(self, asker: Asker) -> Asker:
        """Note what `asker` hears."""
        self._asker = asker
        return self

    async def ask(
        self,
        provider: ExtensionProvider,
        asked: external_auth_pb2.CheckRequest,
        attributes: Attributes,
        *,
        seconds: float,
    ) -> Answer:
        """As `Authorizers.ask`."""
        answer = await self._asker.ask(provider, asked, attributes, seconds=seconds)
        self.answers.append((provider, answer))
        return answer


class Shadowing:
    """Decides questions by `snapshot`, which may be replaced, and tells `tally`. `tokens` reads what tokens prove."""

    def __init__(self, snapshot: Snapshot, *, tokens: TokenReader, tally: Tally) -> None:
        self.snapshot = snapshot
        # What it counts of tokens is of no interest: those of the version in force are counted.
        self._stages = Stages(_AtHand(tokens), Tally())
        self._tally = tally
        self._failed = ""

    async def decide(
        self,
        request: external_auth_pb2.CheckRequest,
        asked: Asked,
        destination: Destination,
        noted: Noting,
        enforced: Decision,
    ) -> Shadowed | None:
        """What it decides of a question; nothing where that cannot be known, or fails. It raises nothing, and waits for nobody."""
        snapshot = self.snapshot
        try:
            decision, consulted = await self._decide(snapshot, request, asked, destination, noted)
            differing = None
            if decision.verdict is not enforced.verdict:
                # Written here, where what goes wrong in it is caught.
                document = decision_document(decision, revision=snapshot.revision)
                differing = orjson.Fragment(orjson.dumps(document))
        except _UnknownError:
            self._tally.shadowed(enforced.verdict, Beside.UNKNOWN)
            return None
        except Exception as error:  # whatever it is, the answer is another's
            self._tally.shadowed(enforced.verdict, Beside.ERROR)
            # As many as there are requests would drown what the operator must see.
            if (failed := f"{type(error).__name__}: {error}") != self._failed:
                self._failed = failed
                _logger.exception("the shadow could not decide a request")
            return None
        self._tally.shadowed(enforced.verdict, Beside.ALLOW if decision.verdict is Verdict.ALLOW else Beside.DENY)
        return Shadowed(consulted, differing)

    async def _decide(
        self,
        snapshot: Snapshot,
        request: external_auth_pb2.CheckRequest,
        asked: Asked,
        destination: Destination,
        noted: Noting,
    ) -> tuple[Decision, Consulted]:
        try:
            located = locate(snapshot, asked, destination)
        except (MalformedRequestError, UnknownWorkloadError) as error:
            return refusal(str(error)), Consulted()
        said = _Noted(noted)
        outcome = await self._stages.decide(located.guard, request, located.ways, seconds=0.0, asker=lambda _: said)
        tree = located.guard.tree
        return outcome.decision, Consulted(headers=tree.headers, claims=tree.claims)


class _UnknownError(Exception):
    """Somebody would have to be asked."""


class _Noted:
    """Answers for authorizers with what they have said already."""

    def __init__(self, noted: Noting) -> None:
        self._answers = noted.answers

    async def ask(
        self,
        provider: ExtensionProvider,
        asked: external_auth_pb2.CheckRequest,  # noqa: ARG002  # the protocol's
        attributes: Attributes,  # noqa: ARG002
        *,
        seconds: float,  # noqa: ARG002
    ) -> Answer:
        """What the provider said, if it was asked with the same settings."""
        for settings, answer in self._answers:
            if settings == provider:
                return answer
        raise _UnknownError


class _AtHand:
    """Reads tokens as another reader, and never waits."""

    def __init__(self, tokens: TokenReader) -> None:
        self._tokens = tokens
        self.expect = tokens.expect
        self.ready = tokens.ready
        self.at_hand = tokens.at_hand
        self.close = tokens.close

    async def read(self, rules: tuple[JwtRule, ...], attributes: Attributes) -> Authenticated:
        """As the other's, where that need not wait."""
        if not self._tokens.at_hand(rules, attributes):
            raise _UnknownError
        return await self._tokens.read(rules, attributes)
