"""What proofs and differences are written as for other programs."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from authz.invariants import Assumed
from cli.reports import differences as of_differences
from cli.reports import proofs as of_proofs
from mesh.differences import Differences, differences
from mesh.directory import DirectoryStore
from mesh.proving.loading import load_claims
from mesh.proving.results import run_claims
from tests.unit.cli.reports.schemas import sarif_in

ROOT = Path(__file__).parents[4]
CONTROLS = [chr(code) for code in (*range(9), *range(11, 32), *range(127, 160), 0x202E)]


@pytest.fixture(scope="module")
def report() -> of_proofs.Report:
    files = [ROOT / "policies/shop/shop.authz-proof.yaml", ROOT / "examples/costs.authz-proof.yaml"]
    claims = [load_claims(str(file), file.read_bytes(), directory=file.parent) for file in files]
    return of_proofs.Report(results=run_claims(claims), seconds=1.0)


@pytest.fixture(scope="module")
def found() -> Differences:
    old, new = (DirectoryStore((str(ROOT / path),)).load().snapshot for path in ("policies/shop", "examples/shop-next"))
    return differences(old, new, assumed=Assumed())


def test_the_json_of_proofs_has_what_the_text_has(report: of_proofs.Report) -> None:
    document = json.loads(of_proofs.WRITERS["json"](report))
    assert document["verdict"] == "failed"
    verdicts = {each["id"]: each["verdict"] for file in document["files"] for each in file["invariants"]}
    assert verdicts["ADMIN-1"] == "PROVED"
    assert verdicts["COSTS-2"] == "BROKEN"
    (broken,) = document["files"][1]["invariants"]
    assert broken["witness"]["request"]["workload"] == "shop/api"
    assert broken["witness"]["decided"]["line"] == 13
    assert all(file["assumptions"] for file in document["files"])


def test_a_broken_invariant_is_a_failed_case(report: of_proofs.Report) -> None:
    root = ET.fromstring(of_proofs.WRITERS["junit"](report))  # noqa: S314  # written by us
    cases = {str(case.get("name")).rpartition("::")[2]: case for case in root.iter("testcase")}
    assert cases["ADMIN-1"].find("failure") is None
    assert cases["COSTS-2"].find("failure") is not None
    assert all("it is assumed that" in str(case.findtext("system-out")) for case in cases.values())


def test_the_sarif_of_proofs_is_sarif(report: of_proofs.Report) -> None:
    document = sarif_in(of_proofs.WRITERS["sarif"](report))
    assert [each["ruleId"] for each in document["runs"][0]["results"]] == ["invariant-broken"]


@pytest.mark.parametrize("name", sorted(of_proofs.WRITERS))
def test_nothing_that_a_terminal_obeys_is_written_of_proofs(report: of_proofs.Report, name: str) -> None:
    assert not any(each in of_proofs.WRITERS[name](report).decode() for each in CONTROLS)


def test_the_json_of_differences_has_what_the_text_has(found: Differences) -> None:
    document = json.loads(of_differences.WRITERS["json"](found))
    assert (document["newly_allowed"], document["newly_denied"]) == (2, 0)
    (changed,) = document["changed"]
    assert changed["workloads"] == ["shop/api"]
    for region in changed["regions"]:
        assert region["before"]["words"].startswith("DENY")
        assert region["now"]["words"].startswith("ALLOW")


def test_a_comment_says_how_much_there_is_first_and_folds_the_rest(found: Differences) -> None:
    text = of_differences.WRITERS["markdown"](found).decode()
    assert text.startswith("**changed: 2 newly allowed, for 1 of 4 workloads**")
    assert text.count("<details>") == text.count("</details>") == 2
    assert text.index("<details>") > text.index("| Workload |")
