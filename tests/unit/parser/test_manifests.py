import pytest

from parser.diagnostics import Severity, render
from parser.manifests import Manifests, parse_manifests
from tests.unit.parser.documents import manifests, policy_text

GOOD = policy_text("rules: [{}]")


def found(text: str) -> list[tuple[str, str, int]]:
    return [(each.severity.value, each.code, each.span.line) for each in manifests(text).diagnostics]


def test_no_files_are_no_manifests() -> None:
    assert parse_manifests([]) == Manifests()


def test_files_are_counted_and_other_kinds_are_skipped_and_counted() -> None:
    service = (
        b"apiVersion: v1\nkind: Event\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Secret\n---\nx: 1\n---\nnull\n"
    )
    result = parse_manifests([("a.yaml", service), ("b.yaml", service), ("c.yaml", GOOD.encode()), ("d.yaml", b"")])
    assert result.files == 4
    assert result.skipped == {"Event": 2, "Secret": 2, "no kind": 2}
    assert [policy.id for policy in result.policies] == ["shop/web"]
    assert not result.diagnostics
    assert not result.errors


def test_one_bad_policy_does_not_take_the_others_with_it() -> None:
    text = (
        GOOD
        + "---\n"
        + policy_text("action: NONE", metadata="{name: bad}")
        + "---\n'\n---\n"
        + policy_text("{}", metadata="{name: c}")
    )
    result = manifests(text)
    assert [policy.name for policy in result.policies] == ["web", "c"]
    assert [each.code for each in result.diagnostics] == ["unknown-value", "yaml-syntax"]
    assert result.errors


def test_diagnostics_come_by_file_then_by_place_errors_first() -> None:
    bad = policy_text(
        "action: DENY\nselector: {}\nrules: [{to: [{operation: {methods: ['']}}]}]", metadata="{name: bad}"
    )
    result = parse_manifests([("z.yaml", bad.encode()), ("a.yaml", bad.replace("bad", "bad2").encode())])
    places = [(each.span.file, each.span.line, each.span.column) for each in result.diagnostics]
    assert places == sorted(places, key=lambda place: (place[0] == "a.yaml", *place[1:]))
    assert {place[0] for place in places} == {"a.yaml", "z.yaml"}


def test_a_list_holds_objects_and_other_lists() -> None:
    indented = GOOD.replace("\n", "\n  ")
    text = f"apiVersion: v1\nkind: List\nitems:\n- {indented}\n- kind: List\n  items: [{{kind: Event}}]\n- {{kind: PodList, apiVersion: v1, items: [{{metadata: {{name: p}}}}]}}\n"
    result = manifests(text)
    assert not result.diagnostics
    assert [policy.id for policy in result.policies] == ["shop/web"]
    assert [workload.name for workload in result.workloads] == ["p"]
    assert result.skipped == {"Event": 1}
    # Paths count from the object, wherever it is.
    assert result.policies[0].spans["spec", "rules", 0].line == 8


def test_the_items_of_a_list_of_one_kind_need_not_say_it() -> None:
    text = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicyList\nitems:\n- metadata: {name: a}\n  spec: {rules: [{}]}\n"
    assert [policy.id for policy in manifests(text).policies] == ["default/a"]


@pytest.mark.parametrize("items", ["", "items:", "items: []"])
def test_an_empty_list_is_nothing(items: str) -> None:
    result = manifests(f"apiVersion: v1\nkind: List\n{items}\n")
    assert (result.policies, result.diagnostics) == ((), ())


@pytest.mark.parametrize("items", ["items: x", "items: {a: b}", "items: [x]", "items: [[]]"])
def test_a_list_of_something_else_is_an_error(items: str) -> None:
    assert manifests(f"apiVersion: v1\nkind: List\n{items}\n").errors


@pytest.mark.parametrize("kind", ["RequestAuthentication", "PeerAuthentication"])
def test_m1_only_authorization_policies_can_be_tried_out(kind: str) -> None:
    text = f"apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: a, annotations: {{istio.io/dry-run: 'true'}}}}\n"
    assert ("error", "dry-run-unsupported", 3) in found(text)


def test_two_policies_of_one_name_are_an_error_that_names_both_places() -> None:
    files = [("a.yaml", GOOD.encode()), ("b.yaml", ("\n" + GOOD.replace("/v1", "/v1beta1")).encode())]
    result = parse_manifests(files)
    (problem,) = result.diagnostics
    assert (problem.code, str(problem.span)) == ("duplicate-policy", "b.yaml:4:18")
    assert "a.yaml:3:18" in problem.message
    assert len(result.policies) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apiVersion: security.istio.io/v1\nkind: AuthorisationPolicy\n", ("warning", "unknown-kind", 2)),
        ("apiVersion: security.istio.io/v1\nkind: authorizationpolicy\n", ("warning", "unknown-kind", 2)),
        ("apiVersion: security.istio.io/v1\nkind: Sidecar\n", ("warning", "unknown-kind", 2)),
        ("apiVersion: example.org/v1\nkind: AuthorizationPolicies\n", ("warning", "unknown-kind", 2)),
        ("apiVersion: security.isto.io/v1\nkind: AuthorizationPolicy\n", ("warning", "foreign-kind", 1)),
        ("apiVersion: networking.istio.io/v1\nkind: AuthorizationPolicy\n", ("warning", "foreign-kind", 1)),
        ("kind: AuthorizationPolicy\nmetadata: {name: a}\n", ("error", "missing-version", 1)),
        ("apiVersion: security.istio.io/v1\nmetadata: {name: a}\n", ("error", "missing-kind", 1)),
        ("apiVersion: security.istio.io/v1\nkind: 1\n", ("error", "missing-kind", 2)),
        ("- a\n", ("error", "not-an-object", 1)),
        ("text\n", ("error", "not-an-object", 1)),
    ],
)
def test_what_looks_like_a_policy_gone_wrong_is_not_skipped_in_silence(
    text: str, expected: tuple[str, str, int]
) -> None:
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\n",
        "apiVersion: v1\nkind: NetworkPolicy\n",
        "values: 1\n",
    ],
)
def test_what_is_somebody_elses_is_skipped_in_silence(text: str) -> None:
    assert found(text) == []


def test_the_texts_of_files_with_problems_are_kept_for_showing_them() -> None:
    bad = "\ufeff" + policy_text("action: NONE")
    result = parse_manifests([("good.yaml", GOOD.encode()), ("bad.yaml", bad.encode()), ("latin.yaml", b"a: \xe9\n")])
    assert set(result.texts) == {"bad.yaml", "latin.yaml"}
    shown = [render(each, result.texts[each.span.file]) for each in result.diagnostics]
    assert "    5 |   action: NONE\n      |           ^^^^" in shown[0]
    assert "    1 | a: \ufffd\n      |    ^" in shown[1]


def test_warnings_are_no_errors() -> None:
    result = manifests(policy_text("selector: {}"))
    assert [each.severity for each in result.diagnostics] == [Severity.WARNING]
    assert not result.errors
    assert len(result.policies) == 1
