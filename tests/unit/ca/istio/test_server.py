"""The whole edge over TLS, as an agent meets it: first a token, then the certificate that it got, through a rotation of the root."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca.attestation import KubernetesAttestor
from ca.audit import AuditEvent, Outcome
from ca.front.tls import ServerTls
from ca.istio.ca_pb2 import IstioCertificateRequest
from ca.istio.server import istio_server
from ca.lifetimes import Settings
from ca.own_svid import OwnSvid
from ca.phases import SlotKind
from ca.rotation import hurried
from identity import Bundle, verify_x509_svid
from tests.unit.ca.clusters import TestCluster
from tests.unit.ca.istio.asking import Heard, heard
from tests.unit.ca.offices import BY, TD, WEB, TestOffice, csr, office

EAST = TestCluster()
ISTIOD = "istiod.istio-system.svc"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    at = datetime.now(UTC).replace(microsecond=0)  # TLS looks at the clock of the machine
    clusters = frozenset({"east"})
    with office(tmp_path, at=at, istio_clusters=clusters, settings=Settings(notice=timedelta(0))) as made:
        yield made


class Agent:
    """A key, the roots that it trusts, and the certificate that it has by now."""

    def __init__(self, made: TestOffice) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._at = made.clock()
        self.roots = made.office.signing.now().bundle.to_pem()
        self.chain: bytes | None = None

    async def ask(self, address: str, *, token: bool = False, name: str = ISTIOD) -> Heard:
        """Ask for a certificate, and take what comes."""
        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        credentials = grpc.ssl_channel_credentials(self.roots, key if self.chain else None, self.chain)
        options = (("grpc.ssl_target_name_override", name), ("grpc.use_local_subchannel_pool", 1))
        shown = (("authorization", f"Bearer {EAST.token(at=self._at)}"),) if token else ()
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            question = IstioCertificateRequest(csr=csr(self._key, spiffe_id=WEB).decode())
            answer = await heard(channel, question.SerializeToString(), shown)
        if answer.code == 0:
            self.chain, self.roots = "".join(answer.chain[:-1]).encode(), answer.chain[-1].encode()
        return answer


@asynccontextmanager
async def serving(made: TestOffice, directory: Path) -> AsyncIterator[tuple[str, OwnSvid]]:
    own = OwnSvid(made.office, dns_names=(ISTIOD,))
    await own.renew()
    tls = ServerTls(lambda: own.current, lambda: made.office.signing.now().bundle)
    tokens = KubernetesAttestor([EAST.known(directory, named_in=TD)], default="east")
    async with istio_server(made.office, "127.0.0.1", 0, tls, tokens=tokens) as server:
        yield server.address, own


def advance(made: TestOffice) -> None:
    made.office.supervisor.advance()
    made.office.signing.refresh()


def test_an_agent_gets_its_first_certificate_by_a_token_and_the_next_by_that(made: TestOffice, tmp_path: Path) -> None:
    async def main() -> None:
        agent = Agent(made)
        async with serving(made, tmp_path) as (address, _):
            assert (await agent.ask(address)).code == 16
            assert (await agent.ask(address, token=True)).code == 0
            renewed = await agent.ask(address)
            bundle = made.office.signing.now().bundle
            assert verify_x509_svid(renewed.certificates, [bundle], at=made.clock()) == WEB
            row = made.office.store.inventory.get(f"{renewed.certificates[0].serial_number:x}")
            assert row.intent.caller == str(WEB)

    asyncio.run(main())


def test_an_agent_goes_through_a_rotation_of_the_root_by_nothing_but_its_answers(
    made: TestOffice, tmp_path: Path
) -> None:
    async def main() -> None:
        agent = Agent(made)
        async with serving(made, tmp_path) as (address, own):
            assert (await agent.ask(address, token=True)).code == 0
            (old,) = made.office.signing.now().bundle.x509_authorities
            kept = made.office.store.authorities
            version = kept.load(TD)
            assert version is not None
            changed = hurried(
                version.authorities, SlotKind.ROOT, keys=made.keys, settings=made.office.settings, at=made.clock()
            )
            await kept.save(changed, before=version, by=BY, action="rotate", at=made.clock())
            advance(made)
            # Nothing signs by the new root while the agent is not known to hold it.
            assert made.office.signing.now().require_authority(made.clock()).root == old
            assert len((await agent.ask(address, token=True)).roots) == 2
            # It is written down in the background, before what is written next.
            await made.office.store.audit.append(AuditEvent(made.clock(), BY, "wait", Outcome.DONE))
            advance(made)
            assert made.office.signing.now().require_authority(made.clock()).root != old
            await own.renew()
            answer = await agent.ask(address)
            new = made.office.signing.now().require_authority(made.clock()).root
            bundle = Bundle(TD, (new,))
            assert verify_x509_svid(answer.certificates, [bundle], at=made.clock()) == WEB

    asyncio.run(main())


def test_a_client_that_expects_another_server_does_not_ask_this_one(made: TestOffice, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(made, tmp_path) as (address, _):
            assert (await Agent(made).ask(address, token=True, name="istiod.evil.svc")).code == 14

    asyncio.run(main())


def test_a_certificate_of_another_authority_does_not_get_in(made: TestOffice, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with office(tmp_path / "other", at=made.clock(), istio_clusters=frozenset({"east"})) as other:

        async def main() -> None:
            agent = Agent(other)
            async with serving(other, tmp_path / "other") as (address, _):
                assert (await agent.ask(address, token=True)).code == 0
            agent.roots = made.office.signing.now().bundle.to_pem()
            async with serving(made, tmp_path) as (address, _):
                assert (await agent.ask(address)).code == 14

        asyncio.run(main())
