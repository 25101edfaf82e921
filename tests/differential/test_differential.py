"""meshward and Envoy's own filters, asked the same: tens of thousands of generated requests, and no difference.

`MESHWARD_DIFFERENTIAL_PAIRS` says how many, `MESHWARD_SEED` repeats a run. What they differ on is made as small as it gets
and kept in `disagreements/`, where it is asked again in every run.
"""

import os
from collections import Counter
from collections.abc import Sequence
from random import Random
from secrets import randbelow

import pytest

from authz.mesh_config import PathNormalization
from tests.differential.cases import Case, Mesh
from tests.differential.comparison import MAX_CASES, Comparison, Serving, compare, serving
from tests.differential.generator import random_case
from tests.differential.reference import deciding_by_the_reference
from tests.differential.report import differences, report
from tests.differential.strength import HIT, MISS, outcomes, parts
from tests.differential.vectors import Vector, kept, read, text
from tests.laws.world import TRUST_DOMAINS

PAIRS = int(os.environ.get("MESHWARD_DIFFERENTIAL_PAIRS", "20000"))
SEED = int(os.environ.get("MESHWARD_SEED") or randbelow(2**32))
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


def compare_generated(random: Random, pairs: int, *, authorizer: Serving = serving) -> list[Comparison]:
    """At least so many pairs of a request and the policies it is decided by, a share in each mesh."""
    share = -(-pairs // (QUESTIONS * len(MESHES)))
    found: list[Comparison] = []
    for mesh in MESHES:
        for first in range(0, share, MAX_CASES):
            cases = [random_case(random, QUESTIONS) for _ in range(min(MAX_CASES, share - first))]
            found += compare(mesh, cases, authorizer=authorizer)
    return found


@pytest.fixture(scope="module")
def generated() -> list[Comparison]:
    return compare_generated(Random(SEED), PAIRS)


def test_meshward_decides_as_envoy_s_own_filters(generated: list[Comparison]) -> None:
    found = differences(generated)
    assert not found, f"MESHWARD_SEED={SEED}\n{report(found, compare)}"


def test_every_way_to_decide_and_every_part_of_a_policy_is_tried(generated: list[Comparison]) -> None:
    if PAIRS < ENOUGH:
        pytest.skip(f"{PAIRS} pairs are too few to tell")
    met = outcomes(generated)
    for outcome, share in SHARES.items():
        assert met[outcome] / met["all"] >= share, f"MESHWARD_SEED={SEED}: {outcome}: {met}"
    assert met["turned away"] / met["all"] < 0.2, f"MESHWARD_SEED={SEED}: {met}"

    tried = parts(generated)
    by_name, by_kind = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for ((name, kind), result), times in tried.items():
        by_name[name, result] += times
        by_kind[kind, result] += times
    for counted in (by_name, by_kind):
        names = {name for name, _ in counted}
        rare = {(name, result) for name in names for result in (HIT, MISS) if counted[name, result] < 5}
        assert not rare, f"MESHWARD_SEED={SEED}: {rare}"


def test_the_reference_decides_as_envoy_s_own_filters() -> None:
    def by_the_reference(mesh: Mesh, cases: Sequence[Case]) -> list[Comparison]:
        return compare(mesh, cases, authorizer=deciding_by_the_reference)

    found = differences(compare_generated(Random(SEED + 1), PAIRS // 8, authorizer=deciding_by_the_reference))
    assert not found, f"MESHWARD_SEED={SEED}\n{report(found, by_the_reference)}"


def test_what_they_once_differed_on_they_agree_on() -> None:
    vectors = kept()
    for mesh in {vector.mesh for vector in vectors}:
        found = differences(compare(mesh, [vector.case for vector in vectors if vector.mesh == mesh]))
        assert not found, report(found, compare)


def test_a_vector_reads_as_it_was_written() -> None:
    random = Random(7)
    for mesh in MESHES:
        vector = Vector(mesh, random_case(random, 3))
        again = read(text(vector))
        assert (again.mesh, again.case.questions) == (vector.mesh, vector.case.questions)
        assert text(again) == text(vector)
