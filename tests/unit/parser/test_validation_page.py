"""The tables of `docs/validation.md` have every code there is, with its level and the rows that its tests go by."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.unit.parser.test_validation_rows import CASES

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "validation.md"
REPORTING = {"error", "warning", "_error", "_warning", "Diagnostic"}


class Entry(NamedTuple):
    code: str
    level: str
    wrong: str
    remedy: str
    istio: str
    rows: tuple[str, ...]


def entries() -> list[Entry]:
    found = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            rows = tuple(row.strip() for row in cells[5].split(",") if row.strip())
            code, level, wrong, remedy, istio = cells[:5]
            found.append(Entry(code.strip("`"), level, wrong, remedy, istio, rows))
    return found


def reported() -> Iterator[str]:
    """The codes in the source of the parser, as patterns: a part that is worked out stands for any word."""
    for path in sorted((ROOT / "parser").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and name_of(node.func) in REPORTING:
                match node.args[0]:
                    case ast.Constant(value=str(code)):
                        yield re.escape(code)
                    case ast.JoinedStr(values=parts):
                        yield "".join(
                            re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[a-z]+" for part in parts
                        )
                    case _:
                        pass  # passed on from whoever names it


def name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_the_page_has_every_code_once_and_no_other() -> None:
    codes = [entry.code for entry in entries()]
    assert len(codes) == len(set(codes))
    patterns = set(reported())
    assert {pattern for pattern in patterns if not any(re.fullmatch(pattern, code) for code in codes)} == set()
    assert [code for code in codes if not any(re.fullmatch(pattern, code) for pattern in patterns)] == []


def test_the_page_names_the_rows_that_the_tests_go_by_and_their_level() -> None:
    page = {entry.code: entry for entry in entries()}
    tested: dict[str, set[str]] = {}
    for case in CASES:
        if case.code is not None:
            tested.setdefault(case.code, set()).add(case.row)
            assert case.level in page[case.code].level.split(" or "), case
    assert {code: set(entry.rows) for code, entry in page.items() if entry.rows} == tested


def test_every_code_says_what_is_wrong_and_what_to_do() -> None:
    for entry in entries():
        assert entry.wrong
        assert entry.remedy
        assert entry.istio
        assert entry.level in ("error", "warning", "error or warning")
