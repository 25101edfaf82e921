"""meshward and Envoy's own filters, asked the same: tens of thousands of generated requests, and no difference.

`MESHWARD_DIFFERENTIAL_PAIRS` says how many, `MESHWARD_SEED` repeats a run. What they differ on is made as small as it gets
and kept in `disagreements/`, where it is asked again in every run.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from random import Random

from authz.decision import Stage
from authz.mesh_config import PathNormalization
from authz.model import Action
from extauthz.token_mode import TokenMode
from tests.differential.cases import Case, Mesh
from tests.differential.comparison import MAX_CASES, Authorizer, Comparison, compare
from tests.differential.generator import random_case
from tests.differential.reference import deciding_by_the_reference
from tests.differential.report import differences, report
from tests.differential.shrinking import Compare
from tests.differential.strength import never_met, outcomes
from tests.differential.token_cases import random_token_case
from tests.differential.vectors import Vector, kept, read, text
from tests.integration.serving import Manifests, serving
from tests.laws.world import TRUST_DOMAINS

PAIRS = int(os.environ.get("MESHWARD_DIFFERENTIAL_PAIRS", "20000"))
SEED = int(os.environ["MESHWARD_SEED"])  # which `tests/conftest.py` draws
ENOUGH = 10_000
QUESTIONS = 40
MESHES = (
    Mesh(trust_domains=TRUST_DOMAINS[0], normalization=PathNormalization.NONE),
    Mesh(trust_domains=TRUST_DOMAINS[1], normalization=PathNormalization.BASE),
    Mesh(trust_domains=TRUST_DOMAINS[2], normalization=PathNormalization.MERGE_SLASHES),
    Mesh(trust_domains=TRUST_DOMAINS[0], normalization=PathNormalization.DECODE_AND_MERGE_SLASHES, trusted_proxies=0),
    Mesh(trust_domains=TRUST_DOMAINS[1], normalization=PathNormalization.MERGE_SLASHES, trusted_proxies=2),
)
SHARES = {
    "ALLOW in allow": 0.1,
    "DENY in allow": 0.1,
    "DENY in deny": 0.1,
    "ALLOW in none": 0.1,
    "DENY in custom": 0.02,
    "audited": 0.02,
    "dry run": 0.1,
    "TCP": 0.05,
    "HTTP/2": 0.05,
    "mTLS": 0.3,
    "plaintext": 0.1,
}


def compared(
    pairs: int, meshes: Sequence[Mesh], generate: Callable[[], Case], compare: Compare = compare
) -> list[Comparison]:
    """At least so many pairs of a request and the policies that decide it, a share of them in each mesh."""
    share = -(-pairs // (QUESTIONS * len(meshes)))
    return [
        comparison
        for mesh in meshes
        for first in range(0, share, MAX_CASES)
        for comparison in compare(mesh, [generate() for _ in range(min(MAX_CASES, share - first))])
    ]


def assert_no_difference(comparisons: list[Comparison], compare: Compare = compare) -> None:
    found = differences(comparisons)
    assert not found, f"MESHWARD_SEED={SEED}\n{report(found, compare)}"


# Policies


def test_meshward_decides_as_envoy_s_own_filters_in_every_way_and_by_every_part_of_a_policy() -> None:
    random = Random(SEED)
    generated = compared(PAIRS, MESHES, lambda: random_case(random, QUESTIONS))
    assert_no_difference(generated)

    # One test with that before it: what is generated for two may be generated twice, on two workers.
    if PAIRS >= ENOUGH:
        met = outcomes(generated)
        for outcome, share in SHARES.items():
            assert met[outcome] / met["all"] >= share, f"MESHWARD_SEED={SEED}: {outcome}: {met}"
        assert met["turned away"] / met["all"] < 0.2, f"MESHWARD_SEED={SEED}: {met}"
        assert never_met(generated) == set(), f"MESHWARD_SEED={SEED}"


def test_the_reference_decides_as_envoy_s_own_filters() -> None:
    def by_the_reference(mesh: Mesh, cases: Sequence[Case]) -> list[Comparison]:
        return compare(mesh, cases, authorizer=deciding_by_the_reference)

    random = Random(SEED + 1)
    found = compared(PAIRS // 10, MESHES, lambda: random_case(random, QUESTIONS), by_the_reference)
    assert_no_difference(found, by_the_reference)


# Tokens


def test_meshward_verifies_tokens_as_envoy_s_own_filter_good_ones_and_bad_ones_of_many_kinds() -> None:
    random = Random(SEED + 2)
    meshes = Mesh(), Mesh(trust_domains=TRUST_DOMAINS[1], trusted_proxies=1)
    verified = compared(PAIRS // 4, meshes, lambda: random_token_case(random, QUESTIONS))
    assert_no_difference(verified)

    if PAIRS >= ENOUGH:
        met = outcomes(verified)
        assert 0.1 < met["DENY in jwt"] / met["all"] < 0.4, f"MESHWARD_SEED={SEED}: {met}"
        seen = [both.native for comparison in verified for both in comparison.results]
        refused = {one.answer.body for one in seen if one.decided is not None and one.decided.stage is Stage.JWT}
        assert len(refused) > 15, f"MESHWARD_SEED={SEED}: {refused}"
        never = {name for name, _ in never_met(verified) if name.startswith("request.auth")}
        assert never == set(), f"MESHWARD_SEED={SEED}"


def test_meshward_takes_what_envoy_has_verified() -> None:
    def trusting(manifests: Manifests) -> AbstractContextManager[Authorizer]:
        return serving(manifests, "--jwt", TokenMode.TRUST_ENVOY.value)

    def compare_trusting(mesh: Mesh, cases: Sequence[Case]) -> list[Comparison]:
        return compare(mesh, cases, authorizer=trusting, tokens=TokenMode.TRUST_ENVOY)

    random = Random(SEED + 3)
    cases = compared(
        PAIRS // 10, [Mesh()], lambda: without_custom(random_token_case(random, QUESTIONS)), compare_trusting
    )
    assert_no_difference(cases, compare_trusting)


def without_custom(case: Case) -> Case:
    # Here Envoy looks at tokens before it asks meshward; so CUSTOM comes after, where Istio has it before.
    return replace(case, policies=tuple(policy for policy in case.policies if policy.action is not Action.CUSTOM))


# Vectors


def test_what_they_once_differed_on_they_agree_on() -> None:
    vectors = kept()
    for mesh in {vector.mesh for vector in vectors}:
        assert_no_difference(compare(mesh, [vector.case for vector in vectors if vector.mesh == mesh]))


def test_a_vector_reads_as_it_was_written() -> None:
    random = Random(7)
    for mesh in MESHES:
        for case in (random_case(random, 3), random_token_case(random, 3)):
            vector = Vector(mesh, case)
            again = read(text(vector))
            assert (again.mesh, again.case.questions) == (vector.mesh, vector.case.questions)
            assert text(again) == text(vector)
