"""Every edge answers whatever bytes come over its real server, and by no error of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest

from ca.attestation import KubernetesAttestor
from ca.authorities import JwtSigner
from ca.istio.ca_pb2 import IstioCertificateRequest
from ca.istio.service import CertificateService
from ca.jwt_svid import mint, plan_jwt_svid
from ca.limits import Limits
from ca.sds import sds_server
from ca.sds.secrets import TYPE_URL
from ca.streams import Streams
from ca.workload_api import workload_api_server
from identity import Bundle, JwtAuthority, SpiffeId, TrustDomain
from tests.fuzz.fuzzing import SECONDS, fuzz
from tests.fuzz.mutating import of_protobuf
from tests.unit.ca.clusters import TestCluster
from tests.unit.ca.istio.asking import heard, serving
from tests.unit.ca.offices import API, AT, TD, WEB, TestOffice, csr, office

EAST = TestCluster()
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER = TrustDomain("other.example")
FEDERATED = {OTHER: Bundle(OTHER, (), (JwtAuthority("k", KEY.public_key()),))}
ME = f"unix:uid:{os.geteuid()}"
UNLIMITED = Limits(attest_per_second=10**9, issue_per_second=10**9)
HEADER = (("workload.spiffe.io", "true"),)
SDS = "/envoy.service.secret.v3.SecretDiscoveryService"

Ask = Callable[[bytes], Awaitable[int]]
"""Sends bytes, and says by which code the call ended."""


class RefusedError(Exception):
    """It was answered as it should be."""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path, istio_clusters=frozenset({"east"})) as made:
        made.entry(WEB, ME, federates_with=frozenset({OTHER}))
        made.entry(API, ME)
        yield replace(made, office=replace(made.office, limits=UNLIMITED))


def _istio_requests() -> Iterator[bytes]:
    yield IstioCertificateRequest(csr=csr(KEY, spiffe_id=WEB).decode(), validity_duration=3600).SerializeToString()
    yield IstioCertificateRequest(csr=csr(KEY).decode()).SerializeToString()
    named = IstioCertificateRequest(csr=csr(KEY).decode())
    named.metadata.update({"ClusterID": "east", "WorkloadName": "web", "Labels": {"a": [1, None, True]}})
    yield named.SerializeToString()


@asynccontextmanager
async def istio(made: TestOffice, directory: Path) -> AsyncIterator[Ask]:
    tokens = KubernetesAttestor([EAST.known(directory, named_in=TD)], default="east")
    metadata = (("authorization", f"Bearer {EAST.token(at=AT)}"),)
    async with (
        serving(directory, lambda front: CertificateService(made.office, front, tokens=tokens)) as asker,
        grpc.aio.insecure_channel(asker.address) as channel,
    ):

        async def ask(data: bytes) -> int:
            return (await heard(channel, data, metadata)).code

        yield ask


def unary(method: str, *, sds: bool = False) -> Callable[[TestOffice, Path], AbstractAsyncContextManager[Ask]]:
    @asynccontextmanager
    async def edge(made: TestOffice, directory: Path) -> AsyncIterator[Ask]:
        server = sds_server if sds else workload_api_server
        async with (
            server(Streams(made.office, federated=lambda: FEDERATED), f"unix:{directory}/s") as running,
            grpc.aio.insecure_channel(running.address) as channel,
        ):

            async def ask(data: bytes) -> int:
                try:
                    await channel.unary_unary(method)(data, metadata=HEADER, timeout=20)
                except grpc.aio.AioRpcError as error:
                    return int(error.code().value[0])
                return 0

            yield ask

    return edge


def streaming(method: str) -> Callable[[TestOffice, Path], AbstractAsyncContextManager[Ask]]:
    @asynccontextmanager
    async def edge(made: TestOffice, directory: Path) -> AsyncIterator[Ask]:
        async with (
            sds_server(Streams(made.office, federated=lambda: FEDERATED), f"unix:{directory}/s") as running,
            grpc.aio.insecure_channel(running.address) as channel,
        ):

            async def ask(data: bytes) -> int:
                call = channel.stream_stream(method)(timeout=20)
                try:
                    await call.write(data)
                    await call.done_writing()
                    while await call.read() is not grpc.aio.EOF:
                        pass
                except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                    pass  # it has ended already
                return int((await call.code()).value[0])

            yield ask

    return edge


def answering(method: str) -> Callable[[TestOffice, Path], AbstractAsyncContextManager[Ask]]:
    """A method of one question whose answers end when the caller has enough: after the first."""

    @asynccontextmanager
    async def edge(made: TestOffice, directory: Path) -> AsyncIterator[Ask]:
        async with (
            workload_api_server(Streams(made.office, federated=lambda: FEDERATED), f"unix:{directory}/s") as running,
            grpc.aio.insecure_channel(running.address) as channel,
        ):

            async def ask(data: bytes) -> int:
                call = channel.unary_stream(method)(data, metadata=HEADER, timeout=20)
                try:
                    assert await call.read() is not grpc.aio.EOF
                except grpc.aio.AioRpcError as error:
                    return int(error.code().value[0])
                call.cancel()
                return 0

            yield ask

    return edge


@dataclass(frozen=True, slots=True)
class Edge:
    serving: Callable[[TestOffice, Path], AbstractAsyncContextManager[Ask]]
    samples: tuple[bytes, ...]


def _text(number: int, text: str) -> bytes:
    length = bytes((len(text),)) if len(text) < 0x80 else bytes((len(text) & 0x7F | 0x80, len(text) >> 7))
    return bytes((number << 3 | 2,)) + length + text.encode()


def _validation() -> bytes:
    """Of a token from a trust domain that the caller is federated with."""
    signer = JwtSigner("k", KEY, AT + timedelta(days=1))
    planned = plan_jwt_svid(signer, SpiffeId(OTHER, "/x"), ("a",), at=AT, issuer="https://other.example")
    return _text(1, "a") + _text(2, mint(signer, planned).token)


_WHOLE = DiscoveryRequest(
    resource_names=["default", "ROOTCA"], type_url=TYPE_URL, node={"id": "n", "metadata": {"a": 1}}
)
_PART = DeltaDiscoveryRequest(resource_names_subscribe=["default"], type_url=TYPE_URL, node={"id": "n"})

EDGES = {
    "istio": Edge(istio, tuple(_istio_requests())),
    "FetchJWTSVID": Edge(
        unary("/SpiffeWorkloadAPI/FetchJWTSVID"), (_text(1, "a") + _text(2, str(WEB)), _text(1, "a") + _text(1, "b"))
    ),
    "ValidateJWTSVID": Edge(unary("/SpiffeWorkloadAPI/ValidateJWTSVID"), (_validation(),)),
    "FetchX509SVID": Edge(answering("/SpiffeWorkloadAPI/FetchX509SVID"), (b"", _text(1, "a"))),
    "FetchX509Bundles": Edge(answering("/SpiffeWorkloadAPI/FetchX509Bundles"), (b"", _text(1, "a"))),
    "FetchJWTBundles": Edge(answering("/SpiffeWorkloadAPI/FetchJWTBundles"), (b"", _text(1, "a"))),
    "FetchSecrets": Edge(unary(f"{SDS}/FetchSecrets", sds=True), (_WHOLE.SerializeToString(),)),
    "StreamSecrets": Edge(streaming(f"{SDS}/StreamSecrets"), (_WHOLE.SerializeToString(),)),
    "DeltaSecrets": Edge(streaming(f"{SDS}/DeltaSecrets"), (_PART.SerializeToString(),)),
}


@pytest.mark.parametrize("name", EDGES)
def test_bytes_of_any_kind_are_answered_by_a_code_that_is_not_internal(
    made: TestOffice, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    edge = EDGES[name]

    with asyncio.Runner() as runner:
        serving = edge.serving(made, tmp_path)
        ask = runner.run(serving.__aenter__())

        async def asked(data: bytes) -> int:
            return await ask(data)

        def read(data: bytes) -> None:
            code = runner.run(asked(data))
            if code != 0:
                # Nothing internal, and nothing that clients would try again for ever.
                assert code in {3, 7, 16}, code
                raise RefusedError

        try:
            read_, taken = fuzz(read, edge.samples, of_protobuf, RefusedError)
        finally:
            runner.run(_closed(serving))
    assert "Traceback" not in capfd.readouterr().err
    print(f"\n{name}: {read_} inputs in {SECONDS:g} s, {taken} of them taken")  # noqa: T201  # what was covered


async def _closed(serving: AbstractAsyncContextManager[Ask]) -> None:
    await serving.__aexit__(None, None, None)
