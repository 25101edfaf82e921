"""What is decided otherwise is counted once, grouped with what is like it, and shown by a request that decides the same."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest

from authz.decision import Verdict
from authz.mesh_config import MeshConfig
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.workload import Workload
from mesh.deciding import Offline, decide
from mesh.replaying import replay, stream
from mesh.replaying.kind import Change
from mesh.replaying.log import Log
from mesh.replaying.masking import Masking
from mesh.replaying.replay import Replay, Replayed
from mesh.replaying.version import Version
from mesh.snapshot import Snapshot
from parser.request import parse_request

WORKLOADS = tuple(Workload(namespace="shop", name=name, labels={"app": name}) for name in ("api", "db"))
ITEMS = Policy(
    namespace="shop",
    name="items",
    rules=(Rule(operations=(Operation(methods=("GET",), paths=("*", "/items", "/items/{*}/parts")),)),),
)
NOTHING = Policy(namespace="shop", name="nothing")
CALLERS = ("spiffe://td/ns/shop/sa/web", None)


def version(*policies: Policy, **options: Any) -> Version:
    snapshot = Snapshot(policies=policies, workloads=WORKLOADS, config=MeshConfig(), revision="r")
    return Version(snapshot, Offline(at=0.0), **options)


def request(
    path: str = "/items", *, verdict: str | None = "ALLOW", caller: str | None = CALLERS[0], **more: object
) -> dict[str, Any]:
    source = {} if caller is None else {"source": {"principal": caller}}
    decision = {} if verdict is None else {"decision": {"verdict": verdict}}
    return {"workload": "shop/api", "request": {"method": "GET", "path": path}, **source, **decision, **more}


def replayed(requests: Sequence[object], by: Version, against: Version | None = None, *mask: str) -> Replayed:
    replay = Replay(by, masking=Masking(mask), against=against)
    data = b"".join(json.dumps(each).encode() + b"\n" for each in requests)
    replay.take(Log(io.BytesIO(data), "log"))
    return replay.outcome()


def told(outcome: Replayed) -> list[tuple[Change, str, str, str, int]]:
    return [(*group.key[:4], group.count) for group in outcome.groups]


def test_what_is_decided_as_then_is_unchanged() -> None:
    outcome = replayed([request(), request("/orders", verdict="DENY")], version(ITEMS))
    assert (outcome.unchanged, outcome.compared) == (1, 2)


def test_alike_are_one_group_the_largest_first() -> None:
    requests = [
        *(request(f"/orders/{number}") for number in range(1000, 1003)),
        request("/orders/1", caller=None),
        request("/items", verdict="DENY"),
        request(workload="shop/db"),
    ]
    assert told(replayed(requests, version(NOTHING))) == [
        (Change.NEWLY_DENIED, "shop/api", "td/ns/shop/sa/web", "GET /orders/{id}", 3),
        (Change.NEWLY_DENIED, "shop/api", "(plaintext)", "GET /orders/{id}", 1),
        (Change.NEWLY_DENIED, "shop/db", "td/ns/shop/sa/web", "GET /items", 1),
    ]
    assert told(replayed(requests, version())) == [
        (Change.NEWLY_ALLOWED, "shop/api", "td/ns/shop/sa/web", "GET /items", 1)
    ]


def test_a_route_is_the_pattern_of_the_rule_but_not_the_one_of_all_paths() -> None:
    requests = [request("/items/7/parts", verdict=None), request("/items", verdict=None), request("/7", verdict=None)]
    outcome = replayed(requests, version(NOTHING), version(ITEMS))
    assert sorted(group.key.route for group in outcome.groups) == ["GET /items", "GET /items/{*}/parts", "GET /{id}"]
    (before,) = {group.key.before[:4] for group in outcome.groups}
    assert before == (Verdict.ALLOW, "shop/items", 0, "an ALLOW rule matches")
    # The same the other way round, by the rule that matches now.
    outcome = replayed(requests, version(ITEMS), version(NOTHING))
    assert {group.key.change for group in outcome.groups} == {Change.NEWLY_ALLOWED}
    assert sorted(group.key.route for group in outcome.groups) == ["GET /items", "GET /items/{*}/parts", "GET /{id}"]


def test_what_nobody_says_the_verdict_of_is_not_compared() -> None:
    outcome = replayed([request(verdict=None), request()], version(ITEMS))
    assert (outcome.without_verdict, outcome.compared) == (1, 1)


def test_a_workload_that_is_gone_is_denied_as_the_server_does_it() -> None:
    (group,) = replayed([request(workload="shop/gone")], version(ITEMS)).groups
    assert group.key.now.reason == "no workload `shop/gone` in the manifests"
    assert group.key.workload == "shop/gone"


TENANT = Rule(conditions=(Condition(key="request.headers[x-tenant]", values=("a",)),))
ROLE = Rule(conditions=(Condition(key="request.headers[x-role]", values=("buyer",)),))
TOKEN = Rule(sources=(Source(request_principals=("*",)),))


def test_what_a_record_does_not_tell_leaves_it_uncertain() -> None:
    masked = request()
    masked["request"]["headers"] = {"x-tenant": ["***"]}
    tenants = version(Policy(namespace="shop", name="tenants", rules=(TENANT,)))
    (group,) = replayed([masked], tenants).groups
    assert (group.key.change, group.key.lacking) == (Change.UNCERTAIN, ("request.headers[x-tenant]",))
    # Nobody looks at it there.
    (group,) = replayed([masked], version(NOTHING)).groups
    assert (group.key.change, group.key.lacking) == (Change.NEWLY_DENIED, ())


def test_a_header_that_nobody_has_written_down_is_noted() -> None:
    roles = version(Policy(namespace="shop", name="roles", rules=(ROLE, TENANT)))
    seen = request()
    seen["request"]["headers"] = {"x-tenant": ["b"]}
    outcome = replayed([request(), seen], roles)
    assert outcome.unlogged == ("request.headers[x-role]",)
    assert replayed([request(verdict="DENY")], roles).unlogged == ()


def test_a_sample_has_what_its_decision_rests_on_and_no_more() -> None:
    document = request("/orders?page=2&token=abc")
    document["source"] |= {"ip": "10.0.0.1", "remoteIp": "10.0.0.2"}
    document["destination"] = {"port": 8080, "ip": "10.0.0.9"}
    document["request"] |= {
        "host": "u:p@api",
        "scheme": "https",
        "headers": {"X-Tenant": "b", "x-role": "guest", "x": "y"},
    }
    document["jwt"] = {"claims": {"iss": "i", "sub": "alice", "email": "a@example.com", "groups": ["x"]}}
    groups = Rule(conditions=(Condition(key="request.auth.claims[groups]", values=("buyer",)),))
    strict = version(
        Policy(namespace="shop", name="strict", rules=(TENANT, ROLE, groups, TOKEN), action=Action.DENY), NOTHING
    )
    (group,) = replayed([document], strict, None, "X-Tenant").groups
    assert group.sample == {
        "workload": "shop/api",
        "destination": {"ip": "10.0.0.9", "port": 8080},
        "source": {"principal": CALLERS[0], "ip": "10.0.0.1", "remoteIp": "10.0.0.2"},
        "request": {
            "method": "GET",
            "path": "/orders?page=2&token=***",
            "host": "***@api",
            "scheme": "https",
            "headers": {"x-tenant": ["***"], "x-role": ["guest"]},
        },
        "jwt": {"claims": {"iss": "i", "sub": "alice", "groups": ["x"]}},
    }
    assert decide(strict.snapshot, parse_request(group.sample), Offline(at=0.0)).verdict is group.key.now.verdict


def test_a_connection_is_a_sample_too() -> None:
    document = {
        "workload": "shop/db",
        "source": {"principal": CALLERS[0]},
        "destination": {"port": 5432},
        "connection": {"protocol": "tcp", "sni": "db.shop"},
        "decision": {"verdict": "ALLOW"},
    }
    (group,) = replayed([document], version(NOTHING)).groups
    assert group.key.route == "TCP port 5432"
    assert group.sample == {name: document[name] for name in ("workload", "source", "destination", "connection")}


def test_requests_as_clients_send_them_are_normalized_first() -> None:
    sent = [request("/x/../items/7/parts"), request("items", verdict="DENY")]
    assert replayed(sent, version(ITEMS, normalize=True)).unchanged == 2
    (group,) = replayed(sent[:1], version(NOTHING, normalize=True)).groups
    assert group.sample["request"] == {"method": "GET", "path": "/items/7/parts"}
    (group,) = replayed([request("items?token=abc d")], version(normalize=True)).groups
    assert "abc" not in str(group)


def test_there_are_never_more_groups_than_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_GROUPS", 3)
    outcome = replayed([request(f"/{word}") for word in "abcdefgh"], version(NOTHING))
    assert [group.count for group in outcome.groups] == [5, 1, 1, 1]
    assert told(outcome)[0] == (Change.NEWLY_DENIED, "…", "…", "…", 5)


def test_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(json.dumps(request())) + 1
    monkeypatch.setattr(stream, "_PIECE", 2 * size)
    heard: list[tuple[int, int]] = []
    data = b"".join(json.dumps(request()).encode() + b"\n" for _ in range(5))
    Replay(version(ITEMS), masking=Masking()).take(
        Log(io.BytesIO(data), "log"), on_progress=lambda *said: heard.append(said)
    )
    assert heard == [(2, 2 * size), (4, 4 * size), (5, 5 * size)]
