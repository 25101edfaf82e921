"""The service: `envoy.service.secret.v3.SecretDiscoveryService`."""

import asyncio
import logging
from typing import Any

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.secret.v3 import sds_pb2

from ca.errors import AuthorityError
from ca.front import Context, Front, Service, UnixPeer
from ca.refusals import Refusal
from ca.sds.secrets import Owed, Secrets, Validator
from ca.sds.subscriptions import Differences, StateOfTheWorld, Subscription, answered_whole, parse_request
from ca.streams import Holding, Moment, Refusing, Streams

__all__ = ["SecretDiscovery"]

_logger = logging.getLogger("meshward.ca")

EDGE = "sds"
_NAME = sds_pb2.DESCRIPTOR.services_by_name["SecretDiscoveryService"].full_name
_DISABLED = "disable_spiffe_cert_validation"
_MOST_OF_NODE = 256


class SecretDiscovery:
    """Hands out secrets to the processes that come in at `front`."""

    def __init__(self, streams: Streams, front: Front[UnixPeer]) -> None:
        self._streams = streams
        self._office = streams.office
        self._front = front
        self._secrets = Secrets(streams)
        self._refusing = Refusing(streams.office, "sds")
        self.rejected = 0
        """How often something that was sent was not taken."""

    def service(self) -> Service:
        """Its methods."""
        return Service(
            name=_NAME,
            unary={"FetchSecrets": self._fetch},
            streaming={
                "StreamSecrets": lambda context: self._stream(context, StateOfTheWorld()),
                "DeltaSecrets": lambda context: self._stream(context, Differences()),
            },
            refused=self._refused,
            count=lambda code: self._office.counters.refused(EDGE, code),
        )

    async def _fetch(self, request: bytes, context: Context) -> bytes:
        peer = self._admitted(context)
        read = parse_request(request)
        moment = await self._streams.moment(peer)
        wanted = frozenset(name for name in read.resource_names if name) or None
        owed = await self._secrets.owed(wanted, moment, _validator(read.node))
        return answered_whole(owed.resources, nonce="")

    async def _stream(self, context: Context, subscription: Subscription) -> None:
        peer = self._admitted(context)
        with self._streams.open():
            stream = _Stream(self, self._streams, context, subscription)
            try:
                await stream.run(peer, self._secrets)
            finally:
                stream.close()

    def _admitted(self, context: Context) -> UnixPeer:
        peer = self._front.peer(context)
        self._office.limits.attesting(peer.origin)
        return peer

    async def _refused(self, error: AuthorityError, context: Context) -> Refusal:
        try:
            who = self._front.peer(context).origin
        except AuthorityError:
            who = "unix"
        return await self._refusing.refused(error, who)


class _Stream:
    """One stream of an Envoy's, of which it has one for each name of a secret."""

    def __init__(
        self, discovery: SecretDiscovery, streams: Streams, context: Context, subscription: Subscription
    ) -> None:
        self._discovery = discovery
        self._streams = streams
        self._context = context
        self._subscription = subscription
        self._reading: asyncio.Future[Any] = asyncio.ensure_future(context.read())
        self._waiting: asyncio.Future[Any] | None = None
        self._holding: Holding | None = None

    async def run(self, peer: UnixPeer, secrets: Secrets) -> None:
        """Answer, and send what is new, until the other end has said all that it had to."""
        if not await self._heard():
            return
        validator = _validator(self._subscription.node)
        while True:
            # Who it is and what it may have is found out again before each message.
            moment = await self._streams.moment(peer)
            owed = await secrets.owed(self._subscription.wanted, moment, validator)
            content = self._subscription.answer(owed.resources)
            if content is not None:
                await self._context.write(content)
            self._tell(moment, owed)
            if not await self._is_to_be_answered_again(peer, moment, owed):
                return

    def close(self) -> None:
        """It has ended."""
        for each in (self._reading, self._waiting):
            if each is not None:
                each.cancel()
        if self._holding is not None:
            self._holding.close(at=self._streams.office.clock())

    async def _is_to_be_answered_again(self, peer: UnixPeer, moment: Moment, owed: Owed) -> bool:
        """Wait until there is something to look at, or the other end is done."""
        self._waiting = asyncio.ensure_future(self._streams.after(moment, due=owed.due))
        while not self._waiting.done():
            await asyncio.wait({self._reading, self._waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not self._reading.done():
                continue
            found = await self._heard()
            if found is None:
                return False
            # Most requests say no more than that an answer was taken.
            self._tell(moment, owed)
            if found:
                # Each answer costs what the first did.
                self._streams.office.limits.attesting(peer.origin)
                self._waiting.cancel()
                break
        return True

    async def _heard(self) -> bool | None:
        """Whether what was read next may want an answer; `None` if there is no more."""
        request = await self._reading
        if not isinstance(request, bytes):
            return None
        self._reading = asyncio.ensure_future(self._context.read())
        found = self._subscription.take(request)
        if self._subscription.rejection is not None:
            self._discovery.rejected += 1
            _logger.warning(
                "%s does not take a secret that it was sent: %s",
                _shown(self._subscription.node),
                self._subscription.rejection,
            )
        return found

    def _tell(self, moment: Moment, owed: Owed) -> None:
        """Say what bundle the other end is sure to have: that of which it took every secret that has roots."""
        roots = {each.name: each.version for each in owed.resources if each.has_roots}
        if not roots:
            # What it verifies with comes by another stream, or from elsewhere.
            return
        if self._holding is None:
            self._holding = self._streams.holders.opened(_caller(moment), _shown(self._subscription.node))
        if roots.items() <= self._subscription.taken.items():
            self._holding.holds(owed.sequence, at=moment.at)


def _caller(moment: Moment) -> str:
    """With its node: one name whenever the same Envoy comes, and another for another Envoy of its user."""
    return " ".join(["sds", moment.caller.name, str(moment.entries[0].spiffe_id)])


def _shown(node: Node) -> str:
    return repr(node.id[:_MOST_OF_NODE])


def _validator(node: Node) -> Validator:
    # As SPIRE: for Envoys that are too old, or whose operator wants it so.
    said = node.metadata.fields.get(_DISABLED)
    return Validator(spiffe=said is None or not (said.bool_value or said.string_value == "true"))
