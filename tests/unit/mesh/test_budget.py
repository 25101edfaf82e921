"""Budget: policies that say too much are refused with the figure and the limit, and what was in force stays so."""

import asyncio
from pathlib import Path

import pytest

from authz.model import Condition, Operation, Policy, Rule, Source
from mesh.current import Current
from mesh.directory import DirectoryStore
from mesh.errors import BudgetError, PolicyStoreError

# A rule, a principal, two paths and a value: five, before each of two workloads.
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: istio-system}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/a/sa/b]}}]
    to: [{operation: {paths: [/a, "/b/*"]}}]
    when: [{key: "request.headers[x]", values: [v]}]
---
"""
WORKLOADS = """
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: three, namespace: shop, labels: {app: three}}
---
"""
OF_THREE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: q, namespace: shop}
spec:
  selector: {matchLabels: {app: three}}
  rules: [{}]
---
"""


def store(tmp_path: Path, *documents: str, budget: int) -> DirectoryStore:
    (tmp_path / "mesh.yaml").write_text("".join(documents))
    return DirectoryStore([str(tmp_path)], budget=budget)


def test_a_policy_is_as_large_as_its_values_and_rules() -> None:
    rule = Rule(
        sources=(Source(namespaces=("a", "b")), Source(not_principals=("c",))),
        operations=(Operation(methods=("GET",), not_paths=("/d", "/e")),),
        conditions=(Condition(key="source.ip", values=("10.0.0.0/8",), not_values=("10.1.0.0/16",)),),
    )
    assert Policy(namespace="n", name="p", rules=(rule, Rule())).size == 2 + 3 + 3 + 2


def test_a_mesh_within_the_budget_is_loaded(tmp_path: Path) -> None:
    # `one` and `two` share a tree of five values; that of `three` has them, too, and a rule without.
    assert store(tmp_path, POLICY, OF_THREE, WORKLOADS, budget=11).load().snapshot.revision


def test_one_value_more_is_refused_with_the_figure_and_the_limit(tmp_path: Path) -> None:
    with pytest.raises(BudgetError) as caught:
        store(tmp_path, POLICY, OF_THREE, WORKLOADS, budget=10).load()
    assert (caught.value.workload, caught.value.values, caught.value.limit) == ("shop/three", 11, 10)
    assert "11 values" in str(caught.value)
    assert "--budget" in str(caught.value)


def test_what_is_taken_over_counts_as_well(tmp_path: Path) -> None:
    mesh = store(tmp_path, POLICY, WORKLOADS, budget=10)
    mesh.load()
    (tmp_path / "more.yaml").write_text(OF_THREE)
    with pytest.raises(BudgetError):
        mesh.load_if_changed()
    # What was refused is not compiled again at every look.
    assert mesh.load_if_changed() is None


def test_what_was_in_force_stays_so(tmp_path: Path) -> None:
    refusals: list[PolicyStoreError] = []
    current = Current(store(tmp_path, POLICY, WORKLOADS, budget=10), on_load=lambda _: None, on_refusal=refusals.append)
    before = current.snapshot
    (tmp_path / "more.yaml").write_text(OF_THREE)
    asyncio.run(current.reload())
    assert current.snapshot is before
    assert [type(refusal) for refusal in refusals] == [BudgetError]
