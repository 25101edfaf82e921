"""SDS as xDS has it, asked by a plain client of gRPC."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import SPIFFECertValidatorConfig
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

from ca.authority import Authority
from ca.inventory import InventoryFilter
from ca.phases import SlotKind
from ca.sds import sds_server
from ca.sds.secrets import TYPE_URL
from ca.sds.service import SecretDiscovery
from ca.streams import Streams
from identity import Bundle, TrustDomain, verify_x509_svid
from tests.unit.ca.offices import API, AT, BY, TD, WEB, TestOffice, office
from tests.unit.ca.waiting import until

ME = f"unix:uid:{os.geteuid()}"
SERVICE = "/envoy.service.secret.v3.SecretDiscoveryService"
OTHER = TrustDomain("other.example")
OTHERS = Authority.create(OTHER, at=AT)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path) as made:
        yield made


class Sotw:
    """A stream of whole states, by an Envoy of some name."""

    def __init__(self, channel: grpc.aio.Channel, node: str = "envoy", **metadata: object) -> None:
        self.call = channel.stream_stream(
            f"{SERVICE}/StreamSecrets",
            request_serializer=DiscoveryRequest.SerializeToString,
            response_deserializer=DiscoveryResponse.FromString,
        )()
        self.node: Any = {"id": node, "metadata": metadata}

    async def send(self, *names: str, nonce: str = "", error: str | None = None, type_url: str = TYPE_URL) -> None:
        request = DiscoveryRequest(resource_names=names, type_url=type_url, response_nonce=nonce, node=self.node)
        if error is not None:
            request.error_detail.message = error
        self.node = None
        await self.call.write(request)

    async def receive(self) -> DiscoveryResponse:
        async with asyncio.timeout(10):
            return await self.call.read()


class Delta:
    """A stream of differences."""

    def __init__(self, channel: grpc.aio.Channel, node: str = "envoy") -> None:
        self.call = channel.stream_stream(
            f"{SERVICE}/DeltaSecrets",
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )()
        self.node: Any = {"id": node}

    async def send(self, *subscribe: str, error: str | None = None, **fields: Any) -> None:
        request = DeltaDiscoveryRequest(resource_names_subscribe=subscribe, type_url=TYPE_URL, node=self.node, **fields)
        if error is not None:
            request.error_detail.message = error
        self.node = None
        await self.call.write(request)

    async def receive(self) -> DeltaDiscoveryResponse:
        async with asyncio.timeout(10):
            return await self.call.read()


async def is_silent(stream: Sotw | Delta) -> bool:
    reading = asyncio.ensure_future(stream.call.read())
    done, _ = await asyncio.wait({reading}, timeout=0.5)
    reading.cancel()
    return not done


@asynccontextmanager
async def serving(
    made: TestOffice, tmp_path: Path, *, federated: Mapping[TrustDomain, Bundle] | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    streams = Streams(made.office, federated=lambda: federated or {})
    async with (
        made.watched(),
        sds_server(streams, f"unix:{tmp_path}/sds.sock") as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield channel


def secrets(answer: Any) -> dict[str, Secret]:
    found = {}
    for packed in answer.resources:
        content = packed.resource if isinstance(answer, DeltaDiscoveryResponse) else packed
        secret = Secret.FromString(content.value)
        found[secret.name] = secret
    return found


def chain(secret: Secret) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(secret.tls_certificate.certificate_chain.inline_bytes)


def roots(secret: Secret) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(secret.validation_context.trusted_ca.inline_bytes)


async def ended(call: Any) -> tuple[str, str]:
    async with asyncio.timeout(10):
        return (await call.code()).name, await call.details()


def held(made: TestOffice) -> dict[str, int]:
    return made.office.consumers.acknowledged(at=made.clock())


# Names


def test_names_lead_to_what_envoy_can_use(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME, federates_with=frozenset({OTHER}))
    made.entry(API, ME)
    names = ("default", str(API), "ROOTCA", str(TD.id), str(OTHER.id), "ALL")

    async def scene() -> None:
        async with serving(made, tmp_path, federated={OTHER: OTHERS.bundle}) as channel:
            stream = Sotw(channel)
            await stream.send(*names)
            answer = await stream.receive()
            assert answer.type_url == TYPE_URL
            found = secrets(answer)
        assert set(found) == set(names)
        bundle = made.office.signing.now().bundle
        for name, expected in (("default", WEB), (str(API), API)):
            assert verify_x509_svid(chain(found[name]), [bundle], at=AT) == expected
            key = load_pem_private_key(found[name].tls_certificate.private_key.inline_bytes, password=None)
            assert key.public_key() == chain(found[name])[0].public_key()
        assert roots(found["ROOTCA"]) == roots(found[str(TD.id)]) == list(bundle.x509_authorities)
        assert roots(found[str(OTHER.id)]) == [OTHERS.root]
        extension = found["ALL"].validation_context.custom_validator_config
        assert extension.name == "envoy.tls.cert_validator.spiffe"
        config = SPIFFECertValidatorConfig.FromString(extension.typed_config.value)
        assert [each.name for each in config.trust_domains] == [TD.name, OTHER.name]

    asyncio.run(scene())


def test_no_names_are_all_that_may_be_had(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)
    made.entry(API, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            for stream in (Sotw(channel), Delta(channel)):
                await stream.send()
                assert set(secrets(await stream.receive())) == {str(WEB), str(API), str(TD.id)}

    asyncio.run(scene())


def test_an_envoy_without_the_spiffe_validator_gets_the_roots_of_its_own_domain(
    made: TestOffice, tmp_path: Path
) -> None:
    made.entry(WEB, ME, federates_with=frozenset({OTHER}))

    async def scene() -> None:
        async with serving(made, tmp_path, federated={OTHER: OTHERS.bundle}) as channel:
            for said in (True, "true"):
                stream = Sotw(channel, disable_spiffe_cert_validation=said)
                await stream.send("ALL")
                secret = secrets(await stream.receive())["ALL"]
                assert roots(secret) == list(made.office.signing.now().bundle.x509_authorities)

    asyncio.run(scene())


@pytest.mark.parametrize("kind", [Sotw, Delta])
def test_what_may_not_be_had_ends_the_stream(made: TestOffice, tmp_path: Path, kind: Any) -> None:
    made.entry(WEB, ME)
    expected = 'workload is not authorized for the requested identities ["spiffe://example.org/ns/shop/sa/api"]'

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = kind(channel)
            await stream.send("default", str(API))
            assert await ended(stream.call) == ("INVALID_ARGUMENT", expected)

    asyncio.run(scene())


@pytest.mark.parametrize("kind", [Sotw, Delta])
def test_who_may_have_nothing_is_denied_also_when_that_comes_later(made: TestOffice, tmp_path: Path, kind: Any) -> None:
    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = kind(channel)
            await stream.send("default")
            assert await ended(stream.call) == ("PERMISSION_DENIED", "no identity issued")
            entry = await asyncio.to_thread(made.entry, WEB, ME)
            stream = kind(channel)
            await stream.send("ROOTCA")
            await stream.receive()
            await made.office.store.entries.delete(entry.id, by=BY, at=AT)
            assert await ended(stream.call) == ("PERMISSION_DENIED", "no identity issued")

    asyncio.run(scene())


@pytest.mark.parametrize("kind", [Sotw, Delta])
def test_what_is_no_request_for_secrets_is_refused(made: TestOffice, tmp_path: Path, kind: Any) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = kind(channel)
            await stream.send(*(f"n{number}" for number in range(101)))
            assert (await ended(stream.call))[0] == "INVALID_ARGUMENT"
            method = "StreamSecrets" if kind is Sotw else "DeltaSecrets"
            for bytes_ in (b"\xff\xff", DiscoveryRequest(type_url="x").SerializeToString()[:-1] + b"\xff"):
                call = channel.stream_stream(f"{SERVICE}/{method}")()
                await call.write(bytes_)
                assert (await ended(call))[0] == "INVALID_ARGUMENT"

    asyncio.run(scene())


def test_one_answer_may_be_fetched(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            fetch = channel.unary_unary(f"{SERVICE}/FetchSecrets", response_deserializer=DiscoveryResponse.FromString)
            request = DiscoveryRequest(resource_names=["default", "ROOTCA"]).SerializeToString()
            answers = [await fetch(request) for _ in range(2)]
            assert set(secrets(answers[0])) == {"default", "ROOTCA"}
            assert answers[0].version_info == answers[1].version_info

    asyncio.run(scene())


# The state of the world


def test_an_answer_that_was_taken_is_followed_by_silence_until_something_is_new(
    made: TestOffice, tmp_path: Path
) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Sotw(channel)
            await stream.send("default", "ROOTCA")
            first = await stream.receive()
            await stream.send("default", "ROOTCA", nonce=first.nonce)
            made.office.changes.tell()
            await asyncio.sleep(0.5)
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            second = await stream.receive()
            assert (second.nonce, second.version_info) != (first.nonce, first.version_info)
            assert len(roots(secrets(second)["ROOTCA"])) == 2
            assert chain(secrets(second)["default"]) == chain(secrets(first)["default"])

    asyncio.run(scene())


def test_what_crossed_with_an_answer_is_passed_over(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Sotw(channel)
            await stream.send("default")
            first = await stream.receive()
            await stream.send("default", "ROOTCA", nonce="older")
            await stream.send("ROOTCA")
            await stream.send("default", "ROOTCA", nonce=first.nonce)
            second = await stream.receive()
            assert set(secrets(second)) == {"default", "ROOTCA"}
            await stream.send("ROOTCA", nonce=second.nonce)
            assert set(secrets(await stream.receive())) == {"ROOTCA"}

    asyncio.run(scene())


def test_names_that_are_all_taken_back_are_not_everything(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Sotw(channel)
            await stream.send("default")
            await stream.send(nonce=(await stream.receive()).nonce)
            assert await is_silent(stream)

    asyncio.run(scene())


def test_what_was_rejected_is_not_sent_again_and_logged(
    made: TestOffice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Sotw(channel)
            await stream.send("ROOTCA")
            first = await stream.receive()
            await stream.send("ROOTCA", nonce=first.nonce, error="KEY_VALUES_MISMATCH\nFAKE")
            for _ in range(3):
                made.office.changes.tell()
                await asyncio.sleep(0.1)
            # A rotation waits for who has not taken it.
            assert set(held(made).values()) == {0}
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            second = await stream.receive()
            assert len(roots(secrets(second)["ROOTCA"])) == 2
            await stream.send("ROOTCA", nonce=second.nonce)
            await until(lambda: set(held(made).values()) == {made.office.signing.now().bundle.sequence})

    asyncio.run(scene())
    (record,) = [each for each in caplog.records if "does not take" in each.getMessage()]
    assert r"KEY_VALUES_MISMATCH\nFAKE" in record.getMessage()


def test_rejections_are_counted(made: TestOffice) -> None:
    assert SecretDiscovery(Streams(made.office), None).rejected == 0  # type: ignore[arg-type]  # it serves nobody


# Differences


def test_differences_are_sent_once_each(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Delta(channel)
            await stream.send("default", "ROOTCA")
            first = await stream.receive()
            assert {each.name for each in first.resources} == {"default", "ROOTCA"}
            await stream.send(response_nonce=first.nonce)
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            second = await stream.receive()
            assert [each.name for each in second.resources] == ["ROOTCA"]
            assert second.nonce != first.nonce
            await stream.send(response_nonce=second.nonce)
            # Who asks again has lost it.
            await stream.send("default")
            assert [each.name for each in (await stream.receive()).resources] == ["default"]
            await stream.send(resource_names_unsubscribe=["ROOTCA"])
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            assert await is_silent(stream)

    asyncio.run(scene())


def test_who_comes_back_is_sent_what_has_changed(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Delta(channel)
            await stream.send("default", "ROOTCA")
            versions = {each.name: each.version for each in (await stream.receive()).resources}
            back = Delta(channel)
            await back.send("default", "ROOTCA", initial_resource_versions={**versions, "default": "older"})
            assert [each.name for each in (await back.receive()).resources] == ["default"]

    asyncio.run(scene())


def test_of_everything_what_is_gone_is_said(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)
    gone = made.entry(API, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Delta(channel)
            await stream.send("*")
            first = await stream.receive()
            await stream.send(response_nonce=first.nonce)
            await made.office.store.entries.delete(gone.id, by=BY, at=AT)
            second = await stream.receive()
            assert (list(second.resources), list(second.removed_resources)) == ([], [str(API)])

    asyncio.run(scene())


def test_a_difference_that_was_rejected_is_not_sent_again(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Delta(channel)
            await stream.send("default", "ROOTCA")
            first = await stream.receive()
            await stream.send(response_nonce=first.nonce, error="no")
            made.office.changes.tell()
            await asyncio.sleep(0.3)
            assert set(held(made).values()) == {0}
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            assert [each.name for each in (await stream.receive()).resources] == ["ROOTCA"]

    asyncio.run(scene())


# What follows


@pytest.mark.parametrize("kind", [Sotw, Delta])
def test_a_leaf_is_made_anew_at_half_of_its_life_once_for_all_streams(
    made: TestOffice, tmp_path: Path, kind: Any
) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            streams = [kind(channel) for _ in range(4)]
            for stream in streams:
                await stream.send("default")
            first = {chain(secrets(await stream.receive())["default"])[0] for stream in streams}
            made.clock.pass_by(timedelta(minutes=34))
            made.office.changes.tell()
            second = {chain(secrets(await stream.receive())["default"])[0] for stream in streams}
        assert (len(first), len(second), len(first | second)) == (1, 1, 2)
        assert len(made.office.store.inventory.list(InventoryFilter(), at=AT).rows) == 2

    asyncio.run(scene())


@pytest.mark.parametrize("kind", [Sotw, Delta])
def test_who_takes_the_roots_is_known_to_hold_the_bundle(made: TestOffice, tmp_path: Path, kind: Any) -> None:
    made.entry(WEB, ME)

    def ack(answer: Any) -> dict[str, str]:
        return {"nonce" if kind is Sotw else "response_nonce": answer.nonce}

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            leaf, one, other = kind(channel, "a"), kind(channel, "a"), kind(channel, "b")
            names = ("ROOTCA",) if kind is Sotw else ()
            await leaf.send("default")
            await leaf.send(*(("default",) if kind is Sotw else ()), **ack(await leaf.receive()))
            assert held(made) == {}
            for stream in (one, other):
                await stream.send("ROOTCA")
            await one.send(*names, **ack(await one.receive()))
            prefix = f"sds {ME} {WEB}"
            await until(lambda: held(made) == {f"{prefix} 'a'": 2, f"{prefix} 'b'": 0})
            await other.send(*names, **ack(await other.receive()))
            await until(lambda: set(held(made).values()) == {2})
            # What is not theirs changes the bundle, too; they have nothing new to take.
            await asyncio.to_thread(made.hurry, SlotKind.JWT)
            await until(lambda: set(held(made).values()) == {3})

    asyncio.run(scene())


def test_a_root_waits_for_who_has_not_taken_it(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = Sotw(channel)
            await stream.send("ROOTCA")
            first = await stream.receive()
            await stream.send("ROOTCA", nonce=first.nonce)
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            second = await stream.receive()
            made.clock.pass_by(made.office.settings.notice + timedelta(seconds=1))
            before = made.office.signing.now().issuer

            def advance() -> str:
                made.office.supervisor.advance()
                made.office.signing.refresh()
                return made.office.signing.now().issuer

            assert await asyncio.to_thread(advance) == before
            await stream.send("ROOTCA", nonce=second.nonce)
            sequence = made.office.signing.now().bundle.sequence
            await until(lambda: set(held(made).values()) == {sequence})
            assert await asyncio.to_thread(advance) != before

    asyncio.run(scene())


@pytest.mark.parametrize("kind", [Sotw, Delta])
def test_who_asks_for_more_than_anybody_needs_is_stopped(made: TestOffice, tmp_path: Path, kind: Any) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as channel:
            stream = kind(channel)
            await stream.send("default")
            with suppress(grpc.aio.AioRpcError):
                for number in range(200):
                    answer = await stream.receive()
                    # Sometimes one name, sometimes two; or the same again, as if it had been lost.
                    more = ("ROOTCA",) if number % 2 == 0 else ()
                    await stream.send("default", *more, **({"nonce": answer.nonce} if kind is Sotw else {}))
            assert (await ended(stream.call))[0] == "RESOURCE_EXHAUSTED"

    asyncio.run(scene())


@pytest.mark.parametrize("kind", [Sotw, Delta])
def test_who_hangs_up_is_no_error_and_leaves_nothing_behind(
    made: TestOffice, tmp_path: Path, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made.entry(WEB, ME)

    async def hang_up(address: str, number: int) -> None:
        channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        stream = kind(channel)
        await stream.send("default", "ROOTCA")
        if number % 3:
            await stream.receive()
        if number % 2:
            stream.call.cancel()
        made.office.changes.tell()
        await channel.close()

    async def scene() -> None:
        async with serving(made, tmp_path):
            for start in range(0, 40, 10):
                await asyncio.gather(*(hang_up(f"unix:{tmp_path}/sds.sock", start + each) for each in range(10)))
            await until(lambda: not made.office.consumers._open)

    asyncio.run(scene())
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_the_socket_is_for_its_owner_and_their_group(made: TestOffice, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(made, tmp_path):
            status = await asyncio.to_thread((tmp_path / "sds.sock").stat)
            assert stat.S_IMODE(status.st_mode) == 0o660

    asyncio.run(scene())
