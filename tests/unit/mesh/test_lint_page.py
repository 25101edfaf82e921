"""`docs/lint.md` has a section for each code, in the order of the registry, and every code is given somewhere."""

import re
from pathlib import Path

from authz.findings import codes

ROOT = Path(__file__).parents[3]


def test_the_page_has_a_section_for_every_code_and_for_no_other() -> None:
    page = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8").partition("\n# The codes\n")[2]
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    assert [section.partition("\n")[0] for section in sections] == list(codes.CODES)
    assert all(len(section.partition("\n")[2].strip()) > 40 for section in sections)


def test_every_code_has_a_sentence_and_is_in_the_registry() -> None:
    listed = {value.name for value in vars(codes).values() if isinstance(value, codes.Code)}
    assert listed == codes.CODES.keys()
    assert all(
        code.summary.endswith(".") and re.fullmatch(r"[a-z]+(-[a-z]+)*", code.name) for code in codes.CODES.values()
    )


def test_no_code_is_also_one_of_validation() -> None:
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    assert not {code for code in codes.CODES if f"| `{code}` |" in page}
