"""Subscriptions by themselves: what holds whatever the other end says."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from ca.front import RefusedCallError
from ca.sds.secrets import Resource
from ca.sds.subscriptions import Differences, StateOfTheWorld, Subscription

NAMES = ("default", "ROOTCA", "ALL")
KINDS = pytest.mark.parametrize("kind", [StateOfTheWorld, Differences])


def resources(versions: dict[str, int], wanted: object) -> list[Resource]:
    """All that there is, of what is wanted."""
    return [
        Resource(name, str(version), AnyMessage(value=b"%d" % version), has_roots=False)
        for name, version in versions.items()
        if wanted is None or name in wanted  # type: ignore[operator]  # a set of names otherwise
    ]


@KINDS
@given(st.lists(st.binary(max_size=64), max_size=5))
def test_no_bytes_do_more_than_end_the_stream(kind: Callable[[], Subscription], requests: list[bytes]) -> None:
    subscription = kind()
    with suppress(RefusedCallError):
        for request in requests:
            subscription.take(request)
            subscription.answer(resources(dict.fromkeys(NAMES, 1), subscription.wanted))


class Envoy:
    """The other end: takes or rejects what it is sent, and knows what it has."""

    def __init__(self, kind: Callable[[], Subscription], names: frozenset[str]) -> None:
        self.subscription = kind()
        self.whole = kind is StateOfTheWorld
        self.names = names
        self.has: dict[str, str] = {}
        self.sent = 0
        self.ask(names, frozenset(), "", error=False)

    def ask(self, added: frozenset[str], dropped: frozenset[str], nonce: str, *, error: bool) -> None:
        detail = {"error_detail": {"message": "no"}} if error else {}
        request: DiscoveryRequest | DeltaDiscoveryRequest
        if self.whole:
            request = DiscoveryRequest(resource_names=self.names, response_nonce=nonce, **detail)
        else:
            request = DeltaDiscoveryRequest(
                resource_names_subscribe=added, resource_names_unsubscribe=dropped, response_nonce=nonce, **detail
            )
        self.subscription.take(request.SerializeToString())

    def hear(self, versions: dict[str, int], *, accepts: bool) -> None:
        content = self.subscription.answer(resources(versions, self.subscription.wanted))
        if content is None:
            return
        self.sent += 1
        kind = DiscoveryResponse if self.whole else DeltaDiscoveryResponse
        answer = kind.FromString(content)
        if accepts:
            for packed in answer.resources:
                value = (packed if self.whole else packed.resource).value.decode()
                # Each version is of one name only.
                self.has |= {name: value for name, version in versions.items() if str(version) == value}
        self.ask(frozenset(), frozenset(), answer.nonce, error=not accepts)


STEPS = st.lists(st.tuples(st.sampled_from(NAMES), st.booleans()), max_size=12)


@KINDS
@given(STEPS)
def test_what_it_says_was_taken_is_what_the_other_end_took(
    kind: Callable[[], Subscription], steps: list[tuple[str, bool]]
) -> None:
    envoy = Envoy(kind, frozenset(NAMES))
    versions = {name: number for number, name in enumerate(NAMES)}
    envoy.hear(versions, accepts=True)
    for number, (name, accepts) in enumerate(steps, start=10):
        versions[name] = number
        envoy.hear(versions, accepts=accepts)
        for each, version in envoy.subscription.taken.items():
            assert envoy.has[each] == version
        sent = envoy.sent
        # Nothing new: nothing is sent, taken or not.
        envoy.hear(versions, accepts=True)
        assert envoy.sent == sent
    if steps and steps[-1][1] and kind is StateOfTheWorld:
        assert envoy.subscription.taken == {name: str(version) for name, version in versions.items()}
