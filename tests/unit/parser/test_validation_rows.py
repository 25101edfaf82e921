"""Every row of section 8 of the semantics and of 10.2, by the table in `validation_rows.yaml`."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest
import yaml

from parser.cross_checks import check_mesh
from parser.diagnostics import Diagnostic
from parser.manifests import Manifests, parse_manifests
from tests.unit.parser.documents import marked, shown

TABLE = Path(__file__).with_name("validation_rows.yaml")
# Not those analyzers that look at routing (IST0149) or at istiod's environment (IST0175): neither is in manifests of policies.
OTHERS = (
    "4.9", "6.1", "6.3", "8.6 rules", "8.6 from", "8.7 port", "8.7 service", "8.7 statusOnError", "8.7 pathPrefix", "8.7 name",
    "8.7 duplicate", "8.7 wildcard", "8.7 cluster", "IST0127", "IST0101", "IST0106", "10.2 template", "10.2 headers", "10.2 spiffe",
    "10.2 root selector", "10.2 target", "10.2 dead rule", "10.2 claims", "10.2 notValues", "10.2 hosts", "10.2 providers",
)  # fmt: skip
ROWS = [f"{letter}{number}" for letter, last in (("M", 8), ("S", 8), ("A", 37), ("R", 13), ("P", 5)) for number in range(1, last + 1)]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the table, or one case of it."""

    row: str
    says: str
    kind: str = "AuthorizationPolicy"
    level: str = "error"
    code: str | None = None
    at: str | None = None
    refused: str | None = None
    taken: str | None = None
    differs: str | None = None

    def text(self, written: str) -> str:
        """The manifests of what is refused or taken."""
        body = re.sub(r"<(\d+)\*(.*?)>", _repeated, written).strip("\n") + "\n"
        if self.kind in ("mesh", "manifests"):
            return body
        head = f"apiVersion: security.istio.io/v1\nkind: {self.kind}\nmetadata: {{name: web, namespace: shop}}\nspec:\n"
        return head + indent(body, "  ")


def _repeated(found: re.Match[str]) -> str:
    return "".join(found[2].replace("#", str(number)) for number in range(int(found[1])))


CASES = [Row(**entry) for entry in yaml.safe_load(TABLE.read_text(encoding="utf-8"))]


def read(text: str) -> tuple[Manifests, list[Diagnostic]]:
    found = parse_manifests([("f.yaml", text.encode())])
    across = () if found.errors else check_mesh(found, found.mesh_config)
    return found, [*found.diagnostics, *across]


def case_id(row: Row) -> str:
    return f"{row.row}: {row.says}"


@pytest.mark.parametrize("row", [row for row in CASES if row.refused is not None], ids=case_id)
def test_what_a_row_refuses_is_said_once_at_its_place_with_a_remedy(row: Row) -> None:
    assert row.refused is not None
    text = row.text(row.refused)
    found, problems = read(text)
    assert [(each.code, each.severity.value) for each in problems] == [(row.code, row.level)], shown(found)
    if row.at is not None:
        assert marked(text, problems[0]) == row.at
    assert problems[0].help


@pytest.mark.parametrize("row", [row for row in CASES if row.taken is not None], ids=case_id)
def test_what_a_row_takes_has_nothing_wrong_with_it(row: Row) -> None:
    assert row.taken is not None
    found, problems = read(row.text(row.taken))
    assert not problems, shown(found)


def test_every_row_of_the_semantics_has_a_case_of_either_kind() -> None:
    assert {row.row for row in CASES if row.taken is not None} == {*ROWS, *OTHERS}
    # A9 is about what cannot be written in YAML: an empty list reads as none.
    assert {row.row for row in CASES if row.refused is not None} == {*ROWS, *OTHERS} - {"A9"}


def test_every_row_with_a_level_of_its_own_in_the_semantics_has_it_here() -> None:
    warnings = {row.row for row in CASES if row.level == "warning"}
    assert warnings & set(ROWS) == {"S4", "A37", "R5", "P4"}


def test_a_code_has_one_level() -> None:
    levels = {(row.code, row.level) for row in CASES if row.code is not None}
    assert len(levels) == len({code for code, _ in levels})
