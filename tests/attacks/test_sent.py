"""What the mutations take a proxy to do is what a real Envoy does: to each of them, however it normalizes paths, over HTTP/1 and 2."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from authz.attributes import Attributes
from authz.mesh_config import MeshConfig, PathNormalization
from authz.workload import ProxyKind
from extauthz.wire import to_asked
from mesh.testing.mutations import GAPS, MUTATIONS, Gap, Known, Mutation
from mesh.testing.sent import HttpVersion, Refused, Sent, as_seen
from tests.attacks.edge import Edge, written
from tests.integration.recorder import Recorder, deny

FACTS = Attributes(source_ip=ip_address("127.0.0.1"))
KNOWN = Known(
    paths=("/public/*", "*.css"),
    hosts=("public.shop",),
    addresses=("198.51.100.0",),
    headers=(("x-user-role", ("guest", "admin")), ("x-absent", ("yes",))),
)
BASES = (
    Sent(
        target="/admin/users.list?page=2",
        hosts=("admin.shop",),
        headers=(("x-user-role", "guest"), ("x-forwarded-for", "203.0.113.9, 198.51.100.7")),
    ),
    Sent(
        method="DELETE",
        target="/a//b/",
        hosts=("admin.shop:8080",),
        headers=(("x-user-role", "a,b"), ("x-user-role", ""), ("x-forwarded-for", "2001:db8::7")),
    ),
)
# What Envoy writes or takes away by itself.
ENVOY_S_OWN = ("x-envoy-", "x-request-id", "x-forwarded-proto", "x-forwarded-client-cert")


class Recorded:
    """An Envoy that asks a recorder, which lets nothing through."""

    def __init__(self, parts: ExitStack) -> None:
        # Not pytest's own directory: its path is too long for a Unix socket.
        path = Path(parts.enter_context(TemporaryDirectory(prefix="meshward-"))) / "ext-authz.sock"
        self.recorder = Recorder(path)
        parts.callback(self.recorder.stop)
        self.recorder.answer = deny
        self.edge = Edge(path, parts)

    def seen(self, sent: Sent, option: PathNormalization) -> Attributes | None:
        """What the authorizer is asked about; nothing where it is not asked."""
        before = len(self.recorder.asked)
        self.edge.status(sent, option)
        asked = self.recorder.asked[before:]
        assert len(asked) <= 1
        return to_asked(asked[0]).attributes if asked else None


@pytest.fixture(scope="module")
def recorded() -> Iterator[Recorded]:
    with ExitStack() as parts:
        yield Recorded(parts)


def taken_to_be_seen(sent: Sent, option: PathNormalization) -> Attributes | None:
    try:
        return as_seen(sent, FACTS, MeshConfig(path_normalization=option), ProxyKind.SIDECAR)
    except Refused:
        return None


def told(seen: Attributes | None) -> object:
    if seen is None:
        return None
    headers = {name: lines for name, lines in seen.headers.items() if not name.startswith(ENVOY_S_OWN)}
    return seen.method, seen.path, seen.host, headers, seen.remote_ip


def every(mutation: Mutation) -> dict[Sent, None]:
    """Each request that comes of it, in order, and only once."""
    return {
        mutated: None
        for base in BASES
        for version in HttpVersion
        for sent in [replace(base, version=version)]
        for mutated in (sent, *mutation(sent, KNOWN))
    }


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_envoy_does_to_a_mutated_request_what_the_mutations_take_it_to_do(
    recorded: Recorded, mutation: Mutation
) -> None:
    for sent in every(mutation):
        for option in PathNormalization:
            assert told(recorded.seen(sent, option)) == told(taken_to_be_seen(sent, option)), (sent, option)


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.mutation.__name__)
def test_an_example_of_a_gap_is_what_its_mutation_writes(gap: Gap) -> None:
    texts = [written(sent).decode(errors="backslashreplace") for base in BASES for sent in gap.mutation(base, KNOWN)]
    assert any(gap.example in text for text in texts), texts


def test_both_ends_are_reached(recorded: Recorded) -> None:
    found = [recorded.seen(sent, PathNormalization.BASE) for mutation in MUTATIONS for sent in every(mutation)]
    assert None in found
    assert len(found) > 2 * found.count(None) > 40
