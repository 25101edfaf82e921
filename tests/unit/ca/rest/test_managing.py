"""Managing over HTTP: who may, and what an operator can do and see."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ca.audit import AuditEvent, Outcome
from ca.inventory import IssuedKind
from ca.phases import Phase, SlotKind
from ca.rest import AdminToken
from tests.unit.ca.offices import API, AT, BY, TD, WEB, caller
from tests.unit.ca.rest.asking import ADMIN, BY_ADMIN, OPAQUE, Edge, bearer, edge, problem

OPERATOR = caller("unix:uid:0", name="unix:uid:0")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Edge]:
    with edge(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """For tests that leave it as it was."""
    with edge(tmp_path_factory.mktemp("shared")) as made:
        yield made


def svid(made: Edge, *, admin: bool) -> x509.Certificate:  # a leaf that a client shows
    made.made.entry(WEB, "unix:uid:0", admin=admin)
    return asyncio.run(made.made.issue(OPERATOR)).svid.leaf


# Who manages


@pytest.mark.parametrize("headers", [{}, bearer("other"), bearer(ADMIN + "x"), {"Authorization": f"Basic {ADMIN}"}])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/entries"),
        ("POST", "/v1/entries"),
        ("GET", "/v1/entries/x"),
        ("DELETE", "/v1/entries/x"),
        ("GET", "/v1/join-tokens"),
        ("POST", "/v1/join-tokens"),
        ("DELETE", "/v1/join-tokens/x"),
        ("GET", "/v1/inventory"),
        ("GET", "/v1/inventory/a"),
        ("POST", "/v1/inventory/a/revoke"),
        ("GET", "/v1/audit"),
        ("GET", "/v1/audit/head"),
        ("POST", "/v1/audit/verify"),
        ("GET", "/v1/authorities"),
        ("POST", "/v1/authorities/root/rotate"),
        ("POST", "/v1/authorities/a/taint"),
    ],
)
def test_nobody_manages_without_the_token_whatever_they_send(
    shared: Edge, method: str, path: str, headers: dict[str, str]
) -> None:
    more: dict[str, Any] = {"json": {"unheard": "of"}} if method == "POST" else {}
    before = len(shared.reasons("administer"))
    answer = shared.manage(method, path, headers=headers, **more)
    assert answer.status_code == 401
    assert answer.json() == OPAQUE
    assert len(shared.reasons("administer")) == before + 1


def test_every_route_but_health_and_descriptions_is_among_those(shared: Edge) -> None:
    paths = shared.manage("GET", "/openapi.json").json()["paths"]
    managed = {
        (method.upper(), path) for path, methods in paths.items() for method in methods if path.startswith("/v1/")
    }
    assert len(managed) == 16
    assert {path for path in paths if not path.startswith("/v1/")} == {
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/problems/{code}",
        "/readyz",
    }


def test_a_certificate_of_an_admin_manages_and_another_does_not(made: Edge) -> None:
    leaf = svid(made, admin=True)
    assert made.manage("GET", "/v1/entries", certificate=leaf).status_code == 200
    assert problem(made.manage("GET", "/v1/entries", certificate=leaf, headers=BY_ADMIN)) == (
        400,
        "several-credentials",
    )
    entry = made.manage("GET", "/v1/entries").json()["entries"][0]["id"]
    assert made.manage("DELETE", f"/v1/entries/{entry}", certificate=leaf).status_code == 200
    assert problem(made.manage("GET", "/v1/entries", certificate=leaf)) == (403, "no-admin")
    rows = [
        row.event.actor for row in made.office.store.audit.list(size=1000).rows if row.event.action == "entry delete"
    ]
    assert rows == [str(WEB)]


def test_a_certificate_of_a_workload_manages_nothing(made: Edge) -> None:
    assert problem(made.manage("GET", "/v1/entries", certificate=svid(made, admin=False))) == (403, "no-admin")
    assert len(made.reasons("administer")) == 1


def test_the_admin_token_is_no_credential_of_a_workload(made: Edge) -> None:
    made.made.entry(WEB, "admin:token")
    answer = made.ask("POST", "/v1/jwt-svid", json={"audience": ["api"]}, headers=BY_ADMIN)
    assert answer.json() == OPAQUE


def test_what_an_admin_token_is_kept_as_shows_nothing() -> None:
    kept = AdminToken.of(ADMIN)
    assert ADMIN not in repr(kept)
    assert kept.digest.hex() not in repr(kept)
    assert (kept.is_of(ADMIN), kept.is_of(""), kept.is_of("\udcff")) == (True, False, False)
    with pytest.raises(ValueError, match="SHA-256"):
        AdminToken(b"short")


# Entries

ENTRY = {
    "spiffe_id": str(API),
    "selectors": ["k8s:ns:shop", "k8s:sa:api"],
    "ttl": 600,
    "jwt_ttl": 60,
    "dns_names": ["api.shop.svc"],
    "federates_with": ["other.example"],
    "admin": True,
    "hint": "inside",
}


def test_an_entry_is_made_once_read_listed_and_deleted(made: Edge) -> None:
    answer = made.manage("POST", "/v1/entries", json=ENTRY)
    assert answer.status_code == 201
    said = answer.json()
    assert {name: said[name] for name in ENTRY} == ENTRY
    assert made.manage("GET", answer.headers["location"]).json() == said
    again = made.manage("POST", "/v1/entries", json=ENTRY)
    assert (again.status_code, again.json()) == (200, said)
    assert problem(made.manage("POST", "/v1/entries", json={**ENTRY, "hint": "outside"})) == (409, "conflict")
    assert made.manage("DELETE", answer.headers["location"]).json() == said
    assert problem(made.manage("DELETE", answer.headers["location"])) == (404, "not-found")
    assert problem(made.manage("GET", answer.headers["location"])) == (404, "not-found")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"spiffe_id": "spiffe://other.example/a"}, (400, "name-refused")),
        ({"spiffe_id": "spiffe://example.org"}, (400, "entry-refused")),
        ({"spiffe_id": "spiffe://example.org/a\n"}, (400, "name-refused")),
        ({"spiffe_id": 7}, (400, "request-refused")),
        ({"selectors": []}, (400, "request-refused")),
        ({"selectors": ["nothing"]}, (400, "name-refused")),
        ({"selectors": ["unix:a\nb"]}, (400, "name-refused")),
        ({"ttl": 0}, (400, "request-refused")),
        ({"ttl": 299}, (400, "lifetime-refused")),
        ({"ttl": 24 * 3600 + 1}, (400, "lifetime-refused")),
        ({"jwt_ttl": 3601}, (400, "lifetime-refused")),
        ({"dns_names": ["Not A Name"]}, (400, "name-refused")),
        ({"dns_names": ["*.example.org"]}, (400, "name-refused")),
        ({"federates_with": ["Other"]}, (400, "name-refused")),
        ({"hint": "a\nb"}, (400, "entry-refused")),
        ({"admin": "yes"}, (400, "request-refused")),
        ({"admn": True}, (400, "request-refused")),
    ],
)
def test_an_entry_that_would_not_do_what_it_says_is_refused(
    shared: Edge, change: dict[str, object], expected: tuple[int, str]
) -> None:
    assert problem(shared.manage("POST", "/v1/entries", json={**ENTRY, **change})) == expected
    assert shared.manage("GET", "/v1/entries").json()["entries"] == []


def test_entries_are_found_by_what_they_say_a_piece_at_a_time(made: Edge) -> None:
    ids = [
        made.manage(
            "POST", "/v1/entries", json={"spiffe_id": f"spiffe://example.org/a/{n}", "selectors": [f"unix:uid:{n}"]}
        ).json()["id"]
        for n in range(5)
    ]
    found, after = [], ""
    while after is not None:
        answer = made.manage("GET", "/v1/entries", params={"size": 2, **({"after": after} if after else {})}).json()
        found += [entry["id"] for entry in answer["entries"]]
        after = answer["next"]
    assert found == ids

    def of(**wanted: str) -> list[str]:
        return [entry["id"] for entry in made.manage("GET", "/v1/entries", params=wanted).json()["entries"]]

    assert of(selector="unix:uid:3") == [ids[3]]
    assert of(spiffe_id="spiffe://example.org/a/1") == [ids[1]]
    assert of(prefix="spiffe://example.org/a/") == ids
    assert of(prefix="spiffe://example.org/b") == []


@pytest.mark.parametrize(
    "query",
    [
        "size=0",
        "size=1001",
        "size=x",
        "after=x",
        "after=[1,2]",
        "spifeid=a",
        "spiffe_id=a",
        "selector=a",
        "size=1&size=x",
    ],
)
@pytest.mark.parametrize("path", ["/v1/entries", "/v1/inventory"])
def test_a_query_that_means_nothing_is_refused(shared: Edge, path: str, query: str) -> None:
    assert problem(shared.manage("GET", f"{path}?{query}"))[0] == 400


# Join tokens


def test_a_join_token_is_said_once_and_can_be_withdrawn(made: Edge) -> None:
    answer = made.manage("POST", "/v1/join-tokens", json={"spiffe_id": str(WEB), "ttl": 60})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert "." not in said["token"]
    listed = made.manage("GET", "/v1/join-tokens")
    assert said["token"] not in listed.text
    assert [each["id"] for each in listed.json()["join_tokens"]] == [said["id"]]
    assert made.manage("DELETE", f"/v1/join-tokens/{said['id']}").status_code == 200
    assert problem(made.manage("DELETE", f"/v1/join-tokens/{said['id']}")) == (404, "not-found")
    assert made.ask("POST", "/v1/jwt-svid", json={"audience": ["a"]}, headers=bearer(said["token"])).json() == OPAQUE


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"spiffe_id": "spiffe://other.example/a"}, (400, "name-refused")),
        ({"spiffe_id": "spiffe://example.org"}, (400, "entry-refused")),
        ({"spiffe_id": str(WEB), "ttl": 7 * 24 * 3600 + 1}, (400, "request-refused")),
        ({"spiffe_id": str(WEB), "ttl": 0}, (400, "request-refused")),
    ],
)
def test_a_join_token_is_of_a_name_of_ours_for_a_while(
    shared: Edge, asked: dict[str, object], expected: tuple[int, str]
) -> None:
    assert problem(shared.manage("POST", "/v1/join-tokens", json=asked)) == expected


# The inventory


def test_what_was_issued_is_found_by_everything_that_is_known_of_it_and_revoked(made: Edge) -> None:
    made.made.entry(WEB, "unix:uid:0")
    first = asyncio.run(made.made.issue(OPERATOR)).svid.leaf
    made.made.clock.pass_by(timedelta(minutes=30))
    second = asyncio.run(made.made.issue(OPERATOR)).svid.leaf
    issuer = made.office.signing.now().issuer
    both = [f"{leaf.serial_number:x}" for leaf in (first, second)]

    def of(**wanted: object) -> list[str]:
        answer = made.manage("GET", "/v1/inventory", params=wanted)
        assert answer.status_code == 200, answer.text
        return [row["serial"] for row in answer.json()["issued"]]

    assert of() == both
    for wanted in (
        {"spiffe_id": str(WEB)},
        {"prefix": "spiffe://example.org/ns/shop"},
        {"issuer": issuer},
        {"kind": IssuedKind.X509.value},
        {"caller": "unix:uid:0"},
        {"state": "valid"},
        {"intended_from": "2030-01-01T12:00:00Z"},
        {"expires_to": "2030-01-01T16:00:00+01:00"},
    ):
        assert of(**wanted) == both, wanted
    assert of(expiring_within=1801) == both[:1]
    assert of(intended_to="2030-01-01T12:01:00Z") == both[:1]
    assert of(expires_from="2030-01-01T13:01:00Z") == both[1:]
    assert of(kind=IssuedKind.JWT.value) == of(state="expired") == of(issuer="0") == []

    one = made.manage("GET", f"/v1/inventory/{both[0]}").json()
    assert (one["state"], one["spiffe_id"], one["revoked"]) == ("valid", str(WEB), None)
    revoked = made.manage("POST", f"/v1/inventory/{both[0]}/revoke", json={"reason": "keyCompromise"}).json()
    assert (revoked["state"], revoked["revocation_reason"]) == ("revoked", "keyCompromise")
    again = made.manage("POST", f"/v1/inventory/{both[0]}/revoke", json={"reason": "superseded"}).json()
    assert again["revocation_reason"] == "keyCompromise"
    assert of(state="revoked") == both[:1]


@pytest.mark.parametrize(
    ("path", "asked", "expected"),
    [
        ("/v1/inventory/ff/revoke", {"reason": "superseded"}, (404, "not-found")),
        ("/v1/inventory/ff/revoke", {"reason": "why not"}, (400, "request-refused")),
        ("/v1/inventory/ff/revoke", {}, (400, "request-refused")),
        ("/v1/inventory/FF/revoke", {"reason": "superseded"}, (400, "request-refused")),
    ],
)
def test_what_is_not_there_is_not_revoked(
    shared: Edge, path: str, asked: dict[str, object], expected: tuple[int, str]
) -> None:
    assert problem(shared.manage("POST", path, json=asked)) == expected


@pytest.mark.parametrize(
    "query",
    ["intended_from=2030-01-01T12:00:00", "state=good", "kind=x", "expiring_within=0", "expires_to=9999999999999999"],
)
def test_a_filter_that_means_nothing_is_refused(shared: Edge, query: str) -> None:
    assert problem(shared.manage("GET", f"/v1/inventory?{query}")) == (400, "request-refused")


# The audit


def test_the_audit_is_listed_and_verified_against_heads_that_were_kept_elsewhere(made: Edge) -> None:
    head = made.manage("GET", "/v1/audit/head").json()["head"]
    made.made.entry(WEB, "unix:uid:0")
    rows = made.manage("GET", "/v1/audit").json()["rows"]
    assert f"{rows[-2]['number']}:{rows[-2]['hash']}" == head
    assert (rows[-1]["actor"], rows[-1]["action"], rows[-1]["outcome"]) == (BY, "entry create", "done")
    verified = made.manage("POST", "/v1/audit/verify", json={"kept": [head]})
    assert verified.json()["head"] == f"{rows[-1]['number']}:{rows[-1]['hash']}"
    forged = f"{rows[-2]['number']}:{'0' * 64}"
    assert problem(made.manage("POST", "/v1/audit/verify", json={"kept": [forged]})) == (409, "audit-broken")
    assert problem(made.manage("POST", "/v1/audit/verify", json={"kept": ["x"]})) == (400, "request-refused")


def test_a_line_that_a_stranger_made_up_is_none_in_the_audit(made: Edge) -> None:
    event = AuditEvent(AT, "a\nb", "attest", Outcome.REFUSED)
    made.office.store.audit.append(event).result()
    assert made.manage("GET", "/v1/audit").json()["rows"][-1]["actor"] == "a\\nb"


# The signing authorities


def test_authorities_are_shown_rotated_and_tainted(made: Edge) -> None:
    shown = made.manage("GET", "/v1/authorities").json()
    assert (shown["trust_domain"], shown["failure"]) == (TD.name, None)
    assert {(slot["kind"], slot["phase"]) for slot in shown["slots"]} == {(kind.value, "active") for kind in SlotKind}
    assert {(wait["kind"], wait["reason"]) for wait in shown["waiting"]} == {
        (kind.value, "schedule") for kind in SlotKind
    }
    assert "key" not in "".join(shown["slots"][0])

    rotated = made.manage("POST", "/v1/authorities/root/rotate")
    assert rotated.status_code == 202
    waiting = made.manage("GET", "/v1/authorities").json()["waiting"]
    assert ("root", "notice") in {(wait["kind"], wait["reason"]) for wait in waiting}
    made.office.consumers.opened("late")
    waiting = made.manage("GET", "/v1/authorities").json()["waiting"]
    assert [wait["consumers"] for wait in waiting if wait["reason"] == "consumers"] == [["late"]]

    left = made.manage("POST", "/v1/authorities/root/rotate?leave_behind=true").json()
    assert [slot["pace"] for slot in left["slots"] if slot["phase"] == "prepared"] == ["regardless"]
    waiting = made.manage("GET", "/v1/authorities").json()["waiting"]
    assert {wait["reason"] for wait in waiting if wait["kind"] == "root"} == {"notice"}

    intermediate = made.office.signing.now().issuer
    tainted = made.manage("POST", f"/v1/authorities/{intermediate}/taint")
    assert tainted.status_code == 202
    assert [slot["phase"] for slot in tainted.json()["slots"] if slot["id"] == intermediate] == [Phase.TAINTED.value]
    assert problem(made.manage("POST", f"/v1/authorities/{intermediate}/taint")) == (409, "conflict")
    assert problem(made.manage("POST", "/v1/authorities/ffff/taint")) == (404, "not-found")
    assert problem(made.manage("POST", "/v1/authorities/leaf/rotate")) == (400, "request-refused")
    actions = [row.event for row in made.office.store.audit.list(size=1000).rows if row.event.actor == "admin:token"]
    assert [event.action for event in actions] == [
        "rotate root",
        "rotate root regardless",
        f"taint {intermediate}",
    ]


def test_metrics_and_health_are_for_whoever_reaches_the_listener(shared: Edge) -> None:
    answer = shared.manage("GET", "/metrics", headers={})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "meshward_ca_can_sign 1.0" in answer.text
    openmetrics = shared.manage("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.text.endswith("# EOF\n")
    assert shared.manage("GET", "/readyz", headers={}).status_code == 200
