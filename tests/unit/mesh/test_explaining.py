"""Every step of a request is explained, and the decision that is explained is the one that is made."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from authn import StaticKeys
from authz import semantics
from authz.decision import Decision, Match, Stage, Verdict
from authz.explain import ClauseReport
from authz.mesh_config import MeshConfig
from authz.model import Condition, Operation, Rule, Source
from authz.span import Span
from mesh.answering import Answer, answer_of
from mesh.deciding import Offline, decide, decide_as_sent
from mesh.explaining import AuthorizerAnswer, Explained, Step, TokenOutcome, explain_as_sent, explain_document
from mesh.snapshot import Snapshot
from parser.manifests import parse_manifests
from parser.request import RequestDocument, parse_request
from tests.unit.authn.tokens import AT, jwk, key_set, private_key, token
from tests.unit.authz.vectors import FILES, Case, cases

MESH = """
mtls default in shop strict
mtls api in shop for app=api unset
  but port 9090 permissive
  but port 9091 disable
policy open in shop
  allow everything
policy admins in shop
  deny to request.path in ["/admin/*"] and not request.method in [GET]
policy ext in shop
  custom by opa to request.path in ["/ask"]
policy log in shop
  audit everything
policy trial in shop
  dry-run allow to request.path in ["/nowhere"]
policy far in pay
  allow everything
policy db in shop for app=db
  allow nothing
tokens idp in shop
  accept issuer idp
    keys at https://idp.example/jwks
  or accept issuer other
    found in header X-Token
    keys at https://other.example/jwks
policy readers in data
  allow from request.auth.principal in ["*"]
    and when request.auth.claims[groups] in [readers]
"""
CONFIG = """
extensionProviders:
- {name: opa, envoyExtAuthzHttp: {service: opa.ops.svc.cluster.local, port: 8000}}
"""
WEB = "spiffe://cluster.local/ns/shop/sa/web"
KEY = private_key("P-256", "explained")


@cache
def snapshot(text: str = MESH, config: str = CONFIG) -> Snapshot:
    files = [("mesh.ward", text.encode())]
    if config:
        files.append(("config.yaml", config.encode()))
    found = parse_manifests(files)
    assert not found.errors, found.diagnostics
    return Snapshot(
        policies=found.policies,
        request_authentications=found.request_authentications,
        peer_authentications=found.peer_authentications,
        workloads=found.workloads,
        config=found.mesh_config or MeshConfig(),
        revision="test",
    )


def offline(*allowed_by: str) -> Offline:
    keys = StaticKeys.parse({"https://idp.example/jwks": key_set(jwk(KEY)).encode()})
    return Offline(at=AT, key_sets=keys.key_set, allowed_by=frozenset(allowed_by))


def document(
    request: object = "GET /items", *, principal: str | None = WEB, port: int = 8080, **more: object
) -> RequestDocument:
    source = {} if principal is None else {"source": {"principal": principal}}
    destination = {"namespace": "shop", "labels": {"app": "api"}, "port": port}
    return parse_request({"destination": destination, "request": request, **source, **more})


def explained(request: RequestDocument, *allowed_by: str) -> Explained:
    """The explanation, which must be of the decision that is made."""
    found = explain_document(snapshot(), request, offline(*allowed_by))
    assert found.decision == decide(snapshot(), request, offline(*allowed_by))
    check_answer(found)
    return found


def check_answer(found: Explained) -> Answer:
    """Four lines, and the verdict first."""
    answer = answer_of(found)
    assert answer.headline.startswith(f"{found.decision.verdict.value} {found.decision.status}  ")
    assert len(answer.lines) <= 3
    assert all("\n" not in text for _, text in answer.lines)
    return answer


def lines(found: Explained) -> dict[str, str]:
    return dict(answer_of(found).lines)


# Each step ------------------------------------------------------------------------------------------------------------


def test_plaintext_is_explained_by_the_policy_that_demands_mtls_and_its_place() -> None:
    found = explained(document(principal=None))
    assert found.step is Step.MTLS
    assert found.explanation is None
    assert found.mtls.mode.by == "shop/default"
    assert found.mtls.place == Span("mesh.ward", 2, 22, 2, 28)
    assert lines(found)["decided by"] == "PeerAuthentication shop/default (mesh.ward:2:22): port 8080 takes STRICT"


def test_a_port_that_takes_something_else_is_explained_by_its_own_line() -> None:
    found = explained(document(principal=None, port=9090))
    assert found.step is Step.ALLOW
    assert (found.mtls.mode.mode.value, found.mtls.place) == ("PERMISSIVE", Span("mesh.ward", 4, 3, 4, 27))
    # Where mTLS is off, nobody has an identity, whatever certificate is shown.
    assert explained(document(port=9091)).attributes.identities == ()


def test_a_denial_for_want_of_an_authorizer_names_it() -> None:
    found = explained(document("GET /ask"))
    assert found.step is Step.CUSTOM
    assert [(each.name, each.answer) for each in found.authorizers] == [("opa", AuthorizerAnswer.REFUSES)]
    assert lines(found)["decided by"] == "shop/ext#0 (mesh.ward:11:3), which asks `opa`"
    assert "--allowed-by opa" in lines(found)["to change"]


def test_an_authorizer_that_lets_it_through_or_has_no_say_denies_nothing() -> None:
    allowed = explained(document("GET /ask"), "opa")
    assert (allowed.step, allowed.authorizers[0].answer) == (Step.ALLOW, AuthorizerAnswer.ALLOWS)
    tcp = explained(document(None, connection={"protocol": "tcp"}))
    assert tcp.authorizers[0].answer is AuthorizerAnswer.SILENT


def test_an_authorizer_that_nobody_can_ask_is_explained_by_the_mesh() -> None:
    mesh = snapshot(config="trustDomain: cluster.local\n")
    found = explain_document(mesh, document("GET /ask"), offline())
    assert found.decision == decide(mesh, document("GET /ask"), offline())
    assert found.authorizers[0].answer is AuthorizerAnswer.UNASKED
    assert lines(found)["to change"].startswith("the mesh configuration, so that `opa` can be asked")


def bearer(**claims: object) -> dict[str, object]:
    text = str(token(KEY, {"iss": "idp", "sub": "ann", **claims}, alg="ES256"))
    return {"method": "GET", "path": "/items", "headers": {"authorization": f"Bearer {text}"}}


def test_a_token_that_is_refused_is_explained_by_its_rule_and_never_shown() -> None:
    request = bearer(exp=AT - 1000)
    found = explained(document(request))
    assert found.step is Step.JWT
    assert found.decision.stage is Stage.JWT
    assert [(each.token_rule.id, each.outcome, each.decides) for each in found.tokens] == [
        ("shop/idp#0", TokenOutcome.REFUSED, True),
        ("shop/idp#1", TokenOutcome.ABSENT, False),
    ]
    assert answer_of(found).headline.startswith("DENY 401  Jwt is expired: the token in header `authorization`")
    assert lines(found)["decided by"] == "RequestAuthentication shop/idp#0 (mesh.ward:21:3)"
    headers = request["headers"]
    assert isinstance(headers, dict)
    assert headers["authorization"].split(".")[1] not in str(answer_of(found))


def test_a_token_that_is_accepted_is_explained_and_its_claims_are_what_policies_see() -> None:
    found = explained(document(bearer(groups="readers")))
    assert [each.outcome for each in found.tokens] == [TokenOutcome.ACCEPTED, TokenOutcome.ABSENT]
    assert [each.decides for each in found.tokens] == [True, False]
    assert found.attributes.claims is not None
    assert found.attributes.claims["groups"] == "readers"


def test_two_tokens_of_which_one_is_bad_are_both_explained() -> None:
    request = bearer()
    request["headers"] = {**request["headers"], "x-token": "abc"}  # type: ignore[dict-item]  # it is a mapping
    found = explained(document(request))
    assert [each.outcome for each in found.tokens] == [TokenOutcome.ACCEPTED, TokenOutcome.REFUSED]


def test_claims_in_the_document_are_no_tokens() -> None:
    found = explained(document(jwt={"claims": {"iss": "idp", "sub": "ann"}}))
    assert found.claimed
    assert found.tokens == ()


def test_a_denial_by_a_rule_names_the_clauses_that_matched() -> None:
    found = explained(document("POST /admin/users"))
    assert found.step is Step.DENY
    assert lines(found) == {
        "decided by": "shop/admins#0 (mesh.ward:9:3)",
        "matched": 'request.method is POST, not in [GET]; request.path is "/admin/users", in ["/admin/*"]',
        "to change": "one of these must not hold; then shop/open#0 (mesh.ward:7:3) allows it",
    }


def test_an_allowed_request_is_explained_too() -> None:
    found = explained(document())
    assert (found.step, found.decision.verdict) == (Step.ALLOW, Verdict.ALLOW)
    assert lines(found)["matched"] == "everything: the rule asks for nothing"


def test_what_does_not_apply_says_why() -> None:
    found = explained(document())
    assert {policy.id: reason for policy, reason in found.view.others} == {
        "pay/far": "it is for the namespace pay",
        "data/readers": "it is for the namespace data",
        "shop/db": "it is for app=db, and this has app=api",
    }


def test_a_path_that_the_proxy_refuses_came_to_no_policy() -> None:
    request = document("GET /items/%00")
    found = explain_as_sent(snapshot(), request, offline())
    assert found.decision == decide_as_sent(snapshot(), request, offline())
    assert (found.step, found.decision.status, found.explanation) == (Step.PATH, 400, None)
    check_answer(found)


def test_a_request_as_it_was_sent_is_explained_as_the_proxy_sees_it() -> None:
    request = document("POST /x/../admin//users")
    found = explain_as_sent(snapshot(), request, offline())
    assert found.decision == decide_as_sent(snapshot(), request, offline())
    assert found.attributes.path == "/admin//users"


def test_headers_in_which_tokens_are_looked_for_are_secret() -> None:
    assert {"x-token", "authorization", "cookie"} <= explained(document()).secret_headers


# Every vector ---------------------------------------------------------------------------------------------------------


def vectors() -> Iterator[tuple[Case, Explained]]:
    for file in FILES:
        for case in cases(file):
            asked = Offline(at=0, allowed_by=frozenset(case.allowed_by))
            yield case, explain_document(case.group.snapshot, case.document, asked)


def without_reason(decision: Decision) -> Decision:
    """Who is asked says more than the reference: why an authorizer was not asked."""
    return replace(decision, reason="")


def test_every_vector_is_explained_as_it_is_decided_and_in_four_lines() -> None:
    count = 0
    for case, found in vectors():
        _, decision = case.decisions()
        assert found.decision == decision, case.why
        if found.explanation is not None:
            assert without_reason(found.explanation.decision) == without_reason(decision), case.why
        answer = check_answer(found)
        if decision.match is not None:
            where = dict(answer.lines)["decided by"]
            place = case.group.snapshot.place(decision.match)
            assert where.startswith(f"{decision.match.policy}#{decision.match.rule} ({place})"), case.why
        if decision.verdict is Verdict.DENY:
            assert "to change" in dict(answer.lines), case.why
            count += 1
    assert count > 150


def test_what_a_vector_missed_is_named_and_really_fails() -> None:
    count = 0
    for case, found in vectors():
        nearest = None if found.explanation is None else found.explanation.nearest
        # Before an authorizer has let it through, it is not known what the policies behind it see.
        if nearest is None or found.step is Step.CUSTOM:
            continue
        count += 1
        text = " ".join(lines(found).values())
        assert f"{nearest.match.policy}#{nearest.match.rule} (" in text, case.why
        for clause in nearest.missing:
            assert not holds_alone(clause, nearest.match, found, case), (case.why, clause)
            assert clause.attribute is not None
            assert clause.attribute.key in text
    assert count > 100


def test_what_a_vector_would_have_to_be_like_is_allowed() -> None:
    mended = 0
    hopeless: list[str] = []
    for case, found in vectors():
        if found.decision.verdict is Verdict.ALLOW or found.step not in (Step.DENY, Step.ALLOW):
            continue
        if found.repair is None:
            hopeless.append(case.why)
            continue
        mended += 1
        again = semantics.decide(
            found.view.policies,
            found.repair.attributes,
            trust_domains=found.trust_domains,
            allowed_by=found.repair.allowed_by | frozenset(case.allowed_by),
        )
        assert again.verdict is Verdict.ALLOW, case.why
        assert found.explanation is not None
        assert found.explanation.nearest in (None, found.repair.nearest)
    assert mended > 5 * len(hopeless), hopeless


def test_what_a_vector_was_denied_for_really_holds() -> None:
    for case, found in vectors():
        if found.step is not Step.DENY or found.explanation is None:
            continue
        (stage,) = (each for each in found.explanation.stages if each.stage is Stage.DENY)
        rules = [rule for report in stage.policies for rule in report.rules]
        (rule,) = (rule for rule in rules if rule.match == found.decision.match)
        assert rule.held, case.why
        held = [part for part in (*rule.sources, *rule.operations) if part.held]
        for clause in (*(clause for part in held for clause in part.clauses), *rule.conditions):
            assert holds_alone(clause, rule.match, found, case), (case.why, clause)


def holds_alone(clause: ClauseReport, match: Match, found: Explained, case: Case) -> bool:
    """Whether a rule of nothing but this clause matches, for the reference."""
    (policy,) = (policy for policy in found.view.policies if policy.id == match.policy)
    name = re.sub("([A-Z])", r"_\1", clause.field).lower()
    match clause.path[3]:
        case "from":
            rule = Rule(sources=(Source(**{name: clause.values}),))
        case "to":
            rule = Rule(operations=(Operation(**{name: clause.values}),))
        case _:
            lists = {"not_values" if clause.negated else "values": clause.values}
            rule = Rule(conditions=(Condition(key=clause.field, **lists),))
    alone = replace(policy, rules=(rule,))
    trust_domains = case.group.config.trust_domains
    return semantics.decide((alone,), found.attributes, trust_domains=trust_domains).match is not None


def test_a_principal_that_stands_for_other_trust_domains_says_which() -> None:
    mesh = snapshot(
        'policy p in shop\n  allow from source.principal in ["cluster.local/ns/shop/sa/web"]\n',
        "trustDomain: td.example\n",
    )
    found = explain_document(mesh, document(), offline())
    assert lines(found)["to change"] == (
        f'source.principal is "{WEB}", must be in ["cluster.local/ns/shop/sa/web"], '
        'where `cluster.local` stands for "td.example"'
    )


def test_a_rule_that_is_left_out_says_why() -> None:
    mesh = snapshot('policy p in shop\n  allow to request.path in ["/x"]\n', "")
    found = explain_document(mesh, document(None, connection={"protocol": "tcp"}), offline())
    assert lines(found) == {
        "decided by": "no rule: the only ALLOW rule that applies does not match",
        "nearest": "none: shop/p#0 (mesh.ward:2:3) is left out, '/x' is only known for HTTP",
        "to change": "the policies: no rule is left that could allow this",
    }


def test_where_nothing_is_allowed_that_is_said() -> None:
    mesh = snapshot("policy p in shop\n  allow nothing\npolicy q in shop\n  allow nothing\n", "")
    found = explain_document(mesh, document(), offline())
    assert lines(found)["decided by"] == "shop/p (mesh.ward:1:1) has no rules, so it allows nothing, nor 1 other"


def test_behind_a_denial_it_is_said_what_else_denies_and_what_would_allow() -> None:
    mesh = snapshot(
        "policy d in shop\n  deny from source.namespace in [shop]\n  or deny to request.method in [GET]\n"
        'policy a in shop\n  allow to request.path in ["/x"]\n',
        "",
    )
    found = explain_document(mesh, document(), offline())
    assert lines(found)["decided by"] == "shop/d#0 (mesh.ward:2:3), and 1 other rule matches"
    assert lines(found)["to change"] == (
        "this must not hold, nor the others; "
        'and then for shop/a#0 (mesh.ward:5:3): request.path is "/items", must be in ["/x"]'
    )


def test_of_a_rule_with_several_sources_that_match_all_must_fail() -> None:
    mesh = snapshot("policy d in shop\n  deny from (source.namespace in [shop] or not source.ip in [10.0.0.1])\n", "")
    found = explain_document(mesh, document(), offline())
    assert lines(found)["to change"] == (
        "this must not hold, nor what else matches of the rule; then it is allowed, for no policy says what is"
    )
