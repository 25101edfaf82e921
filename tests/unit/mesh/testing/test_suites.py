"""What a file of tests names must be there; what is not is said where it is named."""

from pathlib import Path

import pytest

from mesh.errors import InvalidManifestsError
from mesh.testing.suites import Loading
from parser.diagnostics import PolicySyntaxError
from tests.unit.mesh.testing.suites import HEAD, POLICIES, load, run

TEST = "tests: [{name: a, to: api, request: GET /items, allow: [web]}]"

MISSING = [
    ("policies.yaml", "policy.yaml", "no-such-file", "no file matches `policy.yaml`", None),
    ("to: api", "to: apj", "unknown-name", "there is no workload `apj`", "did you mean `api`?"),
    ("to: api", "to: shop/api", "unknown-name", None, None),
    ("to: api", "to: shop/apj", "unknown-name", "there is no workload `shop/apj`", "did you mean `shop/api`?"),
    ("[web]", "[web], because: shop/reed#0", "unknown-name", "there is no policy `shop/reed`", "did you mean `shop/read`?"),
    ("[web]", "[web], because: shop/read#2", "unknown-name", "there is no rule `shop/read#2`", "`shop/read` has 2 rules, and the first is #0"),
    ("[web]", "[web], because: shop/closed#1", "unknown-name", "there is no rule `shop/closed#1`", "`shop/closed` has 1 rule, and the first is #0"),
    ("allow: [web]", "expect: {nearest: shop/none#0}", "unknown-name", "there is no policy `shop/none`", None),
    ("[web]", "[web], evasions: [slash-twise]", "unknown-name", "there is no evasion `slash-twise`", "did you mean `slash-twice`?"),
    ("[web]", "[web], evasions: {except: [all]}", "unknown-name", "there is no evasion `all`", None),
    ("[web]", "[web], allowedBy: opa", "unknown-name", "there is no external authorizer `opa`", "known are: none"),
    ("[web]", "[], because: shop/read#0", "bad-test", "`shop/read#0` allows, and nobody may in this test", "name who may in `allow`, or a rule that denies"),
    ("[web]", "all, because: shop/closed#0", "bad-test", "`shop/closed#0` denies, and everyone may in this test", "name a rule that allows"),
    ("allow: [web]}]", "allow: [web]}]\ncoverage: {routes: {openapi: api.yaml}}", "no-such-file", "there is no file `api.yaml`", None),
    ("allow: [web]}]", "allow: [web]}]\ncomplete: {workload: db}", "unknown-name", "there is no workload `db`", None),
]  # fmt: skip


@pytest.mark.parametrize("case", MISSING, ids=[case[1] for case in MISSING])
def test_what_is_not_there_is_said_where_it_is_named(
    tmp_path: Path, case: tuple[str, str, str, str | None, str | None]
) -> None:
    old, new, code, message, remedy = case
    head = HEAD.replace(old, new) if old in HEAD and old not in TEST else HEAD
    test = TEST.replace(old, new)
    if message is None:
        load(tmp_path, test, head=head)
        return
    with pytest.raises(PolicySyntaxError) as caught:
        load(tmp_path, test, head=head)
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.message) == (code, message)
    if remedy is not None:
        assert problem.help == remedy
    assert problem.span.file == "t.authz-test.yaml"


def test_policies_may_be_patterns_and_directories_and_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one.yaml").write_text(POLICIES)
    (tmp_path / "t").mkdir()
    for pattern in ("../a", "../a/**/*.yaml", "../a/b/one.yaml", str(tmp_path / "a")):
        head = HEAD.replace("policies.yaml", f'"{pattern}"')
        suite = Loading().load("t", f"{head}{TEST}".encode(), directory=tmp_path / "t")
        assert {policy.id for policy in suite.snapshot.policies} == {"shop/read", "shop/closed"}


def test_files_of_tests_are_no_manifests(tmp_path: Path) -> None:
    (tmp_path / "own.authz-test.yaml").write_text("policies: [a]\n")
    suite = load(tmp_path, TEST, head=HEAD.replace("policies.yaml", '"*.yaml"'))
    assert suite.files == (str(tmp_path / "policies.yaml"),)


def test_manifests_with_errors_are_none_to_test(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifestsError, match="1 error in the manifests"):
        load(tmp_path, TEST, policies=POLICIES.replace("action: DENY", "action: DNY"))


def test_files_without_a_policy_are_none_to_test(tmp_path: Path) -> None:
    with pytest.raises(PolicySyntaxError, match="there is no policy in these files"):
        load(tmp_path, TEST, policies="apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")


WORKLOADS = """
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {containers: [{name: a, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: []}
"""


def test_workloads_of_the_manifests_have_their_own_names(tmp_path: Path) -> None:
    tests = """
tests:
- {name: a, to: shop/api, request: GET /items, allow: [web]}
- {name: b, to: shop/db, request: GET /items, allow: all}
"""
    head = HEAD.replace("workloads:\n  api: {namespace: shop, labels: {app: api}, port: 8080}\n", "")
    assert not run(tmp_path, tests, head=head, policies=f"{POLICIES}---{WORKLOADS}").failed


def test_what_the_file_says_of_the_mesh_wins_over_the_manifests(tmp_path: Path) -> None:
    mesh = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata: {mesh: '{trustDomain: td.example, pathNormalization: {normalization: NONE}}'}\n"
    snapshot = load(tmp_path, TEST, policies=POLICIES + mesh).snapshot
    assert (snapshot.config.trust_domain, snapshot.config.path_normalization.value) == ("td.example", "MERGE_SLASHES")


@pytest.mark.parametrize(
    ("declared", "given", "conflict"),
    [("STRICT", "STRICT", False), ("STRICT", "PERMISSIVE", True), ("UNSET", "STRICT", False)],
)
def test_the_file_and_the_manifests_agree_on_mtls(tmp_path: Path, declared: str, given: str, conflict: bool) -> None:  # noqa: FBT001  # a row
    peer = (
        "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\n"
        f"metadata: {{name: default, namespace: istio-system}}\nspec: {{mtls: {{mode: {declared}}}}}\n"
    )
    head = HEAD.replace("mesh: {", f"mesh: {{mtls: {given}, ")
    if not conflict:
        strict = "tests: [{name: a, to: api, request: GET /, from: anon, expect: {reason: mtls}}]"
        assert not run(tmp_path, strict, head=head, policies=POLICIES + peer).failed
        return
    with pytest.raises(
        PolicySyntaxError, match="PeerAuthentication istio-system/default says STRICT for the whole mesh"
    ):
        load(tmp_path, TEST, head=head, policies=POLICIES + peer)
