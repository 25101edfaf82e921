"""What two versions decide differently, as it is told."""

from authz.extension_provider import GrpcProvider
from authz.invariants import Assumed
from authz.mesh_config import MeshConfig
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.peer_authentication import MtlsMode, PeerAuthentication
from authz.workload import Workload
from mesh.differences import Differences, differences
from mesh.snapshot import Snapshot

API, WEB = (Workload(namespace="shop", name=name, labels={"app": name}) for name in ("api", "web"))
CONFIG = MeshConfig(extension_providers=(GrpcProvider(name="opa", service="opa.example", port=9000),))


def rule(*paths: str, methods: tuple[str, ...] = ()) -> Rule:
    return Rule(operations=(Operation(paths=paths, methods=methods),))


def policy(name: str, *rules: Rule, action: Action = Action.ALLOW, app: str | None = None) -> Policy:
    selector = None if app is None else {"app": app}
    return Policy(namespace="shop", name=name, action=action, rules=rules, selector=selector)


def told(
    old: tuple[Policy, ...],
    new: tuple[Policy, ...],
    *,
    before: PeerAuthentication | None = None,
    now: PeerAuthentication | None = None,
) -> Differences:
    versions = [
        Snapshot(
            policies=policies,
            workloads=(API, WEB),
            config=CONFIG,
            revision="",
            peer_authentications=() if peer is None else (peer,),
        )
        for policies, peer in ((old, before), (new, now))
    ]
    return differences(*versions, assumed=Assumed())


def lines(found: Differences) -> list[str]:
    return [
        f"{', '.join(changed.workloads)}: {region.change.value}: {region.headline}"
        for changed in found.changed
        for region in changed.regions
    ]


def test_workloads_with_the_same_difference_stand_together() -> None:
    found = told((policy("x", rule("/a")),), (policy("x", rule("/a", "/b")),))
    assert lines(found) == [
        'shop/api, shop/web: newly allowed: request.path in ["/a", "/b"], unless shop/x#0 matched before'
    ]
    assert not found.same


def test_workloads_with_the_same_difference_by_other_policies_stand_together() -> None:
    found = told(
        (policy("x", rule("/a")),),
        (policy("x", rule("/a")), policy("y", rule("/b"), app="api"), policy("z", rule("/b"), app="web")),
    )
    assert lines(found) == ['shop/api, shop/web: newly allowed: request.path in ["/b"]']


def test_only_the_workload_that_differs_is_named() -> None:
    found = told((policy("x", rule("/a")),), (policy("x", rule("/a")), policy("y", rule("/b"), app="api")))
    assert lines(found) == ['shop/api: newly allowed: request.path in ["/b"]']
    assert found.same == ("shop/web",)
    (changed,) = found.changed
    (region,) = changed.regions
    assert region.shown.before is not None
    assert region.shown.before.words == "DENY: no ALLOW rule matches"
    assert region.shown.decided.words == "ALLOW by shop/y#0"


def test_what_reads_the_same_over_http_and_tcp_is_told_once() -> None:
    shop = Rule(sources=(Source(namespaces=("shop",)),))
    found = told((policy("x"),), (policy("x", shop),))
    assert lines(found) == ["shop/api, shop/web: newly allowed: source.namespace in [shop]"]
    (region,) = found.changed[0].regions
    assert [protocol.value for protocol in region.protocols] == ["http", "tcp"]


def test_a_narrower_rule_is_less_access() -> None:
    found = told((policy("x", rule("/a*")),), (policy("x", rule("/a*", methods=("GET",))),))
    assert lines(found) == ['shop/api, shop/web: newly denied: request.path in ["/a*"], unless shop/x#0 matches']


def test_many_exceptions_are_counted() -> None:
    denials = tuple(policy(f"d{n}", rule(f"/a/{n}"), action=Action.DENY) for n in range(9))
    (line,) = lines(told((policy("x", rule("/z")), *denials), (policy("x", rule("/z"), rule("/a/*")), *denials)))
    assert line.endswith("unless shop/d0#0 or shop/d1#0 or shop/d2#0 or one of 6 more rules matches")


def test_an_authorizer_that_lets_it_through_does_not_hide_what_is_allowed_now() -> None:
    custom = Policy(namespace="shop", name="c", action=Action.CUSTOM, provider="opa", rules=(rule("/a"),))
    found = told((policy("x", rule("/b")), custom), (policy("x", rule("/b"), rule("/a")), custom))
    (line,) = lines(found)
    assert 'request.path in ["/a"]' in line
    assert "opa lets it through" in line
    assert found.changed[0].regions[0].shown.allowed_by == ("opa",)


def test_what_changes_with_mtls_is_said_in_words() -> None:
    strict, permissive = (
        PeerAuthentication(namespace="shop", name="m", mode=mode) for mode in (MtlsMode.STRICT, MtlsMode.PERMISSIVE)
    )
    found = told((policy("x", rule("/a")),), (policy("x", rule("/a")),), before=strict, now=permissive)
    assert lines(found) == [
        "shop/api, shop/web: newly allowed: the caller shows no identity (plaintext), as far as a rule allows it"
    ]


def test_policies_that_moved_or_were_renamed_are_no_change() -> None:
    old = (policy("a", rule("/a"), rule("/b")), policy("d", rule("/c"), action=Action.DENY))
    new = (policy("e", rule("/c"), action=Action.DENY), policy("b", rule("/b")), policy("z", rule("/a")))
    found = told(old, new)
    assert not found.changed
    assert set(found.same) == {"shop/api", "shop/web"}


def test_a_header_is_named_as_conditions_name_it() -> None:
    condition = Condition(key="request.headers[x-role]", values=("admin",), not_values=("adm*",))
    other = Condition(key="request.headers[x-role]", values=("admin",))
    found = told((policy("x", Rule(conditions=(condition,))),), (policy("x", Rule(conditions=(other,))),))
    assert all("request.headers[x-role] in [admin]" in line for line in lines(found))
