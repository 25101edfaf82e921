"""What is denied is tried again, written otherwise, and what gets through is named."""

from dataclasses import replace
from pathlib import Path

import pytest

from authz.decision import Decision, Verdict
from authz.tree import DecisionTree
from mesh.deciding import TreeDecides
from mesh.testing.evasions import Evading, kinds_of
from mesh.testing.mutations import KINDS, MUTATIONS
from mesh.testing.running import Case, Running
from parser.policy_tests import PolicyTest
from parser.request import RequestDocument
from tests.unit.mesh.testing.suites import HEAD, POLICIES, load, only, run

DENIED = "tests: [{{name: a, to: api, request: {request}, from: web, allow: [], evasions: {evasions}}}]"


def through(tmp_path: Path, evasions: str, *, request: str = "GET /items/internal/x", head: str = HEAD) -> list[str]:
    result = run(tmp_path, DENIED.format(request=request, evasions=evasions), head=head)
    assert result.mutants
    return [each.kind for failed in result.failed for each in failed.through]


def test_every_kind_has_a_name() -> None:
    assert len(KINDS) == len(MUTATIONS)
    assert {"slash-twice", "case-of-the-headers-name", "envoys-own-headers"} <= KINDS.keys()


def test_what_the_mesh_normalizes_gets_nobody_past_a_deny(tmp_path: Path) -> None:
    assert through(tmp_path, "[slash-twice, step-in-place, step-back, encoded-letter, encoded-dots, backslash]") == []


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("NONE", ["slash-twice", "encoded-letter", "encoded-slash", "parameters"]),
        ("BASE", ["slash-twice", "encoded-slash", "parameters"]),
        ("MERGE_SLASHES", ["encoded-slash", "parameters"]),
        ("DECODE_AND_MERGE_SLASHES", ["parameters"]),
    ],
)
def test_what_it_does_not_normalize_does(tmp_path: Path, option: str, expected: list[str]) -> None:
    head = HEAD.replace("MERGE_SLASHES", option)
    assert through(tmp_path, "[slash-twice, encoded-letter, encoded-slash, parameters]", head=head) == expected


def test_a_way_through_says_how_and_by_what_and_why(tmp_path: Path) -> None:
    assert not run(tmp_path, DENIED.format(request="GET /items/internal", evasions="[slash-at-the-end, query]")).failed
    failed = only(run(tmp_path, DENIED.format(request="GET /items/internal/x", evasions="[parameters]")))
    assert failed.problems == ("written otherwise it is allowed, in 1 of 1 ways",)
    (way,) = failed.through
    assert way.curl == "curl --path-as-is 'http://api.shop:8080/items/internal;/x'"
    assert way.why == "`;params` are part of the path"
    assert way.decided.startswith("an ALLOW rule matches: shop/read#0 (")


def test_all_are_all_but_those_that_are_spared(tmp_path: Path) -> None:
    (test,) = load(tmp_path, DENIED.format(request="GET /", evasions="all")).tests.tests
    assert kinds_of(test) == tuple(KINDS)
    (test,) = load(tmp_path, DENIED.format(request="GET /", evasions="{except: [query, fragment]}")).tests.tests
    assert set(KINDS) - set(kinds_of(test)) == {"query", "fragment"}


def test_nothing_is_tried_of_what_is_allowed(tmp_path: Path) -> None:
    result = run(tmp_path, "tests: [{name: a, to: api, request: GET /items, from: web, allow: [web], evasions: all}]")
    assert (result.mutants, result.failed) == (0, ())


def test_a_host_is_written_otherwise_only_where_there_is_one(tmp_path: Path) -> None:
    policies = POLICIES.replace("paths: [/items/internal, /items/internal/*]", "hosts: [internal.shop]")
    evasions = "[port-behind-the-host, dot-behind-the-host, case-of-the-host]"
    asked = DENIED.format(request="{method: GET, path: /items, host: internal.shop}", evasions=evasions)
    failed = only(run(tmp_path, asked, policies=policies))
    assert [way.kind for way in failed.through] == ["port-behind-the-host", "dot-behind-the-host"]
    asked = DENIED.format(request="GET /other", evasions=evasions)
    assert run(tmp_path, asked, policies=policies).mutants == 0


def test_headers_are_written_otherwise_as_the_policies_look_at_them(tmp_path: Path) -> None:
    policies = POLICIES.replace(
        "to: [{operation: {paths: [/items/internal, /items/internal/*]}}]",
        'when: [{key: "request.headers[x-role]", values: [guest]}]',
    )
    asked = DENIED.format(
        request="{method: GET, path: /items, headers: {x-role: guest}}", evasions="[repeated-header, joined-header]"
    )
    failed = only(run(tmp_path, asked, policies=policies))
    assert [way.kind for way in failed.through] == ["joined-header"]
    assert "-H 'x-role: guest,other'" in failed.through[0].curl


def test_a_connection_has_nothing_but_its_server_name(tmp_path: Path) -> None:
    policies = """
    apiVersion: security.istio.io/v1
    kind: AuthorizationPolicy
    metadata: {name: sni, namespace: shop}
    spec: {action: DENY, rules: [{when: [{key: connection.sni, values: [db.shop]}]}]}
    """
    test = "tests: [{name: a, to: api, connection: {protocol: tcp, sni: db.shop}, from: web, allow: [], evasions: all}]"
    assert not run(tmp_path, test, policies=policies).failed


def test_a_mutant_that_is_decided_by_a_fault_would_be_found(tmp_path: Path) -> None:
    suite = load(tmp_path, DENIED.format(request="GET /items/internal/x", evasions="[slash-twice]"))
    running = Running(suite, at=0)
    (case,) = running.cases()
    assert list(Evading(running).through(case)) == []

    class Faulty(Running):
        """Lets through whatever is not written as the case is."""

        def decide(
            self, case: Case, document: RequestDocument, tree_decides: TreeDecides = DecisionTree.decide
        ) -> Decision:
            decision = super().decide(case, document, tree_decides)
            assert isinstance(case.asked, RequestDocument)
            changed = document.attributes.path != case.asked.attributes.path
            return replace(decision, verdict=Verdict.ALLOW) if changed else decision

    faulty = Faulty(suite, at=0)
    (case,) = faulty.cases()
    # Two slashes become one again, so that nothing has changed; a query is another path.
    assert list(Evading(faulty).through(case)) == []
    other: PolicyTest = load(tmp_path, DENIED.format(request="GET /items/internal/x", evasions="[query]")).tests.tests[
        0
    ]
    assert [evaded.kind for evaded in Evading(faulty).through(case._replace(test=other))] == ["query"]
