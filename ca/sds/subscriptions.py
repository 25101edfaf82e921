"""Subscriptions: what an Envoy has asked for on a stream, what it was sent and what it has taken, by the rules of xDS.

Two ways of asking: the state of the world, where each answer is whole, and by differences.
"""

import hashlib
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from ca.front import RefusedCallError
from ca.sds.secrets import TYPE_URL, Resource

__all__ = ["Differences", "StateOfTheWorld", "Subscription", "answered_whole", "parse_request"]

_MOST_NAMES = 100
_MOST_UNANSWERED = 16
_EVERYTHING = "*"


class Subscription(Protocol):
    """One stream."""

    node: Node
    """Who says to be at the other end; it is in the first request only."""
    wanted: AbstractSet[str] | None
    """The names that were asked for; `None` is everything."""
    taken: Mapping[str, str]
    """The version of each secret that the other end has said it took."""
    rejection: str | None
    """What the other end has said against what it was sent last, if it was this request that said so."""

    def take(self, request: bytes) -> bool:
        """Take in a request, and say whether it may want an answer.

        Raises:
            RefusedCallError: it is none, or not about secrets.
        """

    def answer(self, resources: Iterable[Resource]) -> bytes | None:
        """What is to be sent, where `resources` are all that is wanted; `None` if the other end knows it."""


class StateOfTheWorld:
    """`StreamSecrets`: each answer has everything that was asked for."""

    def __init__(self) -> None:
        self.node = Node()
        self.wanted: AbstractSet[str] | None = frozenset()
        self.taken: Mapping[str, str] = {}
        self.rejection: str | None = None
        self._nonces = _nonces()
        self._nonce = ""
        self._sent: dict[str, str] = {}
        self._asked = False
        self._is_owed = True

    def take(self, request: bytes) -> bool:
        """As `Subscription.take`."""
        read = parse_request(request)
        self.rejection = None
        if not self._asked:
            self.node, self._asked = read.node, True
            # Nothing at all, from the beginning on, is everything, as with SPIRE.
            self.wanted = _names(read.resource_names) or None
            return True
        if read.response_nonce != self._nonce:
            # It crossed with an answer. What it asks for is asked for again with the nonce of that.
            return False
        if read.HasField("error_detail"):
            self.rejection = _said(read.error_detail)
        else:
            self.taken = dict(self._sent)
        before = self.wanted
        self.wanted = _names(read.resource_names) or (None if before is None else frozenset())
        # What is not wanted any more was forgotten at the other end.
        if self.wanted is not None:
            self.taken = {name: version for name, version in self.taken.items() if name in self.wanted}
        self._is_owed = self.wanted != before
        return self._is_owed

    def answer(self, resources: Iterable[Resource]) -> bytes | None:
        """As `Subscription.answer`."""
        found = tuple(resources)
        versions = {each.name: each.version for each in found}
        # Who has rejected these very bytes would do so again.
        if versions == self._sent and not self._is_owed:
            return None
        self._is_owed = False
        if not found:
            self._sent = {}
            return None
        self._sent, self._nonce = versions, next(self._nonces)
        return answered_whole(found, nonce=self._nonce)


class Differences:
    """`DeltaSecrets`: each answer has what is new, and each secret a version of its own."""

    def __init__(self) -> None:
        self.node = Node()
        self.wanted: AbstractSet[str] | None = frozenset()
        self.taken: Mapping[str, str] = {}
        self.rejection: str | None = None
        self._nonces = _nonces()
        self._names: set[str] = set()
        self._everything = False
        # What the other end was sent, whether or not it took it.
        self._sent: dict[str, str] = {}
        self._unanswered: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._asked = False

    def take(self, request: bytes) -> bool:
        """As `Subscription.take`."""
        read = _parse(DeltaDiscoveryRequest, request)
        self.rejection = None
        first = not self._asked
        if first:
            self.node, self._asked = read.node, True
            # What it has from before; it is told of what has changed since.
            self._sent = dict(itertools.islice(read.initial_resource_versions.items(), _MOST_NAMES))
            self.taken = dict(self._sent)
        self._heard(read)
        subscribed, unsubscribed = _names(read.resource_names_subscribe), _names(read.resource_names_unsubscribe)
        if (first and not subscribed) or _EVERYTHING in subscribed:
            self._everything = True
        if _EVERYTHING in unsubscribed:
            self._everything = False
        self._names = self._names - unsubscribed | subscribed - {_EVERYTHING}
        if len(self._names) > _MOST_NAMES:
            raise _too_many()
        for name in unsubscribed:
            self._forget(name)
        if not first:
            # Who asks for what it was sent already has lost it.
            for name in subscribed:
                self._forget(name)
        self.wanted = None if self._everything else frozenset(self._names)
        return bool(first or subscribed or unsubscribed)

    def answer(self, resources: Iterable[Resource]) -> bytes | None:
        """As `Subscription.answer`."""
        found = {each.name: each for each in resources}
        new = [each for name, each in found.items() if self._sent.get(name) != each.version]
        gone = sorted(self._sent.keys() - found.keys())
        if not (new or gone):
            return None
        nonce = next(self._nonces)
        versions = {each.name: each.version for each in new}
        self._sent = {name: version for name, version in self._sent.items() if name in found} | versions
        self.taken = {name: version for name, version in self.taken.items() if name in found}
        self._unanswered[nonce] = versions
        while len(self._unanswered) > _MOST_UNANSWERED:
            self._unanswered.popitem(last=False)
        answer: bytes = DeltaDiscoveryResponse(
            system_version_info=_version(found.values()),
            resources=[{"name": each.name, "version": each.version, "resource": each.content} for each in new],
            removed_resources=gone,
            type_url=TYPE_URL,
            nonce=nonce,
        ).SerializeToString()
        return answer

    def _heard(self, read: DeltaDiscoveryRequest) -> None:
        versions = self._unanswered.pop(read.response_nonce, None)
        if versions is None:
            return
        if read.HasField("error_detail"):
            self.rejection = _said(read.error_detail)
        else:
            # Of what it was sent again since, it says so separately.
            taken = {name: version for name, version in versions.items() if self._sent.get(name) == version}
            self.taken = {**self.taken, **taken}

    def _forget(self, name: str) -> None:
        self._sent.pop(name, None)
        self.taken = {each: version for each, version in self.taken.items() if each != name}


def parse_request(request: bytes) -> DiscoveryRequest:
    """A request for the state of the world.

    Raises:
        RefusedCallError: it is none, or not about secrets.
    """
    return _parse(DiscoveryRequest, request)


def answered_whole(resources: Iterable[Resource], *, nonce: str) -> bytes:
    """All of `resources` as an answer to such a request."""
    found = tuple(resources)
    answer: bytes = DiscoveryResponse(
        version_info=_version(found),
        resources=[each.content for each in found],
        type_url=TYPE_URL,
        nonce=nonce,
    ).SerializeToString()
    return answer


def _parse(kind: type, request: bytes):  # type: ignore[no-untyped-def]  # the messages have no types
    try:
        read = kind.FromString(request)  # type: ignore[attr-defined]  # as above
    except DecodeError as error:
        raise RefusedCallError.malformed("malformed", "the request is no discovery request") from error
    if read.type_url not in ("", TYPE_URL):
        raise RefusedCallError.malformed("type-url", f"only resources of type {TYPE_URL} are here")
    return read


def _names(names: Iterable[str]) -> frozenset[str]:
    found = frozenset(name for name in names if name)
    if len(found) > _MOST_NAMES:
        raise _too_many()
    return found


def _too_many() -> RefusedCallError:
    return RefusedCallError.malformed("names", f"more than {_MOST_NAMES} names")


def _said(status: Status) -> str:
    # In logs, and from a stranger.
    return repr(status.message[:500])


def _version(resources: Iterable[Resource]) -> str:
    digest = hashlib.sha256()
    for each in sorted(resources, key=lambda resource: resource.name):
        digest.update(f"{each.name}\n{each.version}\n".encode())
    return digest.hexdigest()[:32]


def _nonces() -> Iterator[str]:
    # Not those of an earlier stream, whose answers may still be under way.
    prefix = secrets.token_hex(4)
    return (f"{prefix}-{number}" for number in itertools.count(1))
