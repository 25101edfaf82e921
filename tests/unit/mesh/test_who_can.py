"""Who can reach a workload."""

from authz.attributes import Protocol
from authz.mesh_config import MeshConfig
from authz.model import Action, Operation, Policy, Rule, Source
from authz.workload import Workload
from mesh.snapshot import Snapshot
from mesh.who_can import who_can

API = Workload(namespace="shop", name="api", labels={"app": "api"})
WEB, OPS = Source(namespaces=("web",)), Source(namespaces=("ops",))


def said(*policies: Policy, method: str | None = None, path: str | None = None) -> dict[str, list[str]]:
    snapshot = Snapshot(policies=policies, workloads=(API,), config=MeshConfig(), revision="")
    (reach,) = who_can(snapshot, "shop/api", method=method, path=path)
    assert reach.complete
    return {who: [each.words for each in allowed] for who, allowed in reach.callers}


def policy(name: str, *rules: Rule, action: Action = Action.ALLOW) -> Policy:
    return Policy(namespace="shop", name=name, action=action, rules=rules)


def rule(source: Source, *paths: str, methods: tuple[str, ...] = ()) -> Rule:
    return Rule(sources=(source,), operations=(Operation(paths=paths, methods=methods),) if paths or methods else ())


ALLOWS = policy("a", rule(WEB, "/items*", methods=("GET",)), rule(WEB, "/orders"), rule(OPS))


def test_what_is_allowed_stands_below_those_whom_it_is_allowed_to() -> None:
    assert said(ALLOWS) == {
        "source.namespace in [web]": [
            'request.method in [GET] and request.path in ["/items*"]',
            'request.path in ["/orders"]',
        ],
        "source.namespace in [ops]": ["everything"],
    }


def test_only_what_is_asked_about_counts() -> None:
    assert set(said(ALLOWS, path="/orders")) == {"source.namespace in [ops, web]"}
    assert set(said(ALLOWS, path="/orders/*")) == {"source.namespace in [ops]"}
    assert set(said(ALLOWS, path="/items", method="POST")) == {"source.namespace in [ops]"}


def test_without_a_policy_it_is_anybody_and_with_an_empty_one_nobody() -> None:
    assert said() == {"anybody": ["everything"]}
    assert said(policy("nothing")) == {}


def test_what_is_denied_is_an_exception() -> None:
    (words,) = said(policy("a", rule(WEB)), policy("d", rule(Source(), "/x"), action=Action.DENY))[
        "source.namespace in [web]"
    ][:1]
    assert words == "everything, unless shop/d#0 matches"


def test_connections_without_http_are_reached_as_well() -> None:
    snapshot = Snapshot(policies=(ALLOWS,), workloads=(API,), config=MeshConfig(), revision="")
    (reach,) = who_can(snapshot, "shop/api")
    protocols = {who: {p for each in allowed for p in each.protocols} for who, allowed in reach.callers}
    assert protocols["source.namespace in [ops]"] == {Protocol.HTTP, Protocol.TCP}
    assert protocols["source.namespace in [web]"] == {Protocol.HTTP}
