"""The description that each application serves of itself: it names every route, every code and every field."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from ca.errors import (
    AttestationError,
    AuthorityError,
    BrokenAuditError,
    ClockError,
    CsrError,
    CsrFault,
    EntitlementFault,
    IllegalMoveError,
    InvalidSelectorError,
    KeyStoreError,
    LimitedError,
    NotEntitledError,
    NotKeptError,
    NotReadyError,
    RecheckError,
    RefusedKeyError,
    RefusedLifetimeError,
    RefusedNameError,
    StoreConflictError,
    StoreUnavailableError,
)
from ca.refusals import refusal_of
from ca.rest import OpenId
from ca.rest.problems import KINDS
from tests.unit.ca.offices import AT
from tests.unit.ca.rest.asking import Edge, edge

_HOUR = AT - AT


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with edge(tmp_path_factory.mktemp("openapi"), openid=OpenId("https://oidc.example.org")) as made:
        yield made


def described(made: Edge, which: str) -> dict[str, Any]:
    answer = made.ask("GET", "/openapi.json") if which == "workloads" else made.manage("GET", "/openapi.json")
    document = answer.json()
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("which", ["workloads", "admin"])
def test_every_route_is_described_with_all_that_it_may_answer(made: Edge, which: str) -> None:
    app = made.workloads if which == "workloads" else made.admin
    document = described(made, which)
    routes = {
        (method.lower(), route.path)
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert routes == {(method, path) for path, methods in document["paths"].items() for method in methods}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert any(status.startswith("2") for status in operation["responses"])
            assert "422" not in operation["responses"]
            if path.startswith("/v1/") and path not in {"/v1/bundle", "/v1/crl"}:
                assert operation["security"] == [{"token": []}, {"certificate": []}]
                assert "401" in operation["responses"]


def codes_in(document: dict[str, Any]) -> dict[str, set[str]]:
    """By path, the codes of the problems that are described."""
    found: dict[str, set[str]] = {}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                examples = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
                for code, example in examples.items():
                    assert example["value"]["status"] == KINDS[code].status == int(status)
                    found.setdefault(path, set()).add(code)
    return found


def test_every_code_is_described_somewhere(made: Edge) -> None:
    found = [codes_in(described(made, which)) for which in ("workloads", "admin")]
    codes = set().union(*(codes for by_path in found for codes in by_path.values()))
    # What any path may answer with, and paths that are none.
    assert codes | {"method-not-allowed", "headers-too-long"} == set(KINDS)
    assert found[0]["/v1/x509-svid"] >= {fault.value for fault in CsrFault} | {
        fault.value for fault in EntitlementFault
    }
    for which in ("workloads", "admin"):
        schema = described(made, which)["components"]["schemas"]["Problem"]
        assert schema["properties"]["code"]["enum"] == sorted(KINDS)


@pytest.mark.parametrize("code", sorted(KINDS))
def test_every_kind_of_problem_is_where_its_type_says(made: Edge, code: str) -> None:
    kind = KINDS[code]
    assert made.ask("GET", kind.uri).json() == {"code": code, "status": kind.status, "title": kind.title}


@pytest.mark.parametrize(
    "error",
    [
        AttestationError("x"),
        ClockError(at=AT, latest=AT),
        *(CsrError(fault, "x") for fault in CsrFault),
        IllegalMoveError("a", "b", "c"),
        InvalidSelectorError("a", "b"),
        KeyStoreError("a", "b"),
        LimitedError(_HOUR),
        *(NotEntitledError("a", fault, "b") for fault in EntitlementFault),
        NotKeptError("a", "b"),
        NotReadyError("a"),
        RecheckError("a"),
        RefusedKeyError("a"),
        RefusedLifetimeError("a", lifetime=_HOUR, at=AT),
        RefusedNameError("a", "b"),
        StoreConflictError("a", "b", "c"),
        StoreUnavailableError("a", "b"),
        BrokenAuditError(1, "a"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_authority_refuses_is_a_kind_of_problem_with_the_same_status(error: AuthorityError) -> None:
    refusal = refusal_of(error)
    assert KINDS[refusal.code].status == refusal.kind.http


def test_fields_that_may_be_sent_are_described_and_no_others_may(made: Edge) -> None:
    for which in ("workloads", "admin"):
        document = described(made, which)
        for methods in document["paths"].values():
            for operation in methods.values():
                if "requestBody" in operation:
                    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
                    assert schema["additionalProperties"] is False
