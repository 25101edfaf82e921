"""The Workload API as the standard has it, asked by a plain client of gRPC."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ca.audit import Outcome
from ca.authorities import JwtSigner
from ca.authority import Authority
from ca.inventory import InventoryFilter, RevocationReason
from ca.jwt_svid import mint, plan_jwt_svid
from ca.phases import SlotKind
from ca.streams import Streams
from ca.workload_api import workload_api_server
from ca.workload_api.messages import MESSAGES, POOL
from identity import Bundle, JwtAuthority, SpiffeId, TrustDomain, verify_x509_svid
from tests.unit.ca.offices import API, AT, BY, TD, WEB, TestOffice, office
from tests.unit.ca.others import ask_as, needs_root, open_directory
from tests.unit.ca.waiting import until

ME = f"unix:uid:{os.geteuid()}"
OTHER = TrustDomain("other.example")
OTHERS = Authority.create(OTHER, at=AT)
HEADER = (("workload.spiffe.io", "true"),)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path) as made:
        yield made


class Client:
    """Asks."""

    def __init__(self, channel: grpc.aio.Channel, streams: Streams) -> None:
        self.channel = channel
        self.streams = streams

    def stream(self, method: str, *, metadata: Any = HEADER, request: bytes = b"") -> "grpc.aio.UnaryStreamCall":
        call = self.channel.unary_stream(
            f"/SpiffeWorkloadAPI/{method}", response_deserializer=MESSAGES[method].FromString
        )
        return call(request, metadata=metadata, timeout=20)

    async def ask(self, method: str, *, metadata: Any = HEADER, **fields: object) -> Any:
        name = POOL.FindServiceByName("SpiffeWorkloadAPI").FindMethodByName(method).input_type.name
        request = GetMessageClass(POOL.FindMessageTypeByName(name))(**fields)
        call = self.channel.unary_unary(
            f"/SpiffeWorkloadAPI/{method}", response_deserializer=MESSAGES[method].FromString
        )
        return await call(request.SerializeToString(), metadata=metadata, timeout=20)


@asynccontextmanager
async def serving(made: TestOffice, *, federated: Mapping[TrustDomain, Bundle] | None = None) -> AsyncIterator[Client]:
    streams = Streams(made.office, federated=lambda: federated or {})
    directory = made.office.store.place
    address = f"unix:{Path(directory.removeprefix('sqlite:///')).parent}/w.sock"
    async with (
        made.watched(),
        workload_api_server(streams, address) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Client(channel, streams)


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (call.read() if hasattr(call, "read") else call)
    return caught.value.code().name, caught.value.details() or ""


# What is handed out


def test_the_full_state_comes_at_once(made: TestOffice) -> None:
    made.entry(WEB, ME, hint="outside", federates_with=frozenset({OTHER}))
    made.entry(API, ME)

    async def scene() -> None:
        async with serving(made, federated={OTHER: OTHERS.bundle}) as client:
            message = await client.stream("FetchX509SVID").read()
        assert [(each.spiffe_id, each.hint) for each in message.svids] == [(str(WEB), "outside"), (str(API), "")]
        bundle = Bundle(TD, tuple(certificates(message.svids[0].bundle)))
        for each, name in zip(message.svids, (WEB, API), strict=True):
            chain = certificates(each.x509_svid)
            assert verify_x509_svid(chain, [bundle], at=AT) == name
            key = load_der_private_key(each.x509_svid_key, password=None)
            assert key.public_key() == chain[0].public_key()
        assert certificates(message.federated_bundles[str(OTHER.id)]) == [OTHERS.root]

    asyncio.run(scene())


def certificates(der: bytes) -> list[x509.Certificate]:
    """Those that stand one after the other."""
    found = []
    while der:
        # The length of the outermost sequence, of more than 255 and less than 65536 bytes.
        assert der[:2] == b"\x30\x82"
        size = 4 + int.from_bytes(der[2:4], "big")
        found.append(x509.load_der_x509_certificate(der[:size]))
        der = der[size:]
    return found


def test_bundles_are_its_own_and_those_that_an_entry_is_federated_with(made: TestOffice) -> None:
    made.entry(WEB, ME, federates_with=frozenset({OTHER, TrustDomain("unknown.example")}))
    third = TrustDomain("third.example")
    federated = {OTHER: OTHERS.bundle, third: Bundle(third, ())}

    async def scene() -> None:
        async with serving(made, federated=federated) as client:
            x509_bundles = await client.stream("FetchX509Bundles").read()
            jwt_bundles = await client.stream("FetchJWTBundles").read()
        assert set(x509_bundles.bundles) == set(jwt_bundles.bundles) == {str(TD.id), str(OTHER.id)}
        keys = json.loads(jwt_bundles.bundles[str(TD.id)])["keys"]
        assert [(key["use"], bool(key["kid"])) for key in keys] == [("jwt-svid", True)]
        assert json.loads(jwt_bundles.bundles[str(OTHER.id)]) == {"keys": []}

    asyncio.run(scene())


def test_streams_of_one_workload_share_what_is_issued(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            messages = await asyncio.gather(*(client.stream("FetchX509SVID").read() for _ in range(20)))
        assert len({message.svids[0].x509_svid for message in messages}) == 1
        assert len(made.office.store.inventory.list(InventoryFilter(), at=AT).rows) == 1

    asyncio.run(scene())


def test_of_two_entries_with_one_hint_the_older_counts(made: TestOffice) -> None:
    made.entry(WEB, ME, hint="same")
    made.entry(API, ME, hint="same")

    async def scene() -> None:
        async with serving(made) as client:
            assert [each.spiffe_id for each in (await client.stream("FetchX509SVID").read()).svids] == [str(WEB)]

    asyncio.run(scene())


# What follows


def test_an_entry_that_is_made_is_there_within_a_second_and_one_that_is_deleted_gone(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            call = client.stream("FetchX509SVID")
            await call.read()
            entry = await asyncio.to_thread(made.entry, API, ME)
            async with asyncio.timeout(1):
                assert len((await call.read()).svids) == 2
            made.office.store.entries.delete(entry.id, by=BY, at=AT).result()
            assert len((await call.read()).svids) == 1

    asyncio.run(scene())


def test_when_the_last_entry_is_gone_the_stream_ends(made: TestOffice) -> None:
    entry = made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            calls = [client.stream(method) for method in ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles")]
            for call in calls:
                await call.read()
            await made.office.store.entries.delete(entry.id, by=BY, at=AT)
            for call in calls:
                assert await refused(call) == ("PERMISSION_DENIED", "no identity issued")

    asyncio.run(scene())


def test_half_way_through_its_life_another_comes(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            call = client.stream("FetchX509SVID")
            first = (await call.read()).svids[0]
            made.clock.pass_by(timedelta(minutes=26))
            made.office.changes.tell()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting := asyncio.ensure_future(call.read())), 0.5)
            made.clock.pass_by(timedelta(minutes=8))
            made.office.changes.tell()
            second = (await waiting).svids[0]
            assert second.x509_svid != first.x509_svid
            assert second.x509_svid_key != first.x509_svid_key

    asyncio.run(scene())


def test_what_a_tainted_authority_signed_is_replaced_at_once(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            call = client.stream("FetchX509SVID")
            first = certificates((await call.read()).svids[0].x509_svid)
            await asyncio.to_thread(made.taint_intermediate)
            # The root that follows is published on the way; the leaf may come with it or after it.
            while (chain := certificates((await call.read()).svids[0].x509_svid)) == first:
                pass
            assert chain[1] != first[1]

    asyncio.run(scene())


def test_what_was_revoked_is_not_handed_out_again(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            leaf = certificates((await client.stream("FetchX509SVID").read()).svids[0].x509_svid)[0]
            serial = f"{leaf.serial_number:x}"
            await made.office.store.inventory.revoke(serial, RevocationReason.KEY_COMPROMISE, by=BY, at=AT)
            other = certificates((await client.stream("FetchX509SVID").read()).svids[0].x509_svid)[0]
            assert other != leaf

    asyncio.run(scene())


def test_a_new_root_is_sent_and_who_has_taken_it_is_known_to_hold_it(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            call = client.stream("FetchX509SVID")
            await call.read()
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            async with asyncio.timeout(5):
                message = await call.read()
            assert len(certificates(message.svids[0].bundle)) == 2
            sequence = made.office.signing.now().bundle.sequence
            await until(lambda: set(made.office.consumers.acknowledged(at=AT).values()) == {sequence})

    asyncio.run(scene())


def test_of_two_with_one_name_the_one_that_is_behind_counts(made: TestOffice) -> None:
    async def scene() -> None:
        holders = Streams(made.office).holders
        one, other = holders.opened("uid", "same"), holders.opened("uid", "same")

        def held() -> dict[str, int]:
            return made.office.consumers.acknowledged(at=AT)

        one.holds(7, at=AT)
        assert held() == {"uid same": 0}
        other.holds(5, at=AT)
        assert held() == {"uid same": 5}
        other.close(at=AT)
        assert held() == {"uid same": 7}
        one.close(at=AT)

    asyncio.run(scene())


def test_while_nothing_signs_what_there_is_stays(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            first = (await client.stream("FetchX509SVID").read()).svids[0].x509_svid
            made.clock.pass_by(timedelta(minutes=45))
            signing = made.office.signing.now()
            made.office.signing._signing = replace(signing, authority=None)
            assert (await client.stream("FetchX509SVID").read()).svids[0].x509_svid == first
            made.clock.pass_by(timedelta(minutes=20))
            assert (await refused(client.stream("FetchX509SVID")))[0] == "UNAVAILABLE"

    asyncio.run(scene())


# Who hears what (spec 2.5)


@pytest.mark.parametrize(
    "metadata",
    [(), (("workload.spiffe.io", "True"),), (*HEADER, *HEADER), (("workload.spiffe.io", ""),)],
)
def test_without_the_header_nothing_is_answered(made: TestOffice, metadata: Any) -> None:
    made.entry(WEB, ME)
    expected = ("INVALID_ARGUMENT", "security header missing from request")

    async def scene() -> None:
        async with serving(made) as client:
            for method in ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"):
                assert await refused(client.stream(method, metadata=metadata)) == expected
            for method in ("FetchJWTSVID", "ValidateJWTSVID"):
                assert await refused(client.ask(method, metadata=metadata)) == expected

    asyncio.run(scene())


def test_who_has_no_entry_is_denied_and_the_audit_says_so_once(made: TestOffice) -> None:
    expected = ("PERMISSION_DENIED", "no identity issued")

    async def scene() -> None:
        async with serving(made) as client:
            for method in ("FetchX509SVID", "FetchX509Bundles", "FetchJWTBundles"):
                assert await refused(client.stream(method)) == expected
            assert await refused(client.ask("FetchJWTSVID", audience=["a"])) == expected

    asyncio.run(scene())
    rows = [row for row in made.office.store.audit.list().rows if row.event.outcome is Outcome.REFUSED]
    assert [row.event.actor for row in rows] == [ME]


def test_jwt_svids_are_for_the_names_that_may_be_had(made: TestOffice) -> None:
    made.entry(WEB, ME, hint="h")
    made.entry(API, ME)

    async def scene() -> None:
        async with serving(made) as client:
            both = await client.ask("FetchJWTSVID", audience=["a", "b"])
            assert [(each.spiffe_id, each.hint) for each in both.svids] == [(str(WEB), "h"), (str(API), "")]
            (one,) = (await client.ask("FetchJWTSVID", audience=["a"], spiffe_id=str(API))).svids
            assert one.spiffe_id == str(API)
            asked = client.ask("FetchJWTSVID", audience=["a"], spiffe_id=str(SpiffeId(TD, "/db")))
            assert await refused(asked) == ("PERMISSION_DENIED", "no identity issued")
            for audience in ([], [""], ["a", ""]):
                asked = client.ask("FetchJWTSVID", audience=audience)
                assert await refused(asked) == ("INVALID_ARGUMENT", "audience must be specified")
            code, text = await refused(client.ask("FetchJWTSVID", audience=["a"], spiffe_id="spiffe://Td/a"))
            assert (code, text.partition(":")[0]) == ("INVALID_ARGUMENT", "invalid requested SPIFFE ID")

            validated = await client.ask("ValidateJWTSVID", audience="b", svid=both.svids[0].svid)
            assert validated.spiffe_id == str(WEB)
            claims = MessageToDict(validated.claims)
            assert (claims["sub"], claims["aud"]) == (str(WEB), ["a", "b"])
            assert {"exp", "iat", "jti"} <= claims.keys()

    asyncio.run(scene())


def test_tokens_are_refused_in_spires_words(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:

            async def text(**fields: str) -> str:
                code, text = await refused(client.ask("ValidateJWTSVID", **fields))
                assert code == "INVALID_ARGUMENT"
                return text

            token = (await client.ask("FetchJWTSVID", audience=["a"])).svids[0].svid
            assert await text(audience="", svid=token) == "audience must be specified"
            assert await text(audience="a", svid="") == "svid must be specified"
            assert await text(audience="b", svid=token) == "expected audience in ['b'] (audience=['a'])"
            await text(audience="a", svid="a.b.c")
            made.clock.pass_by(timedelta(minutes=7))
            assert await text(audience="a", svid=token) == "token has expired"

    asyncio.run(scene())


def test_of_another_trust_domains_token_little_is_said(made: TestOffice) -> None:
    made.entry(WEB, ME, federates_with=frozenset({OTHER}))
    key = ec.generate_private_key(ec.SECP256R1())
    signer = JwtSigner("k", key, AT + timedelta(days=1))
    minted = mint(signer, plan_jwt_svid(signer, SpiffeId(OTHER, "/x"), ("a",), at=AT, issuer="https://other"))
    federated = {OTHER: Bundle(OTHER, (), (JwtAuthority("k", key.public_key()),))}

    async def scene() -> None:
        async with serving(made, federated=federated) as client:
            validated = await client.ask("ValidateJWTSVID", audience="a", svid=minted.token)
            assert MessageToDict(validated.claims).keys() == {"sub", "aud", "exp"}
        async with serving(made) as client:
            _, said = await refused(client.ask("ValidateJWTSVID", audience="a", svid=minted.token))
            assert said == "no keys found for trust domain 'other.example'"

    asyncio.run(scene())


def test_who_may_verify_needs_no_identity(made: TestOffice) -> None:
    async def scene() -> None:
        async with serving(made) as client:
            assert (await refused(client.ask("ValidateJWTSVID", audience="a", svid="x")))[0] == "INVALID_ARGUMENT"

    asyncio.run(scene())


def test_bytes_that_are_no_message_are_refused(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            assert (await refused(client.stream("FetchX509SVID", request=b"\xff\xff")))[0] == "INVALID_ARGUMENT"
            call = client.channel.unary_unary("/SpiffeWorkloadAPI/ValidateJWTSVID")
            assert (await refused(call(b"\x0a\xff", metadata=HEADER)))[0] == "INVALID_ARGUMENT"

    asyncio.run(scene())


@pytest.mark.parametrize("method", ["FetchWITSVID", "FetchWITBundles", "Other"])
def test_what_is_not_offered_is_unimplemented(made: TestOffice, method: str) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            call = client.channel.unary_unary(f"/SpiffeWorkloadAPI/{method}")
            assert (await refused(call(b"", metadata=HEADER)))[0] == "UNIMPLEMENTED"

    asyncio.run(scene())


def test_who_asks_too_often_is_told_to_wait(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        made.entry(WEB, ME)

        async def scene() -> None:
            async with serving(made) as client:
                asked = [client.stream("FetchX509Bundles").read() for _ in range(80)]
                answers = await asyncio.gather(*asked, return_exceptions=True)
            codes = {each.code() for each in answers if isinstance(each, grpc.aio.AioRpcError)}
            assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED}

        asyncio.run(scene())


@needs_root
def test_users_of_this_machine_get_what_is_theirs() -> None:
    async def scene(made: TestOffice, address: str) -> None:
        async with made.watched(), workload_api_server(Streams(made.office), address):
            method = "/SpiffeWorkloadAPI/FetchX509SVID"
            assert str(WEB) in await ask_as(4242, address, method)
            assert await ask_as(4243, address, method) == "PERMISSION_DENIED no identity issued\n"
            # Nobody in particular: what the kernel says of users that are none of ours.
            assert await ask_as(65534, address, method) == "UNAVAILABLE workload attestation failed\n"

    with open_directory() as directory:
        (directory / "a").mkdir(mode=0o700)
        with office(directory / "a") as made:
            made.entry(WEB, "unix:uid:4242")
            asyncio.run(scene(made, f"unix:{directory}/w.sock"))


# Beside it


def test_health_and_reflection_are_there(made: TestOffice) -> None:
    async def scene() -> None:
        async with serving(made) as client:
            health = health_pb2_grpc.HealthStub(client.channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(service="SpiffeWorkloadAPI"))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            reflection = reflection_pb2_grpc.ServerReflectionStub(client.channel)
            for symbol in ("SpiffeWorkloadAPI", "grpc.health.v1.Health"):
                request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
                async for answer in reflection.ServerReflectionInfo(iter([request])):
                    assert answer.file_descriptor_response.file_descriptor_proto

    asyncio.run(scene())


def test_who_takes_one_message_and_hangs_up_is_no_error(made: TestOffice, caplog: pytest.LogCaptureFixture) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            for number in range(40):
                call = client.stream("FetchX509SVID")
                if number % 4:
                    await call.read()
                call.cancel()
                made.office.changes.tell()
            await until(lambda: not client.streams._open)

    asyncio.run(scene())
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_nothing_is_open_once_the_streams_have_ended(made: TestOffice) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made) as client:
            calls = [client.stream("FetchX509SVID") for _ in range(3)]
            for call in calls:
                await call.read()
            assert client.streams._open == 3
            for call in calls:
                call.cancel()
            await until(lambda: not (client.streams._open or client.streams.holders._open))
            assert made.office.consumers._open == {}

    asyncio.run(scene())
