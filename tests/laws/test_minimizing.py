"""What is minimized decides as before, and has nothing in it that could go."""

from dataclasses import replace
from random import Random

from authz import semantics
from authz.mesh_config import MeshConfig
from authz.model import Action, Operation, Policy, Rule, Source
from authz.workload import Workload
from mesh.minimizing import minimize
from mesh.snapshot import Snapshot
from tests.laws.test_analysis import every_request, small_policies


def snapshot_of(policies: tuple[Policy, ...]) -> Snapshot:
    workload = Workload(namespace="a", name="w")
    return Snapshot(policies=policies, workloads=(workload,), config=MeshConfig(trust_domain="t"), revision="")


def test_what_is_minimized_decides_as_before() -> None:
    requests = every_request()
    dropped = 0
    for seed in range(8):
        random = Random(seed)
        policies = tuple(replace(policy, rules=(*policy.rules, *policy.rules[:1])) for policy in small_policies(random))
        found = minimize(snapshot_of(policies))
        dropped += len(found.dropped)
        for attributes in random.sample(requests, k=500):
            was, now = (
                semantics.decide(each, attributes, trust_domains=("t",)).verdict for each in (policies, found.policies)
            )
            assert was is now, (seed, attributes, found.dropped)
        assert minimize(snapshot_of(found.policies)).dropped == ()
    assert dropped >= 8


def test_what_others_say_goes_and_the_rest_stays() -> None:
    policy = Policy(
        namespace="a",
        name="p",
        action=Action.ALLOW,
        rules=(
            Rule(sources=(Source(namespaces=("web",)),), operations=(Operation(paths=("/a/*", "/a/b", "/c")),)),
            Rule(
                sources=(Source(namespaces=("web",), principals=("t/ns/web/sa/x",)),),
                operations=(Operation(paths=("/c",)),),
            ),
            Rule(sources=(Source(namespaces=("ops",)),)),
        ),
    )
    found = minimize(snapshot_of((policy,)))
    assert [(each.path, each.what) for each in found.dropped] == [
        (("spec", "rules", 1), "rule"),
        (("spec", "rules", 0, "to", 0, "operation", "paths", 1), "value `/a/b`"),
    ]
    assert [len(rule.operations) for rule in found.policies[0].rules] == [1, 0]
