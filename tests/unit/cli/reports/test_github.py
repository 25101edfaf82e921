"""Workflow commands, which are lines: nothing from a document may end one, or begin another."""

import re

from hypothesis import given
from hypothesis import strategies as st

from authz.span import Span
from cli.reports.github import write_github
from parser.diagnostics import Diagnostic, Severity

COMMAND = re.compile(r"::(error|warning) ((?:[a-zA-Z]+=[^,:]*)(?:,[a-zA-Z]+=[^,:]*)*)::(.*)")


def line(diagnostic: Diagnostic) -> str:
    (only,) = write_github([diagnostic]).decode().splitlines()
    return only


def test_an_annotation_has_its_place_and_its_title() -> None:
    found = line(Diagnostic("odd", "this is odd", Span("a.yaml", 3, 5, 3, 9), severity=Severity.WARNING))
    assert found == "::warning file=a.yaml,line=3,endLine=3,title=odd,col=5,endColumn=9::this is odd"


def test_what_goes_over_lines_has_no_columns() -> None:
    found = line(Diagnostic("odd", "x", Span("a.yaml", 3, 5, 4, 2), help="mend it"))
    assert found == "::error file=a.yaml,line=3,endLine=4,title=odd::x%0Ahelp: mend it"


def test_what_means_something_to_the_runner_is_escaped() -> None:
    found = line(Diagnostic("odd", "100%\n::error::x", Span("C:\\a,b%.yaml", 1, 1, 1, 2)))
    assert found == "::error file=C%3A\\a%2Cb%25.yaml,line=1,endLine=1,title=odd,col=1,endColumn=2::100%25␊::error::x"


def test_nothing_found_is_nothing_said() -> None:
    assert write_github([]) == b""


@given(st.text(), st.text(), st.none() | st.text())
def test_whatever_is_found_is_one_command(file: str, message: str, remedy: str | None) -> None:
    found = line(Diagnostic("odd", message, Span(file, 1, 1, 1, 1), help=remedy))
    assert COMMAND.fullmatch(found)
