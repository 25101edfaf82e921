"""Where the keys of a cluster come from, and what happens when they do not come."""

import asyncio
import json
import os
import shutil
import ssl
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ca.attestation import Cluster, DiscoveredKeys, KeysFile, KubernetesAttestor
from ca.attestation.kubernetes_keys import InvalidKeysError, Pace, TokenKeys, read_jwks
from ca.errors import AttestationError, NotReadyError
from ca.fetching import Fetcher, FetchError, TrustedFile, trusting
from tests.unit.authn.key_server import KeyServer, Passing, Reply, key_server, until
from tests.unit.ca.clusters import TestCluster, jwks
from tests.unit.ca.offices import AT, TD, WEB
from tests.unit.ca.tls import server_files

PACE = Pace(every=timedelta(seconds=300), early=timedelta(seconds=10), kept=timedelta(seconds=3600))
DISCOVERY = "/.well-known/openid-configuration"


async def kids(keys: TokenKeys) -> list[str]:
    return [key.key_id for key in await keys.current()]


# Sets


def test_a_set_is_its_keys_that_may_sign_tokens() -> None:
    document = json.loads(jwks("a", "b"))
    document["keys"] += [{"kty": "OKP", "crv": "Ed25519", "kid": "c"}, {"kty": "RSA", "use": "enc", "kid": "d"}]
    document["keys"] += [{name: value for name, value in document["keys"][0].items() if name != "kid"}]
    assert [key.key_id for key in read_jwks(json.dumps(document).encode())] == ["a", "b"]


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":["x"]}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[{"kty":"RSA","kid":"a"}]}',
        b'{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}',
        b'{"keys":[{"kty":"oct","kid":"a","k":"AQAB"}]}',
        jwks(*["a"] * 2),
        jwks(*["a"] * 65),
    ],
)
def test_what_has_no_key_or_one_that_cannot_be_is_no_set(document: bytes) -> None:
    with pytest.raises(InvalidKeysError):
        read_jwks(document)


# Files


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    async def main() -> None:
        path, time = tmp_path / "jwks", Passing()
        path.write_bytes(jwks("a"))
        keys = KeysFile(path, clock=time.clock)
        assert await kids(keys) == ["a"]
        assert await keys.current() is await keys.current()
        for name in ("b", "c"):
            (tmp_path / "next").write_bytes(jwks(name))
            (tmp_path / "next").rename(path)
            time.now += 1
            assert await kids(keys) == [name]
        (tmp_path / "next").write_bytes(jwks("d"))
        (tmp_path / "next").rename(path)
        assert await kids(keys) == ["c"]
        assert [key.key_id for key in await keys.renewed()] == ["d"]

    asyncio.run(main())


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"{"), lambda path: path.unlink()])
def test_a_file_that_is_damaged_leaves_the_last_good_set_for_a_time(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    async def main() -> None:
        path, time = tmp_path / "jwks", Passing()
        path.write_bytes(jwks("a"))
        keys = KeysFile(path, pace=PACE, clock=time.clock)
        assert await kids(keys) == ["a"]
        time.now += 3000
        assert await kids(keys) == ["a"]  # what was looked at and is the same is as good as new
        damage(path)
        time.now += 3599
        assert await kids(keys) == ["a"]
        time.now += 1
        with pytest.raises(NotReadyError):
            await keys.current()
        path.write_bytes(jwks("a"))
        assert await kids(keys) == ["a"]

    asyncio.run(main())


def test_a_file_that_was_never_there_gives_no_keys(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError) as caught:
        asyncio.run(KeysFile(tmp_path / "jwks").current())
    assert str(tmp_path) not in str(caught.value)


def test_a_file_that_is_too_large_gives_no_keys(tmp_path: Path) -> None:
    (tmp_path / "jwks").write_bytes(jwks("a") + b" " * 1024 * 1024)
    with pytest.raises(NotReadyError):
        asyncio.run(KeysFile(tmp_path / "jwks").current())


def test_a_change_that_keeps_time_and_size_but_not_the_file_is_seen(tmp_path: Path) -> None:
    async def main() -> None:
        path, other, time = tmp_path / "jwks", tmp_path / "other", Passing()
        path.write_bytes(jwks("a"))
        keys = KeysFile(path, clock=time.clock)
        assert await kids(keys) == ["a"]
        other.write_bytes(jwks("b"))
        os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
        other.rename(path)
        time.now += 1
        assert await kids(keys) == ["b"]

    asyncio.run(main())


# Discovery


class World:
    """An issuer, and the keys that are discovered there."""

    def __init__(self, server: KeyServer, tls: ssl.SSLContext) -> None:
        self.server = server
        self.time = Passing()
        self.issuer = server.url("", host="localhost")
        self.keys = DiscoveredKeys(self.issuer, Fetcher(tls, within=5), pace=PACE, clock=self.time.clock)
        self.publish("a")

    def publish(self, *names: str, **said: object) -> None:
        """Let the issuer have those keys."""
        document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/openid/v1/jwks", **said}
        self.server.replies[DISCOVERY] = Reply(json.dumps(document).encode())
        self.server.replies["/openid/v1/jwks"] = Reply(jwks(*names))

    @property
    def looks(self) -> int:
        """How often keys were looked for."""
        return sum(asked.path == DISCOVERY for asked in self.server.asked)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    tls, authority = server_files(tmp_path, "localhost")
    with key_server(tls) as server:
        yield World(server, trusting(authority))


def run(scenario: Awaitable[None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario

    asyncio.run(main())


async def settled(world: World) -> None:
    """Wait for a look that nobody waits for."""
    await until(lambda: world.keys._looking is None)


def test_keys_are_where_the_issuer_says_and_looked_for_once(world: World) -> None:
    async def main() -> None:
        found = await asyncio.gather(*(kids(world.keys) for _ in range(20)))
        assert found == [["a"]] * 20
        assert world.looks == 1
        assert {asked.headers["accept-encoding"] for asked in world.server.asked} == {"identity"}

    run(main())


def test_keys_are_looked_for_at_their_interval_while_nobody_waits(world: World) -> None:
    async def main() -> None:
        assert await kids(world.keys) == ["a"]
        world.publish("b")
        world.time.now += 299
        assert await kids(world.keys) == ["a"]
        await settled(world)
        assert world.looks == 1
        world.time.now += 1
        world.server.held.clear()
        assert await kids(world.keys) == ["a"]
        world.server.held.set()
        await settled(world)
        assert await kids(world.keys) == ["b"]

    run(main())


def test_keys_that_cannot_be_had_leave_the_last_good_ones_for_a_time_and_then_none(world: World) -> None:
    async def main() -> None:
        assert await kids(world.keys) == ["a"]
        world.server.replies.clear()
        for _ in range(11):
            world.time.now += 300
            assert await kids(world.keys) == ["a"]
            await settled(world)
        world.time.now += 300
        with pytest.raises(NotReadyError):
            await world.keys.current()
        looks = world.looks
        # Not at each request, or whoever asks makes us ask.
        with pytest.raises(NotReadyError):
            await world.keys.current()
        assert world.looks == looks
        world.publish("b")
        world.time.now += 10
        assert await kids(world.keys) == ["b"]

    run(main())


def test_a_key_that_is_not_known_is_looked_for_early_and_not_too_often(world: World) -> None:
    async def main() -> None:
        cluster = TestCluster(issuer=world.issuer)
        known = Cluster(tokens=cluster.tokens, keys=world.keys, named_in=TD)
        attestor = KubernetesAttestor([known], default="east")
        world.publish("old")
        assert (await attestor.attest(cluster.token(at=AT, key="old", kid="old"), at=AT)).spiffe_id == WEB
        world.publish("new")
        new = cluster.token(at=AT, key="new", kid="new")
        with pytest.raises(AttestationError):
            await attestor.attest(new, at=AT)
        assert world.looks == 1
        world.time.now += 10
        assert (await attestor.attest(new, at=AT)).spiffe_id == WEB
        for number in range(50):
            with pytest.raises(AttestationError):
                await attestor.attest(cluster.token(at=AT, kid=f"guess-{number}"), at=AT)
        assert world.looks == 2
        # What is wrong otherwise makes nobody look.
        world.time.now += 10
        with pytest.raises(AttestationError):
            await attestor.attest(cluster.token(at=AT, kid="guess", aud=["x"]), at=AT)
        assert world.looks == 2

    run(main())


@pytest.mark.parametrize(
    "replies",
    [
        {DISCOVERY: Reply(status=302, headers={"Location": "/openid"})},
        {DISCOVERY: Reply(status=500)},
        {DISCOVERY: Reply(b"")},
        {DISCOVERY: Reply(b'{"issuer":"https://evil.example","jwks_uri":"https://localhost/keys"}')},
        {DISCOVERY: Reply(b'{"jwks_uri":"https://localhost/keys"}')},
        {DISCOVERY: Reply(b" " * (1024 * 1024 + 1))},
        {DISCOVERY: Reply(b"{}", headers={"Content-Encoding": "gzip"})},
        {"/openid/v1/jwks": Reply(status=301, headers={"Location": DISCOVERY})},
        {"/openid/v1/jwks": Reply(b'{"keys":[]}')},
        {"/openid/v1/jwks": Reply(b" " * (1024 * 1024 + 1))},
    ],
)
def test_what_an_issuer_answers_wrongly_gives_no_keys(world: World, replies: dict[str, Reply]) -> None:
    world.server.replies.update(replies)
    with pytest.raises(NotReadyError):
        asyncio.run(world.keys.current())


@pytest.mark.parametrize(
    "where",
    [
        None,
        7,
        "",
        "http://localhost/keys",
        "file:///etc/passwd",
        "https://169.254.169.254/keys",
        "https://[::ffff:169.254.169.254]/keys",
        "https://0.0.0.0/keys",
        "https://user:secret@localhost/keys",
        "https://nowhere.invalid/keys",
    ],
)
def test_keys_are_fetched_from_no_place_that_they_should_not_be(world: World, where: object) -> None:
    world.publish("a", jwks_uri=where)
    with pytest.raises(NotReadyError):
        asyncio.run(world.keys.current())


def test_an_issuer_with_a_certificate_that_is_not_trusted_gives_no_keys(world: World) -> None:
    keys = DiscoveredKeys(world.issuer, Fetcher(trusting(None)))
    with pytest.raises(NotReadyError):
        asyncio.run(keys.current())
    assert world.server.asked == []


def test_authorities_in_a_file_are_followed_and_the_last_good_ones_stay(world: World, tmp_path: Path) -> None:
    path, good = tmp_path / "followed.pem", tmp_path / "localhost-authority.pem"
    (tmp_path / "other").mkdir()
    _, other = server_files(tmp_path / "other", "localhost")
    shutil.copy(other, path)
    fetcher = Fetcher(TrustedFile(path), within=5)
    url = world.server.url(DISCOVERY, host="localhost")
    with pytest.raises(FetchError, match="certificate verify failed"):
        asyncio.run(fetcher.fetch(url))
    for content in (good.read_text(), "nothing", None):
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        assert asyncio.run(fetcher.fetch(url))
    shutil.copy(other, path)
    with pytest.raises(FetchError, match="certificate verify failed"):
        asyncio.run(fetcher.fetch(url))


def test_an_issuer_with_another_name_than_its_certificate_gives_no_keys(world: World, tmp_path: Path) -> None:
    issuer = world.server.url("", host="127.0.0.1")
    keys = DiscoveredKeys(issuer, Fetcher(trusting(tmp_path / "localhost-authority.pem")))
    with pytest.raises(NotReadyError):
        asyncio.run(keys.current())


def test_an_issuer_that_does_not_answer_is_not_waited_for_longer_than_said(tmp_path: Path, world: World) -> None:
    keys = DiscoveredKeys(world.issuer, Fetcher(trusting(tmp_path / "localhost-authority.pem"), within=0.3))
    world.server.held.clear()
    with pytest.raises(NotReadyError):
        asyncio.run(keys.current())


def test_who_gives_up_waiting_takes_nothing_from_the_others(world: World) -> None:
    async def main() -> None:
        world.server.held.clear()
        first, second = asyncio.create_task(kids(world.keys)), asyncio.create_task(kids(world.keys))
        await until(lambda: bool(world.server.asked))
        first.cancel()
        world.server.held.set()
        assert await second == ["a"]

    run(main())


def test_a_look_that_is_under_way_can_be_given_up(world: World) -> None:
    async def main() -> None:
        world.server.held.clear()
        waiting = asyncio.create_task(kids(world.keys))
        await until(lambda: bool(world.server.asked))
        await world.keys.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        world.server.held.set()

    run(main())


@pytest.mark.parametrize(
    "issuer", ["http://localhost", "kubernetes.default.svc", "https://", "https://a:0", "https://\0"]
)
def test_an_issuer_is_an_https_address(issuer: str) -> None:
    with pytest.raises(FetchError):
        DiscoveredKeys(issuer, Fetcher(ssl.create_default_context()))


# Clusters


def test_clusters_have_names_of_their_own(tmp_path: Path) -> None:
    east = TestCluster().known(tmp_path)
    with pytest.raises(ValueError, match="one name"):
        KubernetesAttestor([east, east])
    with pytest.raises(ValueError, match="'west'"):
        KubernetesAttestor([east], default="west")


def test_without_a_default_a_token_needs_its_cluster(tmp_path: Path) -> None:
    attestor = KubernetesAttestor([TestCluster().known(tmp_path)])
    token = TestCluster().token(at=AT)
    assert asyncio.run(attestor.attest(token, cluster="east", at=AT)).spiffe_id is None
    for cluster in (None, "", "west"):
        with pytest.raises(AttestationError):
            asyncio.run(attestor.attest(token, cluster=cluster, at=AT))
