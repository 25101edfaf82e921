"""Two real authorities that federate over real HTTPS, and everything that must leave a bundle as it was."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ca.audit import Outcome
from ca.federation import Federation, Foreign, HttpsSpiffe, HttpsWeb, read_bootstrap
from ca.federation.foreign import ForeignError, Profile
from ca.federation.polling import pause_after
from ca.lifetimes import Settings
from ca.office import Office
from ca.phases import SlotKind
from ca.rotation import hurried
from identity import Bundle, SpiffeId, TrustDomain, X509Svid, parse_bundle, to_document, verify_x509_svid
from tests.unit.authn.key_server import KeyServer, Reply, key_server
from tests.unit.ca.offices import BY, TD, WEB, TestOffice, caller, office
from tests.unit.ca.tls import server_files

OTHER = TrustDomain("other.example")
ENDPOINT = SpiffeId(OTHER, "/bundle-endpoint")
SETTINGS = Settings(notice=timedelta(0))
USER = caller("unix:uid:1000")


def now() -> datetime:
    """OpenSSL looks at the clock of the machine."""
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def authority(directory: Path, trust_domain: TrustDomain) -> Iterator[TestOffice]:
    with office(directory, settings=SETTINGS, at=now(), trust_domain=trust_domain) as made:
        yield made


def show(context: ssl.SSLContext, svid: X509Svid, directory: Path) -> None:
    path = directory / "endpoint.pem"
    path.write_bytes(svid.private_key_to_unencrypted_pem() + svid.chain_to_pem())
    context.load_cert_chain(path)


class World:
    """Our authority, and the other with its bundle endpoint."""

    def __init__(self, ours: TestOffice, theirs: TestOffice, server: KeyServer, context: ssl.SSLContext) -> None:
        self.ours = ours
        self.theirs = theirs
        self.server = server
        self.context = context

    @property
    def office(self) -> Office:
        return self.ours.office

    @property
    def published(self) -> Bundle:
        return self.theirs.office.signing.now().bundle

    def publish(self, bundle: Bundle | None = None) -> None:
        """Let the endpoint say it."""
        self.server.replies["/bundle"] = Reply(to_document(bundle or self.published))

    def federation(self, profile: Profile | None = None, *, host: str = "127.0.0.1", load: bool = True) -> Federation:
        foreign = Foreign(
            OTHER, self.server.url("/bundle", host=host), profile or HttpsSpiffe(ENDPOINT, self.published)
        )
        federation = Federation(
            [foreign],
            self.office.store.federation,
            self.office.changes,
            own=TD,
            clock=self.ours.clock,
        )
        if load:
            federation.load()
        return federation

    def show(self, directory: Path, spiffe_id: SpiffeId = ENDPOINT) -> None:
        """Let the endpoint have a new certificate, by what signs now."""
        show(self.context, svid_of(self.theirs, spiffe_id), directory)

    def activate(self) -> None:
        self.theirs.office.supervisor.advance()
        self.theirs.office.signing.refresh()

    def rotate(self) -> None:
        """Publish another root; it signs nothing yet."""
        kept = self.theirs.office.store.authorities
        version = kept.load(OTHER)
        assert version is not None
        changed = hurried(
            version.authorities, SlotKind.ROOT, keys=self.theirs.keys, settings=SETTINGS, at=self.theirs.clock()
        )
        kept.save(changed, before=version, by=BY, action="rotate", at=self.theirs.clock()).result()
        self.theirs.office.signing.refresh()


def svid_of(made: TestOffice, spiffe_id: SpiffeId) -> X509Svid:
    entry = made.entry(spiffe_id, f"unix:path:{spiffe_id.path}")
    issue = made.office.issuance.x509_svid_with_key
    return asyncio.run(issue(USER, entry, at=made.clock())).svid


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    with ExitStack() as stack:
        ours = stack.enter_context(authority(tmp_path / "ours", TD))
        theirs = stack.enter_context(authority(tmp_path / "theirs", OTHER))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        show(context, svid_of(theirs, ENDPOINT), tmp_path)
        server = stack.enter_context(key_server(context))
        world = World(ours, theirs, server, context)
        world.publish()
        yield world


def look(federation: Federation) -> str | None:
    """Look once, and say what went wrong."""
    asyncio.run(federation.look(OTHER))
    return federation.failures.get(OTHER)


# What works


def test_a_peer_of_another_trust_domain_is_verified_by_what_that_publishes(world: World) -> None:
    federation = world.federation()
    assert look(federation) is None
    assert federation.bundles() == {OTHER: world.published}
    theirs, ours = svid_of(world.theirs, SpiffeId(OTHER, "/web")), svid_of(world.ours, WEB)
    bundles = [world.office.signing.now().bundle, *federation.bundles().values()]
    assert str(verify_x509_svid(theirs.chain, bundles, at=now())) == "spiffe://other.example/web"
    assert verify_x509_svid(ours.chain, bundles, at=now()) == WEB


def test_the_roots_of_another_trust_domain_vouch_for_nobody_of_ours(world: World, tmp_path: Path) -> None:
    (tmp_path / "false").mkdir()
    federation = world.federation()
    look(federation)
    with authority(tmp_path / "false", TD) as false:
        forged = svid_of(false, WEB)
    with pytest.raises(Exception, match="issued neither"):
        verify_x509_svid(forged.chain, [world.office.signing.now().bundle, *federation.bundles().values()], at=now())


def test_a_rotation_over_there_is_followed_and_told(world: World, tmp_path: Path) -> None:
    federation = world.federation()
    count = world.office.changes.count
    assert look(federation) is None
    assert world.office.changes.count == count  # it is what it was set up with
    world.rotate()
    world.publish()
    assert look(federation) is None
    assert len(federation.bundles()[OTHER].x509_authorities) == 2
    assert world.office.changes.count == count + 1
    world.activate()
    world.publish()
    world.show(tmp_path, SpiffeId(OTHER, "/bundle-endpoint"))
    assert look(federation) is None
    assert federation.bundles() == {OTHER: world.published}


def test_what_was_fetched_is_there_after_a_restart(world: World) -> None:
    first = world.published
    assert look(world.federation()) is None
    world.rotate()
    world.publish()
    assert look(world.federation(HttpsSpiffe(ENDPOINT, first))) is None
    world.server.replies.clear()
    again = world.federation(HttpsSpiffe(ENDPOINT, first))
    assert again.bundles() == {OTHER: world.published}


def test_https_web_is_by_the_name_of_the_host(world: World, tmp_path: Path) -> None:
    tls, trusted = server_files(tmp_path, "localhost")
    with key_server(tls) as server:
        world.server = server
        world.publish()
        federation = world.federation(HttpsWeb(trusted), host="localhost")
        assert federation.bundles() == {}
        assert look(federation) is None
        assert federation.bundles() == {OTHER: world.published}
        by_address = world.federation(HttpsWeb(trusted))
        assert "certificate verify failed" in (look(by_address) or "")
        assert "certificate verify failed" in (look(world.federation(HttpsWeb(), host="localhost")) or "")
        # A certificate of the web is no SVID.
        spiffe = world.federation(host="localhost")
        assert "certificate verify failed" in (look(spiffe) or "")


# What leaves it as it was


def test_a_server_with_another_svid_is_not_the_endpoint(world: World, tmp_path: Path) -> None:
    world.rotate()
    world.publish()
    federation = world.federation(HttpsSpiffe(ENDPOINT, replace(world.published, sequence=1)))
    world.show(tmp_path, SpiffeId(OTHER, "/intruder"))
    assert "not `spiffe://other.example/bundle-endpoint`" in (look(federation) or "")
    assert federation.bundles()[OTHER].sequence == 1


def test_an_endpoint_of_another_authority_of_the_same_name_is_not_believed(world: World, tmp_path: Path) -> None:
    (tmp_path / "false").mkdir()
    federation = world.federation()
    with authority(tmp_path / "false", OTHER) as false:
        show(world.context, svid_of(false, ENDPOINT), tmp_path)
        world.publish(false.office.signing.now().bundle)
        assert "certificate verify failed" in (look(federation) or "")
        assert federation.bundles() == {OTHER: world.published}


def test_a_bundle_that_goes_back_is_refused_and_said(world: World) -> None:
    first = world.published
    world.rotate()
    world.publish()
    federation = world.federation(HttpsSpiffe(ENDPOINT, first))
    assert look(federation) is None
    world.publish(first)
    assert f"from {world.published.sequence} to {first.sequence}" in (look(federation) or "")
    assert federation.bundles() == {OTHER: world.published}
    event = world.office.store.audit.list().rows[-1].event
    assert (event.outcome, event.subject) == (Outcome.REFUSED, "other.example")


def test_a_trust_domain_that_starts_anew_is_set_up_again_by_a_newer_first_bundle(world: World, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    assert look(world.federation()) is None
    with authority(tmp_path / "new", OTHER) as new:
        show(world.context, svid_of(new, ENDPOINT), tmp_path)
        newer = replace(new.office.signing.now().bundle, sequence=100)
        world.publish(newer)
        federation = world.federation(HttpsSpiffe(ENDPOINT, newer))
        assert look(federation) is None
        assert federation.bundles() == {OTHER: newer}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=404), "status 404"),
        (Reply(status=307, headers={"Location": "/elsewhere"}), "redirects are not followed"),
        (Reply(b""), "no JSON object"),
        (Reply(b'{"keys":{}}'), "no list of `keys`"),
        (Reply(b'{"keys":[],"keys":[]}'), "no JSON object"),
        (Reply(b'{"keys":[],"spiffe_refresh_hint":1e400}'), "no JSON object"),
        (Reply(b'{"keys":[],"spiffe_sequence":9,"spiffe_refresh_hint":99999999999999999999}'), "refresh_hint"),
        (Reply(b" " * (1024 * 1024 + 1)), "more than 1048576 bytes"),
    ],
)
def test_what_is_no_bundle_leaves_the_last_good_one(world: World, reply: Reply, reason: str) -> None:
    federation = world.federation()
    assert look(federation) is None
    world.server.replies["/bundle"] = reply
    assert reason in (look(federation) or "")
    assert federation.bundles() == {OTHER: world.published}
    world.publish()
    assert look(federation) is None


def test_a_trust_domain_that_takes_back_all_keys_is_believed(world: World) -> None:
    federation = world.federation()
    empty = Bundle(OTHER, (), (), 100)
    world.publish(empty)
    assert look(federation) is None
    assert federation.bundles() == {OTHER: empty}
    assert "no root" in (look(federation) or "")


# Pace


@pytest.mark.parametrize(
    ("hint", "pause"), [(None, 300), (0, 60), (59, 60), (61, 61), (3600, 3600), (3601, 3600), (10**9, 3600)]
)
def test_the_pace_is_what_the_bundle_says_within_bounds(hint: int | None, pause: int) -> None:
    document = json.dumps({"keys": []} if hint is None else {"keys": [], "spiffe_refresh_hint": hint})
    assert pause_after(parse_bundle(document.encode(), OTHER)) == timedelta(seconds=pause)
    assert pause_after(None) == timedelta(seconds=300)


def test_it_looks_until_it_is_stopped(world: World) -> None:
    federation = world.federation()

    async def main() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(federation.run(stop))
        world.rotate()
        async with asyncio.timeout(20):
            while not world.server.asked:  # noqa: ASYNC110  # it happens in a thread
                await asyncio.sleep(0.01)
            stop.set()
            await running

    asyncio.run(main())


def test_what_a_verb_forgets_a_running_server_forgets_and_looks_at_again(world: World, tmp_path: Path) -> None:
    tls, trusted = server_files(tmp_path, "localhost")
    with key_server(tls) as server:
        world.server = server
        newest = replace(world.published, sequence=100)
        world.publish(newest)
        federation = world.federation(HttpsWeb(trusted), host="localhost")
        kept = world.office.store.federation

        async def until(bundle: Bundle) -> None:
            async with asyncio.timeout(20):
                while federation.bundles().get(OTHER) != bundle:  # noqa: ASYNC110  # it happens beside
                    await asyncio.sleep(0.01)

        async def main() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(federation.run(stop))
            await until(newest)
            # It was set up anew, and counts from the beginning.
            anew = replace(world.published, sequence=1)
            world.publish(anew)
            count = world.office.changes.count
            await kept.forget(OTHER, by=BY, at=now())
            await until(anew)
            assert world.office.changes.count > count
            stop.set()
            await running

        asyncio.run(main())


# What is said of it


@pytest.mark.parametrize(
    ("url", "endpoint", "bootstrap"),
    [
        ("http://other.example/bundle", ENDPOINT, OTHER),
        ("https://user:x@other.example/bundle", ENDPOINT, OTHER),
        ("", ENDPOINT, OTHER),
        ("https://other.example/bundle", WEB, OTHER),
        ("https://other.example/bundle", OTHER.id, OTHER),
        ("https://other.example/bundle", ENDPOINT, TD),
    ],
)
def test_a_trust_domain_is_said_in_full_or_refused(url: str, endpoint: SpiffeId, bootstrap: TrustDomain) -> None:
    with pytest.raises(ForeignError):
        Foreign(OTHER, url, HttpsSpiffe(endpoint, Bundle(bootstrap, ())))


def test_one_federates_with_each_once_and_never_with_oneself(world: World) -> None:
    kept, changes = world.office.store.federation, world.office.changes
    there = Foreign(OTHER, "https://other.example/bundle", HttpsWeb())
    for foreign in ([there, there], [replace(there, trust_domain=TD)]):
        with pytest.raises(ForeignError):
            Federation(foreign, kept, changes, own=TD, clock=world.ours.clock)


def test_a_first_bundle_is_read_from_a_file_that_has_a_root(world: World, tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_bytes(to_document(world.published))
    assert read_bootstrap(path, OTHER) == world.published
    for document in (b"", b"{}", b'{"keys":[]}'):
        path.write_bytes(document)
        with pytest.raises(ForeignError):
            read_bootstrap(path, OTHER)
    with pytest.raises(ForeignError, match="No such file"):
        read_bootstrap(tmp_path / "nothing", OTHER)
