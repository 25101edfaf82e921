"""Recorded traffic is decided again, and a test says how much of it may come out otherwise."""

import gzip
import json
from pathlib import Path

import pytest

from mesh.testing.results import Result
from parser.diagnostics import PolicySyntaxError
from tests.unit.mesh.testing.suites import HEAD, only, run

WEB = {"principal": "spiffe://cluster.local/ns/shop/sa/web"}
# What was decided then: the last was allowed, and no rule allows it now; the first was denied, and one does.
RECORDS: list[dict[str, object]] = [
    {"workload": "shop/api", "source": WEB, "request": "GET /items", "decision": {"verdict": "DENY"}},
    {"workload": "shop/api", "source": WEB, "request": "GET /items/7", "decision": {"verdict": "ALLOW"}},
    {"workload": "shop/db", "source": WEB, "request": "GET /db", "decision": {"verdict": "DENY"}},
    {"workload": "shop/api", "source": WEB, "request": "POST /items?token=hush", "decision": {"verdict": "ALLOW"}},
    {"workload": "shop/api", "source": WEB, "request": "POST /items?token=hush", "decision": {"verdict": "ALLOW"}},
]
DB = HEAD.replace("now:", "  db: {namespace: shop, labels: {app: db}}\nnow:")


def replayed(
    directory: Path, expect: str, *, records: list[dict[str, object]] = RECORDS, to: str = "to: api, "
) -> Result:
    lines = "".join(f"{json.dumps(record)}\n" for record in records)
    (directory / "monday.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    return run(directory, f"tests: [{{name: a, {to}log: monday.ndjson.gz, expect: {expect}}}]", head=DB)


@pytest.mark.parametrize(
    ("expect", "problems"),
    [
        ("{newly_denied: 2, newly_allowed: 1}", ()),
        (
            "unchanged",
            ("expected 0 requests to be newly denied, got 2", "expected 0 requests to be newly allowed, got 1"),
        ),
        ("{newly_denied: 3, newly_allowed: 1}", ("expected 3 requests to be newly denied, got 2",)),
    ],
)
def test_as_many_requests_change_as_the_test_says(tmp_path: Path, expect: str, problems: tuple[str, ...]) -> None:
    result = replayed(tmp_path, expect)
    assert result.cases == 1
    assert (result.failed[0].problems if result.failed else ()) == problems
    assert result.passed == (() if problems else ("t.authz-test.yaml::a[monday.ndjson.gz]",))


def test_a_failure_says_what_changed_and_shows_no_secret(tmp_path: Path) -> None:
    failed = only(replayed(tmp_path, "unchanged"))
    assert failed.answer.headline == "4 compared: 2 newly denied, 1 newly allowed, 0 uncertain"
    (denied, first), (allowed, second) = failed.answer.lines
    assert (denied, allowed) == ("newly denied", "newly allowed")
    assert first == (
        "2 of cluster.local/ns/shop/sa/web POST /items to shop/api, first monday.ndjson.gz:4: no ALLOW rule matches"
    )
    assert "an ALLOW rule matches: shop/read#0 (" in second
    assert "hush" not in repr(failed)


def test_without_a_workload_all_of_it_is_replayed(tmp_path: Path) -> None:
    failed = only(replayed(tmp_path, "unchanged", to=""))
    assert failed.answer.headline == "5 compared: 2 newly denied, 2 newly allowed, 0 uncertain"


def test_traffic_that_says_nothing_fails(tmp_path: Path) -> None:
    assert only(replayed(tmp_path, "unchanged", records=[])).problems == (
        "there is no record in it that says what was decided",
    )
    without = [{**RECORDS[1], "decision": None}]
    assert only(replayed(tmp_path, "unchanged", records=without)).problems


def test_what_is_no_record_fails(tmp_path: Path) -> None:
    failed = only(
        replayed(
            tmp_path, "unchanged", records=[RECORDS[1], {"request": "GET /", "decision": {"verdict": 9}}, RECORDS[1]]
        )
    )
    assert failed.problems[0].startswith("1 of what is in it are no records, first monday.ndjson.gz:2:1: ")


def test_a_recording_that_is_not_there_is_said_where_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicySyntaxError, match=r"there is no file `monday\.json`"):
        run(tmp_path, "tests: [{name: a, log: monday.json, expect: unchanged}]")
