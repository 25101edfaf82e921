"""Suites for the tests of this package: a shop's policies, and a file of tests of them."""

from collections.abc import Iterable
from pathlib import Path
from textwrap import dedent

from mesh.testing.results import Failed, Result, Wanted, run_suite
from mesh.testing.suites import Loading, Suite

POLICIES = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: read, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], paths: [/items, /items/*]}}]
  - from: [{source: {requestPrincipals: ["https://idp/*"]}}]
    to: [{operation: {paths: [/me]}}]
    when: [{key: "request.auth.claims[groups]", values: [buyer]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  action: DENY
  rules:
  - to: [{operation: {paths: [/items/internal, /items/internal/*]}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: idp, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  jwtRules: [{issuer: https://idp, jwksUri: "https://idp/keys", audiences: [shop]}]
"""
HEAD = """
policies: [policies.yaml]
mesh: {pathNormalization: MERGE_SLASHES}
workloads:
  api: {namespace: shop, labels: {app: api}, port: 8080}
now: 2026-01-01T00:00:00Z
callers:
  web: {serviceAccount: shop/web, ip: 10.1.2.3}
  anon: {plaintext: true}
  alice: {via: anon, jwt: {iss: https://idp, sub: alice, aud: [shop], claims: {groups: [buyer]}}}
"""


def load(directory: Path, tests: str, *, head: str = HEAD, policies: str = POLICIES) -> Suite:
    """The suite of these tests, below the head of a file."""
    (directory / "policies.yaml").write_text(dedent(policies))
    text = f"{dedent(head)}\n{dedent(tests)}"
    return Loading().load("t.authz-test.yaml", text.encode(), directory=directory)


def run(
    directory: Path,
    tests: str,
    *,
    head: str = HEAD,
    policies: str = POLICIES,
    wanted: Iterable[Wanted] = (Wanted.NAMES,),
) -> Result:
    """What comes of them."""
    return run_suite(load(directory, tests, head=head, policies=policies), at=0, wanted=frozenset(wanted))


def only(result: Result) -> Failed:
    """The one case that failed."""
    assert len(result.failed) == 1, result
    return result.failed[0]


def problems(result: Result) -> dict[str, list[str]]:
    """What is wrong with each case that failed, without the name of its file."""
    return {failed.name.partition("::")[2]: list(failed.problems) for failed in result.failed}
