"""Files of invariants: what is wrong with one is said with its place."""

import json
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from authz.mesh_config import PathNormalization
from mesh.errors import InvalidManifestsError
from mesh.proving.loading import load_claims
from mesh.proving.proofs import Status
from mesh.proving.results import run_claims
from mesh.testing.results import run_suite
from mesh.testing.suites import Loading
from parser.diagnostics import Diagnostic, PolicySyntaxError
from parser.excerpt import excerpt

POLICIES = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec: {template: {metadata: {labels: {app: api}}, spec: {containers: [{ports: [{containerPort: 8080}]}]}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: read, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET]}}]
"""

DENY_DELETE = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all, namespace: shop}
spec: {selector: {matchLabels: {app: api}}, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: delete, namespace: shop}
spec: {selector: {matchLabels: {app: api}}, action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}
"""

HEAD = "policies: [p.yaml]\ninvariants:\n"


def never(text: str) -> str:
    return f"{HEAD}- id: A\n  never: {text}\n"


WRONG = [
    ("", "bad-proof-file", "no document in this file", None),
    ("a: 1\n---\nb: 2\n", "bad-proof-file", "more than one document in this file", None),
    ("invariants: [{id: A, never: {from: {namespaces: [x]}}}]", "missing-policies", "`policies` is missing", None),
    ("policies: []\ninvariants: [{id: A, never: {from: {namespaces: [x]}}}]", "missing-policies", "`policies` is empty", "[]"),
    ("policies: [p.yaml]", "no-invariants", "there are no `invariants`", None),
    (f"{HEAD}- id: A", "bad-invariant", "an invariant claims nothing", None),
    (f"{HEAD}- never: {{from: {{namespaces: [x]}}}}", "missing-id", "an invariant has no `id`", None),
    ("policies: [q.yaml]\ninvariants: [{id: A, never: {from: {namespaces: [x]}}}]", "no-such-file", "no file matches `q.yaml`", "q.yaml"),
    ("policys: [p.yaml]", "unknown-field", "unknown field `policys` in `the file`", "policys"),
    (never("{form: {namespaces: [x]}}"), "unknown-field", "unknown field `form` in `never`", "form"),
    (never("{from: {namespace: [x]}}"), "unknown-field", "unknown field `namespace` in `from`", "namespace"),
    (never("{to: {path: [/x]}}"), "unknown-field", "unknown field `path` in `to`", "path"),
    (never("{from: {}}"), "says-nothing", "`from` says nothing", "{}"),
    (never("{}"), "says-nothing", "`never` says nothing", "{}"),
    (never("{from: {namespaces: []}}"), "empty-list", "`namespaces` is empty", "[]"),
    (never("{from: {serviceAccounts: [web]}}"), "bad-value", "`web` is no service account", "[web]"),
    (never("{from: {ipBlocks: [10.0.0.0/99]}}"), "bad-value", "10.0.0.0/99", "[10.0.0.0/99]"),
    (never("{from: {when: [{key: source.namespac, values: [x]}]}}"), "bad-condition", "source.namespac", "source.namespac"),
    (never("{from: {when: [{key: source.namespace}]}}"), "bad-condition", "`source.namespace` is asked for nothing", None),
    (never("{from: {when: [{key: source.serviceAccount, values: [web]}]}}"), "bad-value", "`web` is no service account", None),
    (never("{to: {workload: api}}"), "bad-workload", "`api` is no workload", "api"),
    (never("{to: {workload: shop/apj}}"), "unknown-name", "there is no workload `shop/apj`", "shop/apj"),
    (never("{to: {workload: [shop/*, shop/web]}}"), "unknown-name", "there is no workload `shop/web`", "[shop/*, shop/web]"),
    (never("{to: {not: {workload: shop/apj}}}"), "unknown-name", "there is no workload `shop/apj`", "shop/apj"),
    (never("{from: {anonymous: maybe}}"), "wrong-type", "expected true or false in `anonymous`", "maybe"),
    (f"{HEAD}- {{id: A, only: {{to: {{workload: shop/api}}}}}}", "missing-from", "`only` says not who", None),
    (f"{HEAD}- {{id: A, disjoint: [{{tenant: namespace shop}}]}}", "bad-invariant", "`disjoint` needs two tenants", None),
    (f"{HEAD}- {{id: A, disjoint: [{{tenant: shop}}, {{tenant: namespace x}}]}}", "bad-tenant", "`shop` is no tenant", None),
    (f"{HEAD}- {{id: A, disjoint: [{{tenant: namespace shop}}, {{tenant: namespace shap}}]}}", "unknown-name", "there is no workload in the namespace `shap`", None),
    (f"{HEAD}- {{id: A, same-as: {{}}}}", "missing-baseline", "`baseline` is missing", None),
    (f"{HEAD}- {{id: A, same-as: {{baseline: old}}}}", "bad-baseline", "cannot read", "old"),
    (f"{HEAD}- {{id: A, same-as: {{baseline: 'git:nope'}}}}", "bad-baseline", "no revision `nope`", "'git:nope'"),
    (f"{HEAD}- {{id: A, same-as: {{baseline: 'git:'}}}}", "bad-baseline", "no revision ``", "'git:'"),
    (f"{HEAD}- {{id: A, same-as: {{baseline: 'git:--all'}}}}", "bad-baseline", "no revision `--all`", "'git:--all'"),
    (f"{HEAD}- {{id: A, no-new-access: {{baseline: 'git:HEAD', except: [{{to: {{workload: shop/apj}}}}]}}}}", "unknown-name", "there is no workload `shop/apj`", "shop/apj"),
    (f"{HEAD}- {{id: A, every-rule: {{}}}}", "bad-invariant", "`every-rule` claims nothing", "{}"),
    (f"{HEAD}- {{id: A, stable-under: [host-cas]}}", "unknown-value", "unknown value `host-cas`", "host-cas"),
    (f"{HEAD}- {{id: A, never: {{from: {{namespaces: [x]}}}}, always: {{to: {{methods: [GET]}}}}}}", "bad-invariant", "both `never` and `always`", None),
    (f"assume: [mtls]\n{never('{from: {namespaces: [x]}}')}", "unknown-value", "unknown value `mtls` of `assume`", "mtls"),
    (f"mesh: {{trustDomian: x}}\n{never('{from: {namespaces: [x]}}')}", "unknown-field", "unknown field `trustDomian`", "trustDomian"),
    (f"mesh: {{pathNormalization: MERGE}}\n{never('{from: {namespaces: [x]}}')}", "unknown-value", "unknown value `MERGE`", "MERGE"),
    (f"mesh: {{target: istio-2}}\n{never('{from: {namespaces: [x]}}')}", "unknown-release", "nothing here decides as `istio-2` does", "istio-2"),
    (f"{HEAD}- {{id: A, never: {{from: {{namespaces: [x]}}}}}}\n- {{id: A, never: {{from: {{namespaces: [x]}}}}}}", "duplicate-id", "two invariants are called `A`", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    (root / "p.yaml").write_text(POLICIES)
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(root), *command], check=True)  # noqa: S603, S607  # our own arguments
    return root


@pytest.mark.parametrize(("text", "code", "message", "pointed_at"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_said_at_its_place(
    repository: Path, text: str, code: str, message: str, pointed_at: str | None
) -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        load_claims("x.authz-proof.yaml", text.encode(), directory=repository)
    found = caught.value.diagnostics
    assert any(code == each.code and message in each.message for each in found), found
    (said, *_) = [each for each in found if each.code == code]
    if pointed_at is not None:
        assert under_the_caret(text, said) == pointed_at


def under_the_caret(text: str, diagnostic: Diagnostic) -> str:
    shown = excerpt(text, diagnostic.span)
    assert shown is not None
    return shown.line[shown.indent : shown.indent + shown.width]


def test_what_the_file_states_of_the_mesh_wins_and_the_rest_is_the_manifests(tmp_path: Path) -> None:
    mesh = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'trustDomain: example.org'}\n"
    (tmp_path / "p.yaml").write_text(POLICIES + mesh)
    text = f"mesh: {{pathNormalization: NONE}}\n{never('{from: {namespaces: [x]}}')}"
    claims = load_claims("x", text.encode(), directory=tmp_path)
    assert claims.snapshot.config.path_normalization is PathNormalization.NONE
    assert claims.snapshot.config.trust_domain == "example.org"


def test_mtls_is_that_of_the_whole_mesh(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        POLICIES.replace("  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]\n    to:", "  - to:")
    )
    claim = "{from: {plaintext: true}, to: {workload: shop/api}}"
    for mode, status in (("STRICT", Status.PROVED), ("PERMISSIVE", Status.BROKEN)):
        claims = load_claims("x", f"mesh: {{mtls: {mode}}}\n{never(claim)}".encode(), directory=tmp_path)
        assert run_claims([claims])[0].results[0].status is status


def test_errors_in_another_version_are_shown_with_their_text(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICIES)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "p.yaml").write_text(POLICIES.replace("principals", "princpals"))
    text = f"{HEAD}- {{id: A, same-as: {{baseline: old}}}}"
    with pytest.raises(InvalidManifestsError) as caught:
        load_claims("x", text.encode(), directory=tmp_path)
    assert caught.value.diagnostics[0].span.file in caught.value.sources


def test_that_the_versions_have_another_mesh_configuration_is_said(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICIES)
    (tmp_path / "old").mkdir()
    mesh = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'trustDomain: example.org'}\n"
    (tmp_path / "old" / "p.yaml").write_text(POLICIES + mesh)
    claims = load_claims("x", f"{HEAD}- {{id: A, same-as: {{baseline: old}}}}".encode(), directory=tmp_path)
    assert any("trustDomain was example.org, and is cluster.local" in each for each in claims.assumptions)
    (result,) = run_claims([claims])[0].results
    # `cluster.local` stands for the trust domain, so that before it was another caller who was allowed.
    assert result.status is Status.BROKEN


CASES = dedent("""
    policies: [p.yaml]
    assume: [istio-identities, {hosts: [shop.example.com]}]
    invariants:
    - id: NEVER
      never: {from: {not: {principals: [cluster.local/ns/shop/sa/web]}}, to: {workload: shop/*}}
    - id: EMPTY
      never: {to: {workload: other/*}}
    - id: EMPTY-ON-PURPOSE
      may-be-empty: true
      never: {to: {workload: other/*}}
    - id: ALWAYS
      because: pages must come up
      always: {to: {workload: shop/api, methods: [GET]}}
    - id: ONLY
      only: {from: {serviceAccounts: [shop/web]}, to: {workload: shop/api}}
    - id: SAME
      same-as: {baseline: 'git:HEAD'}
    - id: SPELLING
      stable-under: [host-case]
    - id: LIVE
      every-rule: {reachable: true, not-shadowed: true}
""")


def test_each_invariant_comes_to_what_it_is(repository: Path) -> None:
    claims = load_claims("x", CASES.encode(), directory=repository)
    for jobs in (1, 3):
        results = {result.id: result for result in run_claims([claims], jobs=jobs)[0].results}
        assert {name: result.status.value for name, result in results.items()} == {
            "NEVER": "PROVED",
            "EMPTY": "VACUOUS",
            "EMPTY-ON-PURPOSE": "PROVED",
            "ALWAYS": "BROKEN",
            "ONLY": "PROVED",
            "SAME": "PROVED",
            "SPELLING": "PROVED",
            "LIVE": "PROVED",
        }
        assert results["ALWAYS"].because == "pages must come up"
        shown = results["ALWAYS"].shown
        assert shown is not None
        assert '"host": "shop.example.com"' in shown.json
    assert any("istio-identities" in each for each in claims.assumptions)


def test_a_rule_that_decides_nothing_is_named_with_what_covers_it(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(
        POLICIES
        + "  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]\n    to: [{operation: {methods: [GET], paths: [/x]}}]\n"
    )
    text = f"{HEAD}- {{id: A, every-rule: {{not-shadowed: true}}}}"
    (result,) = run_claims([load_claims("x", text.encode(), directory=tmp_path)])[0].results
    assert result.status is Status.BROKEN
    (rule,) = result.rules
    assert (rule.name, rule.covered_by) == ("shop/read#1", ("shop/read#0",))
    assert rule.place is not None
    assert rule.place.line == 15


def test_a_request_that_is_allowed_as_it_is_spelt_otherwise_is_shown_both_ways(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICIES + DENY_DELETE)
    text = f"{HEAD}- {{id: A, stable-under: [method-case]}}"
    (result,) = run_claims([load_claims("x", text.encode(), directory=tmp_path)])[0].results
    assert result.status is Status.BROKEN
    assert result.shown is not None
    assert result.respelt is not None
    assert result.shown.decided.words.startswith("DENY")
    assert result.respelt.decided.words.startswith("ALLOW")
    methods = [json.loads(each.json)["request"]["method"] for each in (result.shown, result.respelt)]
    assert methods[0] != methods[1]
    assert methods[0].upper() == methods[1].upper()


@pytest.mark.parametrize(
    "claim",
    [
        "never: {from: {principals: [cluster.local/ns/shop/sa/web]}, to: {workload: shop/api}}",
        "always: {to: {workload: shop/api, methods: [POST], hosts: [shop.example.com]}}",
        "only: {from: {plaintext: true}, to: {workload: shop/api, methods: [GET], when: [{key: 'request.headers[x-role]', values: [a]}]}}",
        "same-as: {baseline: old}",
        "no-new-access: {baseline: old}",
        "stable-under: [method-case]",
    ],
)
def test_the_policy_test_that_is_shown_fails(tmp_path: Path, claim: str) -> None:
    (tmp_path / "p.yaml").write_text(POLICIES)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "p.yaml").write_text(POLICIES.replace("GET", "PUT"))
    if "stable" in claim:
        (tmp_path / "p.yaml").write_text(POLICIES + DENY_DELETE)
    (result,) = run_claims([load_claims("x", f"{HEAD}- {{id: A, {claim}}}".encode(), directory=tmp_path)])[0].results
    assert result.status is Status.BROKEN
    assert result.test is not None
    suite = Loading().load("t", result.test.encode(), directory=tmp_path)
    ran = run_suite(suite, at=0, wanted=frozenset())
    assert (ran.cases, len(ran.failed)) == (1, 1), result.test


def test_where_no_workloads_are_declared_the_policy_test_declares_one(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICIES.partition("---")[2])
    text = never("{from: {principals: [cluster.local/ns/shop/sa/web]}, to: {workload: shop/app=api}}")
    (result,) = run_claims([load_claims("x", text.encode(), directory=tmp_path)])[0].results
    assert result.test is not None
    suite = Loading().load("t", result.test.encode(), directory=tmp_path)
    assert len(run_suite(suite, at=0, wanted=frozenset()).failed) == 1
