"""The straight way answers as the framework does, whatever it is asked."""

import json
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from ca.limits import Limits
from ca.rest.guard import MAX_BODY
from tests.unit.ca.offices import API, WEB, csr
from tests.unit.ca.rest.asking import Edge, asked, bearer, edge
from tests.unit.ca.rest.test_issuing import SERVICE_ACCOUNT, verified

PATH = "/v1/x509-svid"
JSON = {"Content-Type": "application/json"}
SHOWN = {**JSON, **bearer(SERVICE_ACCOUNT)}
GOOD = {"csr": csr(spiffe_id=WEB).decode()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with edge(tmp_path_factory.mktemp("straight"), tokens=verified) as made:
        made.made.entry(WEB, "k8s:ns:shop", "k8s:sa:web")
        yield made


def both(made: Edge, content: bytes, headers: dict[str, str] | list[tuple[str, str]]) -> tuple[httpx.Response, ...]:
    """What is heard by the straight way, and by the framework's."""

    async def framework(scope: Scope, receive: Receive, send: Send) -> None:
        await FastAPI.__call__(made.workloads, scope, receive, send)

    return tuple(asked(app, "POST", PATH, content=content, headers=headers) for app in (made.workloads, framework))


def assert_same(made: Edge, content: bytes, headers: dict[str, str] | list[tuple[str, str]]) -> httpx.Response:
    straight, framework = both(made, content, headers)
    assert straight.status_code == framework.status_code, (straight.text, framework.text)
    assert straight.headers == framework.headers or straight.status_code == 200
    if straight.status_code == 200:
        assert straight.json().keys() == framework.json().keys()
        assert set(straight.headers) == set(framework.headers)
    else:
        assert straight.json() == framework.json()
    return straight


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (GOOD, 200),
        ({**GOOD, "ttl": 600, "spiffe_id": str(WEB)}, 200),
        ({**GOOD, "ttl": None, "spiffe_id": None}, 200),
        ({}, 400),
        ({"csr": 7}, 400),
        ({**GOOD, "ttl": "600"}, 400),
        ({**GOOD, "ttl": 600.5}, 400),
        ({**GOOD, "ttl": 0, "spiffe_id": [], "more": 1}, 400),
        ({**GOOD, "spiffe_id": "x" * 3000}, 400),
        ({**GOOD, "spiffe_id": "web"}, 400),
        ({**GOOD, "spiffe_id": str(API)}, 403),
        ({"csr": "nothing"}, 400),
        ({"csr": ""}, 400),
        ({"csr": "x" * MAX_BODY}, 413),
    ],
)
def test_bodies(made: Edge, said: dict[str, object], status: int) -> None:
    assert assert_same(made, json.dumps(said).encode(), SHOWN).status_code == status


@pytest.mark.parametrize(
    "content", [b"", b" ", b"null", b"[]", b"7", b'"x"', b"{", b'{"csr": "", "csr": ""}', b"\xff", b"{}{}"]
)
def test_what_is_no_object(made: Edge, content: bytes) -> None:
    assert assert_same(made, content, SHOWN).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        (JSON, 401),
        (bearer(SERVICE_ACCOUNT), 415),
        ({**SHOWN, "Content-Type": "application/json; charset=utf-8"}, 200),
        ({**SHOWN, "Content-Type": "text/plain"}, 415),
        ({**JSON, "Authorization": "Basic eDp5"}, 401),
        ({**JSON, "Authorization": "Bearer a.b.c"}, 401),
        ({**SHOWN, "Idempotency-Key": ""}, 400),
        ({**SHOWN, "Idempotency-Key": "x" * 256}, 400),
        ({**SHOWN, "Idempotency-Key": "a\tb"}, 400),
        ([*SHOWN.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")], 400),
        ([*SHOWN.items(), ("Authorization", "Bearer x")], 400),
    ],
)
def test_headers(made: Edge, headers: dict[str, str] | list[tuple[str, str]], status: int) -> None:
    assert assert_same(made, json.dumps(GOOD).encode(), headers).status_code == status


def test_a_fault_of_the_header_and_one_of_the_body_are_said_together(made: Edge) -> None:
    answer = assert_same(made, b'{"csr": 7}', {**SHOWN, "Idempotency-Key": ""})
    assert {each["where"] for each in answer.json()["errors"]} == {"header.Idempotency-Key", "body.csr"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["csr", "ttl", "spiffe_id", "more"]), VALUES))
def test_bodies_of_all_kinds(made: Edge, said: dict[str, object]) -> None:
    assert_same(made, json.dumps(said).encode(), SHOWN)


def test_the_limit_counts_either_way(tmp_path_factory: pytest.TempPathFactory) -> None:
    limits = Limits(attest_per_second=1, clock=lambda: 1000.0)
    with edge(tmp_path_factory.mktemp("limited"), tokens=verified, limits=limits) as made:
        first, second = both(made, b"{}", SHOWN)
        assert (first.status_code, second.status_code) == (400, 429)
        assert {each.status_code for each in both(made, b"{}", SHOWN)} == {429}
