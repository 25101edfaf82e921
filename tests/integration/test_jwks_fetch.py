"""Keys fetched from a real server over real sockets; only the time is a test's own."""

import asyncio
import gzip
import json
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest

from authn import JwkSet, JwtStatus, KeysUnavailableError, UnauthenticatedError, authenticate
from authn.egress import Egress
from authn.jwk import MAX_JWK_SET
from authn.jwks_cache import MAX_AGE, MIN_REFRESH, REFRESH, JwksCache
from authn.jwks_fetch import Document, Fetcher, tls_context
from authz.attributes import Attributes
from authz.request_authentication import JwtRule
from tests.unit.authn.key_server import (
    LOOPBACK,
    KeyServer,
    Passing,
    Reply,
    certificates,
    key_server,
    until,
)
from tests.unit.authn.tokens import jwk, key_set, private_key, token

KEY = private_key("P-256", "fetched")
NEW = private_key("P-256", "new")
SET = key_set(jwk(KEY, kid="a"))
ROTATED = key_set(jwk(NEW, kid="b"))

TRUST = tls_context()
"""What is trusted where a test says nothing else; reading it takes longer than a test."""

Scenario = Callable[[JwksCache, Passing], Awaitable[None]]
Address = IPv4Address | IPv6Address


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as running:
        running.replies["/keys"] = Reply.text(SET)
        yield running


def rule(server: KeyServer, path: str = "/keys", *, host: str = "127.0.0.1", timeout: float = 5.0) -> JwtRule:
    return JwtRule(issuer="i", jwks_uri=server.url(path, host=host), timeout=timeout)


def run(
    scenario: Scenario,
    *,
    egress: Egress = LOOPBACK,
    tls: ssl.SSLContext | None = None,
    names: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Run a scenario with a cache of its own; hosts are those of `names`, or addresses as they stand."""

    async def resolve(host: str, port: int) -> Sequence[Address]:
        del port
        if names is not None and host in names:
            return [ip_address(each) for each in names[host]]
        try:
            return [ip_address(host)]
        except ValueError as error:
            raise OSError(f"{host} is unknown") from error

    async def main() -> None:
        passing = Passing()
        async with (
            asyncio.timeout(20),
            JwksCache(egress, tls=tls or TRUST, resolve=resolve, clock=passing.clock, sleep=passing.sleep) as cache,
        ):
            await scenario(cache, passing)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def kids(keys: JwkSet) -> list[str]:
    return [key.key_id for key in keys.keys]


def failure(server_rule: JwtRule, **settings: object) -> str:
    """Why there are no keys."""
    reasons = []

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        with pytest.raises(KeysUnavailableError) as caught:
            await cache.get(server_rule)
        reasons.append(caught.value.reason)

    run(scenario, **settings)  # type: ignore[arg-type]  # handed on as they came
    return reasons[0]


# What works.


def test_keys_are_fetched_and_tokens_verified_by_them(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        good = token(KEY, {"iss": "i", "sub": "s"}, alg="ES256", kid="a")
        attributes = Attributes(path="/", headers={"authorization": (f"Bearer {good}",)})
        await cache.ready([rule(server)])
        result = authenticate((rule(server),), attributes, key_sets=cache.key_set, at=0)
        assert result.claims == {"iss": "i", "sub": "s"}

    run(scenario)
    (asked,) = server.asked
    assert asked.path == "/keys"
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert asked.headers["accept-encoding"] == "identity"


def test_keys_that_a_rule_brings_along_are_not_fetched(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        inline = replace(rule(server), jwks=ROTATED)
        cache.prefetch([inline])
        assert kids(await cache.get(inline)) == kids(cache.key_set(inline)) == ["b"]

    run(scenario)
    assert server.asked == []


def test_keys_at_hand_are_given_without_a_pause(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        await cache.get(rule(server))
        with pytest.raises(StopIteration) as ended:
            cache.get(rule(server)).send(None)
        assert kids(ended.value.value) == ["a"]

    run(scenario)


def test_fifty_who_ask_at_once_and_rules_that_share_a_source_cost_one_fetch(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        server.held.clear()
        asking = [asyncio.create_task(cache.get(replace(rule(server), issuer=f"i{n}"))) for n in range(50)]
        await until(lambda: bool(server.asked))
        server.held.set()
        assert all(kids(keys) == ["a"] for keys in await asyncio.gather(*asking))

    run(scenario)
    assert len(server.asked) == 1


def test_what_is_prefetched_is_fetched_before_anybody_asks_and_what_is_not_any_more_is_dropped(
    server: KeyServer,
) -> None:
    other = rule(server, "/other")
    server.replies["/other"] = Reply.text(ROTATED)

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        with pytest.raises(KeysUnavailableError, match="have not been asked for"):
            cache.key_set(rule(server))
        cache.prefetch([rule(server), rule(server)])
        await until(lambda: len(passing.pauses) == 1)
        assert kids(cache.key_set(rule(server))) == ["a"]
        cache.prefetch([other])
        await cache.ready([other])
        with pytest.raises(KeysUnavailableError, match="have not been asked for"):
            cache.key_set(rule(server))
        await passing.pass_by(REFRESH)
        await until(lambda: len(server.asked) == 3)

    run(scenario)
    assert [asked.path for asked in server.asked] == ["/keys", "/other", "/other"]


# Time.


def test_keys_are_fetched_again_and_rotated_ones_replace_the_old(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        assert kids(await cache.get(rule(server))) == ["a"]
        server.replies["/keys"] = Reply.text(ROTATED)
        await passing.pass_by(REFRESH - 1)
        await asyncio.sleep(0.02)
        assert kids(cache.key_set(rule(server))) == ["a"]
        await passing.pass_by(1)
        await until(lambda: kids(cache.key_set(rule(server))) == ["b"])

    run(scenario)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("control", "pause"),
    [
        ("", REFRESH),
        ("public", REFRESH),
        ("public, max-age=300", 300),
        ("max-age=86400", REFRESH),
        ("max-age=5", MIN_REFRESH),
        ("no-store", MIN_REFRESH),
        ("max-age=x", REFRESH),
        ("s-maxage=61", REFRESH),
    ],
)
def test_how_long_the_origin_allows_is_heeded_within_bounds(server: KeyServer, control: str, pause: float) -> None:
    server.replies["/keys"] = Reply.text(SET, cache_control=control)

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        await cache.get(rule(server))
        await until(lambda: bool(passing.pauses))
        assert passing.pauses == [pause]

    run(scenario)


def test_after_failures_it_is_tried_again_less_and_less_often_and_then_at_the_usual_pace(server: KeyServer) -> None:
    del server.replies["/keys"]

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        with pytest.raises(KeysUnavailableError):
            await cache.get(rule(server))
        for tries in range(1, 9):
            await until(lambda: len(passing.pauses) == tries)  # noqa: B023  # awaited in the same turn
            await passing.pass_by(passing.pauses[-1])
        await until(lambda: len(server.asked) == 9)
        server.replies["/keys"] = Reply.text(SET)
        await until(lambda: len(passing.pauses) == 9)
        await passing.pass_by(passing.pauses[-1])
        await until(lambda: len(passing.pauses) == 10)
        assert kids(cache.key_set(rule(server))) == ["a"]
        least = [1, 2, 4, 8, 16, 32, 60, 60, 60]
        for pause, at_least in zip(passing.pauses[:9], least, strict=True):
            assert at_least <= pause <= min(at_least + 1, 60)
        assert passing.pauses[9] == REFRESH

    run(scenario)


def test_the_last_good_keys_hold_for_a_day_and_not_longer(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        await cache.get(rule(server))
        fetched = passing.now
        del server.replies["/keys"]
        await passing.pass_by(REFRESH)
        await until(lambda: len(passing.pauses) == 2)
        assert kids(cache.key_set(rule(server))) == ["a"]
        passing.now = fetched + MAX_AGE
        assert kids(await cache.get(rule(server))) == ["a"]
        passing.now += 1
        with pytest.raises(KeysUnavailableError) as caught:
            cache.key_set(rule(server))
        assert caught.value.reason.endswith("/keys`: fetched 24 hours ago, and since then: status 404")
        server.replies["/keys"] = Reply.text(ROTATED)
        await passing.pass_by(60)
        await until(lambda: len(passing.pauses) == 3)
        assert kids(cache.key_set(rule(server))) == ["b"]

    run(scenario)


# What is refused.


def test_without_keys_a_token_is_refused_and_a_request_without_one_is_not(server: KeyServer) -> None:
    del server.replies["/keys"]

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        rules = (rule(server),)
        await cache.ready(rules)
        good = token(KEY, {"iss": "i"}, alg="ES256", kid="a")
        attributes = Attributes(path="/", headers={"authorization": (f"Bearer {good}",)})
        with pytest.raises(UnauthenticatedError) as caught:
            authenticate(rules, attributes, key_sets=cache.key_set, at=0)
        assert caught.value.status is JwtStatus.KEYS_UNAVAILABLE
        assert caught.value.reason.endswith(f"`http://127.0.0.1:{server.port}/keys`: status 404")
        assert authenticate(rules, Attributes(path="/"), key_sets=cache.key_set, at=0).claims is None

    run(scenario)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=404), "status 404"),
        (Reply(status=500), "status 500"),
        (Reply(status=204), "status 204"),
        (Reply(SET.encode(), status=203), "status 203"),
        (Reply.text("nonsense"), "no JWK Set: it is no JSON object that can be read"),
        (Reply.text(""), "no JWK Set: it is no JSON object that can be read"),
        (Reply.text("{}"), "no JWK Set: there is no list of `keys`"),
        (Reply.text('{"keys": []}'), "no JWK Set: no key can be used: there is none"),
        (Reply.text(SET, content_encoding="br"), "the answer is encoded as `br`, which was not asked for"),
        (Reply.text(SET, content_length="100000"), "the answer cannot be read: `peer closed connection"),
        (Reply.text(SET, transfer_encoding="chunked", content_length="x"), "the answer cannot be read"),
    ],
)
def test_an_answer_that_is_no_key_set_is_none(server: KeyServer, reply: Reply, reason: str) -> None:
    server.replies["/keys"] = replace(reply, headers={**reply.headers, "Connection": "close"})
    assert f"`http://127.0.0.1:{server.port}/keys`: {reason}" in failure(rule(server))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: KeyServer, status: int) -> None:
    server.replies["/moved"] = Reply(status=status, headers={"Location": server.url("/keys")})
    assert failure(rule(server, "/moved")).endswith(f": status {status}: redirects are not followed")
    assert [asked.path for asked in server.asked] == ["/moved"]


def test_an_answer_without_an_end_is_read_as_far_as_allowed(server: KeyServer) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 65536

    server.replies["/keys"] = Reply(pieces=pieces)
    assert failure(rule(server)).endswith(f": more than {MAX_JWK_SET} bytes")
    assert server.sent < 32 * MAX_JWK_SET  # what buffers hold, not all that it would have sent


def test_an_answer_that_says_how_long_it_is_is_not_believed(server: KeyServer) -> None:
    padding = " " * (MAX_JWK_SET - len(SET))
    server.replies["/keys"] = Reply.text(SET + padding)

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        assert kids(await cache.get(rule(server))) == ["a"]

    run(scenario)
    server.replies["/keys"] = Reply.text(SET + padding + " ")
    assert failure(rule(server)).endswith(f": more than {MAX_JWK_SET} bytes")


def test_an_answer_that_drips_is_not_waited_for(server: KeyServer) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" "
            time.sleep(0.02)

    server.replies["/keys"] = Reply(pieces=pieces)
    started = time.monotonic()
    assert failure(rule(server, timeout=0.1)).endswith(": no answer within 0.1 s")
    assert time.monotonic() - started < 1.5


def test_a_server_that_says_nothing_is_not_waited_for(server: KeyServer) -> None:
    server.held.clear()
    assert failure(rule(server, timeout=0.1)).endswith(": no answer within 0.1 s")


def test_a_compressed_answer_is_not_unpacked(server: KeyServer) -> None:
    bomb = gzip.compress(b" " * (64 * MAX_JWK_SET))
    server.replies["/keys"] = Reply(bomb, headers={"Content-Encoding": "gzip"})
    assert failure(rule(server)).endswith(": the answer is encoded as `gzip`, which was not asked for")


def test_nobody_there_is_said(server: KeyServer) -> None:
    nowhere = JwtRule(issuer="i", jwks_uri="http://127.0.0.1:1/keys")
    assert failure(nowhere).startswith("`http://127.0.0.1:1/keys`: it cannot be connected to")
    assert server.asked == []


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("ftp://127.0.0.1/keys", "the scheme is `ftp`, neither http nor https"),
        ("file:///etc/passwd", "the scheme is `file`, neither http nor https"),
        ("//127.0.0.1/keys", "the scheme is ``, neither http nor https"),
        ("http:///keys", "the address names no host"),
        ("http://127.0.0.1:99999/keys", "99999 is no port"),
        ("http://127.0.0.1:0/keys", "0 is no port"),
        ("http://[::1/keys", "the address cannot be read"),
        ("http://a\nb/keys", "the address cannot be read"),
        ("http://keys.unknown/", "no address of `keys.unknown` is known: keys.unknown is unknown"),
    ],
)
def test_an_address_that_is_none_is_refused(uri: str, reason: str) -> None:
    assert failure(JwtRule(issuer="i", jwks_uri=uri)).endswith(f": {reason}")


# Who is talked to.


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "10.0.0.1", "192.168.1.1", "172.31.0.1", "100.64.0.1", "::1", "fd00::1", "0.0.0.0"],  # noqa: S104  # not to bind
)
def test_an_address_that_is_not_public_is_not_connected_to_unless_it_is_allowed(
    server: KeyServer, address: str
) -> None:
    reason = failure(rule(server, host="keys.example"), egress=Egress(), names={"keys.example": [address]})
    assert f"no address of `keys.example` may be connected to: {address} is " in reason
    assert server.asked == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"])
def test_a_link_local_address_is_not_connected_to_whatever_is_allowed(server: KeyServer, address: str) -> None:
    everything = Egress((ip_network("0.0.0.0/0"), ip_network("::/0")))
    reason = failure(rule(server, host="keys.example"), egress=everything, names={"keys.example": [address]})
    assert reason.endswith(f"may be connected to: {ip_address(address)} is link local, which nothing allows")


def test_an_ipv4_address_in_ipv6_clothes_is_still_that_address(server: KeyServer) -> None:
    names = {"keys.example": ["::ffff:127.0.0.1"]}
    reason = failure(rule(server, host="keys.example"), egress=Egress(), names=names)
    assert "::ffff:7f00:1 is loopback" in reason
    assert server.asked == []


def test_of_several_addresses_only_those_that_are_allowed_are_tried(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        assert kids(await cache.get(rule(server, host="keys.example"))) == ["a"]

    run(scenario, names={"keys.example": ["169.254.169.254", "10.0.0.1", "127.0.0.1"]})


def test_where_one_address_does_not_answer_the_next_is_tried(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        assert kids(await cache.get(rule(server, host="keys.example"))) == ["a"]

    # The server is bound to one address of the loopback network.
    run(scenario, names={"keys.example": ["127.0.0.2", "127.0.0.1"]})
    assert [asked.headers["host"] for asked in server.asked] == [f"keys.example:{server.port}"]


def test_where_one_address_takes_too_long_the_next_is_tried(tmp_path: Path) -> None:
    shows, trust = certificates(tmp_path, "keys.example")

    async def resolve(host: str, port: int) -> Sequence[Address]:
        del host, port
        return [ip_address("127.0.0.2"), ip_address("127.0.0.1")]

    with key_server(shows) as server, socket.create_server(("127.0.0.2", server.port)) as silent:
        server.replies["/keys"] = Reply.text(SET)
        fetcher = Fetcher(LOOPBACK, tls=trust, resolve=resolve, connect=0.1)
        document = asyncio.run(fetcher.fetch(server.url("/keys", host="keys.example")))
        assert document == Document(SET.encode(), None)
        silent.accept()[0].close()  # or it would wait for ever: this one was tried


def test_a_name_is_looked_up_once_and_what_it_means_later_plays_no_role(server: KeyServer) -> None:
    """DNS rebinding: an address that passes the check, and another one when it comes to connecting."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    asked = []

    class Names(dict[str, Sequence[str]]):
        def __contains__(self, host: object) -> bool:
            return host == "rebound.example"

        def __getitem__(self, host: str) -> Sequence[str]:
            asked.append(host)
            return answers.pop(0)

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        assert kids(await cache.get(rule(server, host="rebound.example"))) == ["a"]
        assert asked == ["rebound.example"]
        await until(lambda: len(passing.pauses) == 1)
        await passing.pass_by(REFRESH)
        await until(lambda: len(passing.pauses) == 2)
        assert passing.pauses[1] < 60  # it was refused this time, and the old keys hold
        assert kids(cache.key_set(rule(server, host="rebound.example"))) == ["a"]

    run(scenario, names=Names())
    assert len(server.asked) == 1


def test_no_proxy_is_asked(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with key_server() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))

        async def scenario(cache: JwksCache, passing: Passing) -> None:
            del passing
            assert kids(await cache.get(rule(server))) == ["a"]

        run(scenario)
        assert proxy.asked == []


def test_credentials_are_sent_and_never_shown(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    uri = f"http://user:secret@127.0.0.1:{server.port}/keys?key=hidden#part"
    reason = failure(JwtRule(issuer="i", jwks_uri=uri))
    assert reason == f"`http://127.0.0.1:{server.port}/keys`: status 404"
    (asked,) = server.asked
    assert asked.path == "/keys?key=hidden"
    assert asked.headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert "status 404; tried again in" in caplog.text
    # Nor by the libraries that are used, whatever they log.
    assert {"meshward", "httpcore.http11"} <= {record.name for record in caplog.records}
    for told in ("secret", "hidden", "dXNlcjpzZWNyZXQ"):
        assert told not in caplog.text


def test_keys_that_are_left_out_are_logged_once(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    server.replies["/keys"] = Reply.text(key_set(jwk(KEY, kid="a"), {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}))

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        await cache.get(rule(server))
        await until(lambda: len(passing.pauses) == 1)
        await passing.pass_by(REFRESH)
        await until(lambda: len(passing.pauses) == 2)

    with caplog.at_level(logging.WARNING, logger="meshward"):
        run(scenario)
    assert caplog.messages == [f"keys of `http://127.0.0.1:{server.port}/keys`: left out: key 1 (`s`): it is symmetric"]


# TLS.


def test_a_certificate_must_be_of_the_name_and_not_of_the_address_that_is_connected_to(tmp_path: Path) -> None:
    shows, trust = certificates(tmp_path, "keys.example")
    names = {"keys.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
    with key_server(shows) as server:
        server.replies["/keys"] = Reply.text(SET)

        async def scenario(cache: JwksCache, passing: Passing) -> None:
            del passing
            assert kids(await cache.get(rule(server, host="keys.example"))) == ["a"]

        run(scenario, tls=trust, names=names)
        assert "CERTIFICATE_VERIFY_FAILED" in failure(rule(server, host="other.example"), tls=trust, names=names)
        assert "CERTIFICATE_VERIFY_FAILED" in failure(rule(server), tls=trust)
        assert len(server.asked) == 1


def test_a_certificate_by_nobody_that_is_trusted_is_refused(tmp_path: Path) -> None:
    shows, _ = certificates(tmp_path, "keys.example")
    with key_server(shows) as server:
        reason = failure(rule(server, host="keys.example"), names={"keys.example": ["127.0.0.1"]})
        assert "it cannot be connected to" in reason
        assert "CERTIFICATE_VERIFY_FAILED" in reason
        assert server.asked == []


# Discovery.

WELL_KNOWN = "/.well-known/openid-configuration"


def configuration(**members: object) -> Reply:
    return Reply.text(json.dumps(members))


@pytest.mark.parametrize("tail", ["", "/", "/tenant", "/tenant/"])
def test_an_issuer_says_where_its_keys_are(server: KeyServer, tail: str) -> None:
    issuer = server.url(tail)
    place = tail.rstrip("/") + WELL_KNOWN
    server.replies[place] = configuration(issuer=issuer, jwks_uri=server.url("/keys"))

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        assert kids(await cache.get(JwtRule(issuer=issuer))) == ["a"]

    run(scenario)
    assert [asked.path for asked in server.asked] == [place, "/keys"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=404), "status 404"),
        (Reply.text("[]"), "its OpenID configuration is no JSON object that can be read: not an object"),
        (configuration(jwks_uri="x"), "its OpenID configuration is that of nobody"),
        (configuration(issuer=["x"], jwks_uri="x"), "its OpenID configuration is that of nobody"),
        (configuration(issuer="https://evil", jwks_uri="x"), "its OpenID configuration is that of `https://evil`"),
        (Reply(status=302, headers={"Location": "/keys"}), "status 302: redirects are not followed"),
    ],
)
def test_a_configuration_that_is_none_or_anothers_leads_nowhere(server: KeyServer, reply: Reply, reason: str) -> None:
    server.replies[WELL_KNOWN] = reply
    assert failure(JwtRule(issuer=server.url(""))) == f"issuer `{server.url('')}`: {reason}"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (7, "its OpenID configuration has no `jwks_uri`"),
        ("file:///etc/passwd", "the scheme is `file`, neither http nor https"),
        ("http://169.254.169.254/keys", "169.254.169.254 is link local, which nothing allows"),
    ],
)
def test_what_a_configuration_leads_to_is_checked_like_any_other_place(
    server: KeyServer, uri: object, reason: str
) -> None:
    server.replies[WELL_KNOWN] = configuration(issuer=server.url(""), jwks_uri=uri)
    assert failure(JwtRule(issuer=server.url(""))).endswith(reason)


def test_what_came_by_https_does_not_lead_away_from_it(tmp_path: Path) -> None:
    shows, trust = certificates(tmp_path, "idp.example")
    names = {"idp.example": ["127.0.0.1"]}
    with key_server(shows) as server:
        issuer = server.url("", host="idp.example")
        server.replies[WELL_KNOWN] = configuration(issuer=issuer, jwks_uri="http://idp.example/keys?token=hidden")
        reason = failure(JwtRule(issuer=issuer), tls=trust, names=names)
        assert reason.endswith(
            "its OpenID configuration, got by https, has its keys without: `http://idp.example/keys`"
        )


def test_an_issuer_that_is_no_address_is_asked_nothing() -> None:
    reason = failure(JwtRule(issuer="accounts.example"))
    assert reason.endswith("the issuer is no address, so that nobody can be asked where its keys are: give `jwksUri`")


# The end.


def test_closing_ends_what_is_under_way_and_leaves_nobody_waiting(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        server.held.clear()
        waiting = asyncio.create_task(cache.get(rule(server)))
        await until(lambda: bool(server.asked))
        await cache.close()
        with pytest.raises(KeysUnavailableError, match="not fetched any more"):
            await waiting
        with pytest.raises(KeysUnavailableError, match="not fetched any more"):
            await cache.get(rule(server, "/other"))

    run(scenario)


def test_what_is_at_hand_outlasts_closing(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        await cache.get(rule(server))
        await cache.close()
        assert kids(await cache.get(rule(server))) == ["a"]

    run(scenario)


def test_who_waits_for_keys_that_are_dropped_is_told(server: KeyServer) -> None:
    async def scenario(cache: JwksCache, passing: Passing) -> None:
        del passing
        server.held.clear()
        waiting = asyncio.create_task(cache.ready([rule(server)]))
        await until(lambda: bool(server.asked))
        cache.prefetch([])
        await waiting

    run(scenario)


def test_what_nobody_foresaw_is_logged_and_tried_again(server: KeyServer, caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    class Names(dict[str, Sequence[str]]):
        def __contains__(self, host: object) -> bool:
            tries.append(host)
            if len(tries) == 1:
                raise RuntimeError("a bug")
            return False

    async def scenario(cache: JwksCache, passing: Passing) -> None:
        with pytest.raises(KeysUnavailableError, match="internal error"):
            await cache.get(rule(server))
        await until(lambda: len(passing.pauses) == 1)
        await passing.pass_by(2)
        await until(lambda: len(passing.pauses) == 2)
        assert kids(cache.key_set(rule(server))) == ["a"]

    with caplog.at_level(logging.WARNING, logger="meshward"):
        run(scenario, names=Names())
    assert "internal error; tried again in" in caplog.text
    assert "a bug" in caplog.text
