"""Reports of policy tests: each format says what failed, and nothing in one can be taken for something else."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from cli.reports.coverage import INDEX, coverage_as_json, lines_of_coverage, pages_of_coverage
from cli.reports.tests import WRITERS, Report
from mesh.testing.results import Wanted
from tests.unit.mesh.testing.suites import POLICIES, run

HOSTILE = "]]> <b>&amp; `x` | \\x1b[31m %0A::error::"


@pytest.fixture
def report(tmp_path: Path) -> Report:
    tests = f"""
tests:
- {{name: good, to: api, request: GET /items, allow: [web]}}
- {{name: "{HOSTILE}", to: api, request: GET /items, allow: [], evasions: all}}
- {{name: evaded, to: api, request: GET /items/internal/x, from: web, allow: [], evasions: [parameters]}}
coverage: {{rules: 100}}
"""
    result = run(tmp_path, tests, wanted=Wanted)
    return Report(results=[result], seconds=1.5, broken=["broken.authz-test.yaml"], coverage=result.coverage)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_says_what_failed_and_of_whom(report: Report, name: str) -> None:
    written = WRITERS[name](report).decode()
    assert "evaded[web][GET /items/internal/x]" in written
    assert "expected DENY, got ALLOW" in written
    assert "% of the rules are covered, and 100 %" in written.replace("%25", "%")
    assert "\x1b" not in written


def test_the_last_line_begins_with_the_verdict(report: Report) -> None:
    last = WRITERS["text"](report).decode().splitlines()[-1]
    assert last == "failed: 2 of 7 cases in 1 file, coverage is too low, 1 file not run, 1.50 s"
    good = Report(results=[replace(report.results[0], failed=(), shortfalls=())], seconds=0)
    assert WRITERS["text"](good).decode().splitlines()[-1] == "ok: 7 cases in 1 file, 0.00 s"


def test_junit_has_every_case_by_its_name(report: Report) -> None:
    root = ET.fromstring(WRITERS["junit"](report))  # noqa: S314  # our own
    cases = {case.get("name") or "": case for case in root.iter("testcase")}
    assert len(cases) == 7 + 2  # and one for coverage, and one for the file that could not be run
    assert "t.authz-test.yaml::good[web][GET /items]" in cases
    failed = cases["t.authz-test.yaml::evaded[web][GET /items/internal/x]"]
    assert (failed.get("file"), failed.get("line")) == ("t.authz-test.yaml", "16")
    failure = failed.find("failure")
    assert failure is not None
    assert failure.get("message") == "written otherwise it is allowed, in 1 of 1 ways"
    assert "curl --path-as-is" in (failure.text or "")
    assert cases["broken.authz-test.yaml"].find("error") is not None
    assert cases["t.authz-test.yaml::coverage"].find("failure") is not None


def test_json_has_all_of_it(report: Report) -> None:
    document = orjson.loads(WRITERS["json"](report))
    assert (document["verdict"], document["cases"], document["failed"]) == ("failed", 7, 2)
    (file,) = document["files"]
    evaded = file["failed"][1]
    assert evaded["line"] == 16
    assert evaded["answer"][0] == "DENY 403  a DENY rule matches"
    assert evaded["through"][0]["kind"] == "parameters"
    assert document["coverage"]["summary"]["rules"] == {"covered": 2, "total": 3, "percent": 66.67}


def test_annotations_are_a_command_a_line(report: Report) -> None:
    lines = WRITERS["github"](report).decode().splitlines()
    assert [line.split(" ")[0] for line in lines[:-1]] == ["::error"] * 3
    assert all(line.count("::") >= 2 for line in lines[:-1])
    assert "%250A" in lines[0]


def test_no_line_of_a_comment_ends_its_block(report: Report) -> None:
    written = WRITERS["markdown"](report).decode()
    fences = re.findall(r"(?m)^(`{3,})$", written)
    assert len(fences) == 6  # coverage, and two failures
    assert fences[::2] == fences[1::2]


# Coverage -------------------------------------------------------------------------------------------------------------


def test_what_is_not_covered_is_said_in_lines(report: Report) -> None:
    assert report.coverage is not None
    lines = list(lines_of_coverage(report.coverage))
    assert lines[0] == "coverage: policies 100.0 % (2 of 2), rules 66.7 % (2 of 3), conditions 78.6 % (11 of 14)"
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["decides no case", "always holds"]
    assert all(re.search(r"\(\S+policies\.yaml:\d+:\d+\)$", line) for line in lines[1:])


def test_coverage_is_written_with_places(report: Report) -> None:
    assert report.coverage is not None
    document = orjson.loads(coverage_as_json(report.coverage))
    rules = {f"{rule['policy']}#{rule['rule']}": rule["decided"] for rule in document["rules"]}
    assert rules["shop/read#1"] == 0
    assert all(clause["line"] for clause in document["conditions"])


def test_pages_show_the_policies_themselves(report: Report) -> None:
    assert report.coverage is not None
    (name,) = {policy.span.file for policy in report.coverage.policies if policy.span is not None}
    text = POLICIES.replace("buyer", "<script>alert(1)</script>")
    pages = pages_of_coverage(report.coverage, {name: text})
    assert list(pages) == [INDEX, "1-policies.yaml.html"]
    page = pages["1-policies.yaml.html"]
    assert 'href="1-policies.yaml.html"' in pages[INDEX]
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "prefers-color-scheme: dark" in page
    # Whoever sees no colours reads it.
    assert page.count("✗ decides no case") == 1
    assert "✓ decides" in page
    assert "paths: ✓ holds, ✓ fails" in page
    assert page.count("<tr id=") == len(text.splitlines())
