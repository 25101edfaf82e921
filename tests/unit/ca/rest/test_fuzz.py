"""Whatever is sent, the answer is an answer: never a 500, never a word of what is inside."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ca.attestation import Caller, ServiceAccount
from tests.unit.ca.offices import API, WEB, csr
from tests.unit.ca.rest.asking import ADMIN, Edge, bearer, edge, problem

PEM = csr().decode()
WORDS = (
    "csr",
    "spiffe_id",
    "ttl",
    "audience",
    "selectors",
    "jwt_ttl",
    "dns_names",
    "federates_with",
    "admin",
    "hint",
    "reason",
    "kept",
)
POSTS = ("/v1/x509-svid", "/v1/jwt-svid")
ADMIN_POSTS = (
    "/v1/entries",
    "/v1/join-tokens",
    "/v1/audit/verify",
    "/v1/inventory/ff/revoke",
    "/v1/authorities/{}/rotate",
    "/v1/authorities/{}/taint",
)
ADMIN_GETS = (
    "/v1/entries",
    "/v1/inventory",
    "/v1/join-tokens",
    "/v1/audit",
    "/v1/entries/{}",
    "/v1/inventory/{}",
    "/v1/{}",
)
QUERIES = (
    *("size", "after", "spiffe_id", "prefix", "selector", "issuer", "kind", "caller", "state"),
    *("expiring_within", "intended_from", "intended_to", "expires_from", "expires_to"),
)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
    st.sampled_from([PEM, str(WEB), str(API), "spiffe://example.org", "unix:uid:1", "keyCompromise", "1:" + "0" * 64]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=10), values, max_size=6).map(
    lambda each: json.dumps(each).encode()
) | st.binary(max_size=60)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60).map(str.encode) | st.binary(
    max_size=30
).map(lambda each: bytes(byte for byte in each if byte not in b"\r\n\0"))
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"authorization",
                b"idempotency-key",
                b"content-type",
                b"accept",
                b"if-none-match",
                b"host",
                b"content-length",
            ]
        ),
        header_values,
    ),
    max_size=3,
)
query_values = st.one_of(
    st.text(max_size=30),
    st.integers().map(str),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.sampled_from(
        [
            "[1]",
            '["a",1]',
            "[1e999]",
            "[" * 200,
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "valid",
            "x509-svid",
        ]
    ),
)


async def anybody(token: str) -> Caller:
    return ServiceAccount("shop", token.partition(".")[0] or "web").caller("c1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with edge(tmp_path_factory.mktemp("fuzz"), tokens=anybody) as made:
        made.made.entry(WEB, "k8s:ns:shop")
        yield made


def sent(app: Any, request: httpx.Request) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://ca.example.org") as client:
            return await client.send(request)

    return asyncio.run(send())


def require_sound(answer: httpx.Response) -> None:
    if answer.status_code >= 400:
        problem(answer)
    # Authorities are rotated and tainted here, and nothing signs in between.
    assert answer.status_code != 500, answer.text
    assert ADMIN not in answer.text
    assert "Error(" not in answer.text


def request(
    method: str, path: str, given: list[tuple[bytes, bytes]], token: str, body: bytes = b"", **more: Any
) -> httpx.Request:
    said = [*given]
    if not any(name == b"authorization" for name, _ in given):
        said += [(name.encode(), value.encode()) for name, value in bearer(token).items()]
    if body and not any(name == b"content-type" for name, _ in given):
        said.append((b"content-type", b"application/json"))
    return httpx.Request(method, f"https://ca.example.org{path}", headers=said, content=body, **more)


@settings(max_examples=150)
@given(st.sampled_from(POSTS), bodies, headers)
@example("/v1/jwt-svid", b'{"audience": ["a"], "ttl": 1e400}', [])
@example("/v1/jwt-svid", b'{"audience": ["\\u0000"]}', [])
@example("/v1/x509-svid", b"[" * 60000, [])
@example("/v1/x509-svid", b'{"csr": "' + b"A" * 60000 + b'"}', [(b"idempotency-key", b"k")])
def test_workloads_may_send_anything(
    made: Edge, path: str, body: bytes, given_headers: list[tuple[bytes, bytes]]
) -> None:
    require_sound(sent(made.workloads, request("POST", path, given_headers, "web.token", body)))


@settings(max_examples=100)
@given(st.sampled_from(ADMIN_POSTS), st.text(max_size=12), bodies, headers)
def test_operators_may_send_anything(
    made: Edge, path: str, part: str, body: bytes, given_headers: list[tuple[bytes, bytes]]
) -> None:
    url = path.format(quote(part, safe=""))
    require_sound(sent(made.admin, request("POST", url, given_headers, ADMIN, body)))


@settings(max_examples=150)
@given(
    st.sampled_from(ADMIN_GETS),
    st.text(max_size=12),
    st.dictionaries(st.sampled_from(QUERIES), query_values, max_size=3),
)
@example("/v1/inventory", "", {"expires_from": "0001-01-01T00:00:00+14:00"})
@example("/v1/inventory", "", {"expiring_within": "315360000"})
@example("/v1/inventory", "", {"after": "[99999999999999999999999999,1]", "state": "valid"})
@example("/v1/entries", "", {"prefix": "\x00"})
def test_operators_may_ask_anything(made: Edge, path: str, part: str, query: dict[str, str]) -> None:
    url = path.format(quote(part, safe=""))
    require_sound(sent(made.admin, request("GET", url, [], ADMIN, params=query)))


@settings(max_examples=60)
@given(
    st.sampled_from(["/v1/bundle", "/v1/crl", "/readyz", "/problems/x"]),
    st.dictionaries(st.sampled_from(["issuer", "x"]), query_values, max_size=2),
    headers,
)
def test_anybody_may_ask_anything(
    made: Edge, path: str, query: dict[str, str], given_headers: list[tuple[bytes, bytes]]
) -> None:
    require_sound(sent(made.workloads, request("GET", path, given_headers, "web.token", params=query)))
