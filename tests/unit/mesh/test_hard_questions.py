"""Questions on which other solvers give up are answered, and exactly: covers, alphabets that are used up, templates within templates."""

from string import ascii_letters, digits

import pytest

from authz.invariants import Assumed
from authz.mesh_config import MeshConfig
from authz.model import Operation, Policy, Rule, Source
from authz.workload import Workload
from mesh.comparing import Change, compare
from mesh.snapshot import Snapshot

MANY = 120


def of_paths(*paths: str) -> Rule:
    return Rule(operations=(Operation(paths=paths),))


def of_callers(**fields: tuple[str, ...]) -> Rule:
    return Rule(sources=(Source(**fields),))


def changes(old: list[Rule], new: list[Rule]) -> list[Change]:
    snapshots = [
        Snapshot(
            policies=(Policy(namespace="shop", name="p", rules=tuple(rules)),),
            workloads=(Workload(namespace="shop", name="api"),),
            config=MeshConfig(),
            revision="",
        )
        for rules in (old, new)
    ]
    found = compare(*snapshots, assumed=Assumed())
    assert all(difference.complete for difference in found.differences)
    return [difference.change for difference in found.differences]


NETWORKS = tuple(f"{number}.0.0.0/8" for number in range(256))
LETTERS = tuple(f"{letter}*" for letter in ascii_letters + digits + "-._")
SHAPED = [of_paths(f"/{{*}}/x{number}/{{**}}") for number in range(MANY)]
NESTED = [of_paths("/" + "/".join(["{*}"] * depth)) for depth in range(1, 12)]
BEGINNINGS = [of_paths(f"/{'a' * length}*") for length in range(1, MANY)]
ENDS = [of_paths(f"*{'b' * length}") for length in range(1, MANY)]
OVERLAPPING = [of_paths(f"/{{*}}/x{number}/{{**}}/y{number % 7}") for number in range(200)]
CROSSED = [
    of_paths(*[f"/{'ab'[number % 2]}{number}*" for number in range(60)]),
    *[of_paths(f"*{'xy'[number % 2]}{number}") for number in range(60)],
    *[of_paths(f"/{{*}}/{number}") for number in range(60)],
]
DEPTHS = [of_paths("/a/{**}/b"), *[of_paths("/a/" + "{*}/" * depth + "b") for depth in range(1, 8)]]
SUBNETS = tuple(f"10.{one}.{other}.0/24" for one in range(20) for other in range(20))
HALVES = tuple(f"10.{one}.{other}.128/25" for one in range(20) for other in range(20))
HOSTS = [
    Rule(
        operations=(Operation(hosts=tuple(f"*.h{host}.example" for host in range(100)), paths=(f"/{{*}}/p{number}",)),)
    )
    for number in range(60)
]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            [of_callers(ip_blocks=("0.0.0.0/0",))], [of_callers(ip_blocks=NETWORKS)], id="networks that cover all"
        ),
        pytest.param([of_callers(namespaces=("*",))], [of_callers(namespaces=LETTERS)], id="every letter there is"),
        pytest.param(
            [of_paths("/a/*"), *[of_paths(f"/a/{number}/*") for number in range(500)]],
            [of_paths("/a/*")],
            id="prefixes within a prefix",
        ),
        pytest.param(
            [of_paths(f"/{{*}}/x{number}") for number in range(MANY)]
            + [of_paths(f"/a{number}/x{number}") for number in range(MANY)],
            [of_paths(f"/{{*}}/x{number}") for number in range(MANY)],
            id="paths within templates",
        ),
    ],
)
def test_what_is_the_same_is_proved_the_same(old: list[Rule], new: list[Rule]) -> None:
    assert changes(old, new) == []
    assert changes(new, old) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            [of_callers(ip_blocks=("0.0.0.0/0",))],
            [of_callers(ip_blocks=(*NETWORKS[:77], *NETWORKS[78:]))],
            [Change.NEWLY_DENIED] * 2,
            id="networks with a hole",
        ),
        pytest.param(
            [of_callers(namespaces=("*",))],
            [of_callers(namespaces=LETTERS[1:])],
            [Change.NEWLY_DENIED] * 2,
            id="every letter but one",
        ),
        pytest.param(SHAPED, SHAPED[1:], [Change.NEWLY_DENIED], id="templates, one of which is gone"),
        pytest.param(
            [*NESTED, of_paths("/a/{**}")], [of_paths("/{**}")], [Change.NEWLY_ALLOWED], id="templates within one"
        ),
        pytest.param(
            [*BEGINNINGS, *ENDS],
            [*BEGINNINGS[1:], *ENDS[1:]],
            [Change.NEWLY_DENIED],
            id="prefixes crossed with suffixes",
        ),
        pytest.param(
            OVERLAPPING, OVERLAPPING[1:], [Change.NEWLY_DENIED], id="templates that overlap, one of which is gone"
        ),
        pytest.param(CROSSED, CROSSED[:-1], [Change.NEWLY_DENIED], id="prefixes, suffixes and templates"),
        pytest.param(DEPTHS, DEPTHS[1:], [Change.NEWLY_DENIED], id="any depth, and some of them"),
        pytest.param(
            [of_callers(ip_blocks=SUBNETS, not_ip_blocks=HALVES)],
            [of_callers(ip_blocks=SUBNETS, not_ip_blocks=HALVES[1:])],
            [Change.NEWLY_ALLOWED] * 2,
            id="networks without a half of each, and one half more",
        ),
        pytest.param(HOSTS, HOSTS[1:], [Change.NEWLY_DENIED], id="hosts times templates"),
    ],
)
def test_a_difference_is_found_however_small(old: list[Rule], new: list[Rule], expected: list[Change]) -> None:
    assert changes(old, new) == expected
