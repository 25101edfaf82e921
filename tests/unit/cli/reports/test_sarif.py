"""SARIF as the published schema has it."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.span import Span
from cli.reports.sarif import Rule, write_sarif
from parser.diagnostics import Diagnostic, Severity
from tests.unit.cli.reports.schemas import SARIF, sarif_in

RULES = {"odd": Rule(summary="Something odd.", text="More about it.", page="https://docs.example/lint#odd")}


def written(*diagnostics: Diagnostic) -> dict[str, Any]:
    return sarif_in(write_sarif(diagnostics, RULES, version="1.0"))


def run(*diagnostics: Diagnostic) -> dict[str, Any]:
    (only,) = written(*diagnostics)["runs"]
    found: dict[str, Any] = only
    return found


SPANS = st.builds(
    Span,
    file=st.text(min_size=1),
    line=st.integers(1, 9),
    column=st.integers(1, 9),
    end_line=st.integers(1, 9),
    end_column=st.integers(1, 9),
)
DIAGNOSTICS = st.builds(
    Diagnostic,
    code=st.sampled_from(["odd", "even"]),
    message=st.text(),
    span=SPANS,
    help=st.none() | st.text(),
    severity=st.sampled_from(Severity),
)


@given(st.lists(DIAGNOSTICS, max_size=4))
def test_whatever_is_found_the_log_is_one_of_the_schema(found: list[Diagnostic]) -> None:
    assert len(run(*found)["results"]) == len(found)


def test_a_log_without_results_is_one_too() -> None:
    assert run()["results"] == []


def test_the_schema_refuses_what_is_none() -> None:
    log = written()
    log["runs"][0]["results"] = [{"level": "hint"}]
    with pytest.raises(jsonschema.ValidationError):
        SARIF.validate(log)


def test_a_result_has_its_rule_its_level_its_place_and_what_to_do() -> None:
    first = Diagnostic("odd", "this is odd", Span("a b/ü.yaml", 3, 5, 3, 9), help="mend it", severity=Severity.WARNING)
    found = run(first, Diagnostic("even", "worse", Span("/x.yaml", 1, 1, 2, 1)))
    one, other = found["results"]
    assert (one["ruleId"], one["level"], one["message"]["text"]) == ("odd", "warning", "this is odd\nmend it")
    assert one["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b/%C3%BC.yaml"},
        "region": {"startLine": 3, "startColumn": 5, "endLine": 3, "endColumn": 9},
    }
    assert (other["level"], other["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) == ("error", "file:///x.yaml")  # fmt: skip
    rules = found["tool"]["driver"]["rules"]
    assert [rules[each["ruleIndex"]]["id"] for each in (one, other)] == ["odd", "even"]
    assert rules[0]["helpUri"] == "https://docs.example/lint#odd"
    assert rules[0]["help"]["text"] == "More about it."
    assert rules[1] == {"id": "even"}


def test_columns_are_counted_as_ours_are() -> None:
    assert run()["columnKind"] == "unicodeCodePoints"


def test_names_that_are_no_text_have_their_bytes_escaped() -> None:
    found = run(Diagnostic("odd", "x", Span("\udcff.yaml", 1, 1, 1, 1)))
    assert found["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "%FF.yaml"


def test_control_characters_are_shown_and_not_sent() -> None:
    found = run(Diagnostic("odd", "a\x1b[31m", Span("f", 1, 1, 1, 1), help="b\x00"))
    assert found["results"][0]["message"]["text"] == "a␛[31m\nb␀"
