"""Several processes find what one finds."""

from dataclasses import replace
from pathlib import Path

import pytest

from mesh.testing import parallel
from mesh.testing.parallel import run_suites
from mesh.testing.results import Wanted
from tests.unit.mesh.testing.suites import load

WANTED = frozenset(Wanted)


@pytest.mark.parametrize("part", [1, 5_000])
def test_what_several_processes_find_is_what_one_finds(
    tmp_path: Path, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = """
tests:
- {name: a, to: api, request: %s, allow: [web, anon], evasions: all}
- {name: b, to: api, matrix: {method: [GET, POST], path: [/items, /me]}, from: web, expect: {status: 200}}
complete: {workload: api, callers: all}
coverage: {rules: 90}
"""
    suites = [load(tmp_path, tests % request) for request in ("GET /items", "GET /items/internal", "GET /me")]
    monkeypatch.setattr(parallel, "_PART", part)
    alone = run_suites(suites, chosen=None, wanted=WANTED, jobs=1)
    together = run_suites(suites, chosen=None, wanted=WANTED, jobs=3)
    assert [replace(result, seconds=0) for result in together] == [replace(result, seconds=0) for result in alone]
    assert any(result.failed for result in together)
    assert any(result.shortfalls for result in together)


def test_only_cases_that_are_chosen_are_run(tmp_path: Path) -> None:
    suite = load(tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: []}]\ncoverage: {rules: 100}")
    (result,) = run_suites([suite], chosen=lambda name: "[anon]" in name, wanted=WANTED)
    assert result.passed == ("t.authz-test.yaml::a[anon][GET /items]",)
    # What is left out may be just what covers the rest.
    assert result.shortfalls == ()
