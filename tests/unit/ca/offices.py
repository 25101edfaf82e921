"""Offices for tests: an authority on a real store in a directory, with keys in memory and a clock that stands or is set."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca.attestation import Attestor, Caller
from ca.csr import read_csr
from ca.entries import Entry
from ca.issuance import IssuedX509
from ca.keys import MemoryKeyStore
from ca.lifetimes import Settings
from ca.office import Office
from ca.phases import SlotKind
from ca.rotation import hurried
from ca.selector import Selector
from ca.store import Store
from identity import PrivateKey, SpiffeId, TrustDomain

AT = datetime(2030, 1, 1, 12, tzinfo=UTC)
TD = TrustDomain("example.org")
WEB = SpiffeId(TD, "/ns/shop/sa/web")
API = SpiffeId(TD, "/ns/shop/sa/api")
BY = "spiffe://example.org/operator"


class SetClock:
    """A clock that says what it was set to."""

    def __init__(self, at: datetime = AT) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, time: timedelta) -> None:
        self.at += time


class RunningClock(SetClock):
    """The time of this machine."""

    def __call__(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class TestOffice:
    """An office, and what a test turns."""

    __test__ = False

    office: Office
    clock: SetClock
    keys: MemoryKeyStore

    def entry(self, spiffe_id: SpiffeId, *selectors: str, **more: object) -> Entry:
        """Keep an entry."""
        new = Entry.new(spiffe_id, map(Selector.parse, selectors), at=self.clock())
        return self.office.store.entries.create(replace(new, **more), by=BY, at=self.clock()).result()  # type: ignore[arg-type]  # a test's

    def hurry(self, kind: SlotKind) -> None:
        """Prepare another signing authority at once; the supervisor does the rest when it may."""
        kept = self.office.store.authorities
        version = kept.load(TD)
        assert version is not None
        settings, at = self.office.settings, self.clock()
        changed = hurried(version.authorities, kind, keys=self.keys, settings=settings, at=at)
        kept.save(changed, before=version, by=BY, action=f"hurry {kind.value}", at=at).result()

    def taint_intermediate(self) -> None:
        """Give up what signs, and let its successor sign."""
        kept = self.office.store.authorities
        version = kept.load(TD)
        assert version is not None
        active = version.authorities.active(SlotKind.INTERMEDIATE)
        assert active is not None
        changed = version.authorities.tainted(active.id, at=self.clock())
        kept.save(changed, before=version, by=BY, action="taint", at=self.clock()).result()
        self.office.supervisor.advance()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """While the watcher runs."""
        stop = asyncio.Event()
        running = asyncio.create_task(self.office.watcher.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running

    async def issue(self, caller: Caller, spiffe_id: SpiffeId | None = None) -> IssuedX509:
        """A certificate for a new key."""
        requested = read_csr(csr(spiffe_id=spiffe_id))
        return await self.office.issuance.x509_svid(caller, requested, at=self.clock())


@contextmanager
def office(
    directory: Path,
    *,
    settings: Settings | None = None,
    at: datetime = AT,
    clock: SetClock | None = None,
    istio_clusters: frozenset[str] = frozenset(),
    jwt_issuer: str | None = None,
    trust_domain: TrustDomain = TD,
    plugged: Path | None = None,
) -> Iterator[TestOffice]:
    """A new authority, with authorities made and loaded."""
    clock, keys = clock or SetClock(at), MemoryKeyStore()
    with Store.open(f"sqlite:///{directory}/office/store.db") as store:
        made = Office.of(
            trust_domain,
            store,
            keys,
            settings or Settings(),
            clock=clock,
            istio_clusters=istio_clusters,
            jwt_issuer=jwt_issuer,
            plugged=plugged,
        )
        made.open()
        yield TestOffice(made, clock, keys)


def caller(*selectors: str, name: str = "unix:uid:1000", attestor: Attestor = Attestor.UNIX) -> Caller:
    """Somebody of whom that much is known."""
    return Caller(attestor, name, frozenset(map(Selector.parse, selectors)))


def csr(key: PrivateKey | None = None, *, spiffe_id: SpiffeId | None = None) -> bytes:
    """A request in PEM, by default of a new key and for no name."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if spiffe_id is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))])
        builder = builder.add_extension(names, critical=True)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(Encoding.PEM)
