"""What tests have covered: for people, as data, and as pages of the policies themselves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import PurePath

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from authz.span import Span
from mesh.testing.coverage import Clause, Coverage, Ratio
from parser.excerpt import visible

__all__ = ["INDEX", "coverage_as_data", "coverage_as_json", "lines_of_coverage", "pages_of_coverage"]

INDEX = "index.html"
"""The name of the page that leads to all others."""

_SHOWN = 20


def lines_of_coverage(coverage: Coverage) -> Iterator[str]:
    """The figures, and what is not covered, as far as it fits on a screen."""
    yield "coverage: " + ", ".join(f"{name} {_figures(ratio)}" for name, ratio in _ratios(coverage))
    missing = list(_missing(coverage))
    yield from missing[:_SHOWN]
    if len(missing) > _SHOWN:
        yield f"  and {len(missing) - _SHOWN} more, which --coverage-json and --coverage-html have"


def _ratios(coverage: Coverage) -> list[tuple[str, Ratio]]:
    ratios = [
        ("policies", coverage.of_policies),
        ("rules", coverage.of_rules),
        ("conditions", coverage.of_conditions),
    ]
    return [*ratios, ("routes", coverage.of_routes)] if coverage.routes else ratios


def _figures(ratio: Ratio) -> str:
    return f"{ratio.percent:.1f} % ({ratio.covered} of {ratio.total})"


def _missing(coverage: Coverage) -> Iterator[str]:
    for policy in coverage.policies:
        if not policy.covered:
            yield f"  decides no case: {policy.policy} ({policy.span})"
    bare = {policy.policy for policy in coverage.policies if not policy.covered}
    for rule in coverage.rules:
        if not rule.decided and rule.policy not in bare:
            yield f"  decides no case: {rule.policy}#{rule.rule} ({rule.span})"
    for clause in coverage.clauses:
        if not (clause.held and clause.failed):
            yield f"  {_of_clause(clause)}: `{clause.field}` of {clause.policy}#{clause.rule} ({clause.span})"
    for cover in coverage.routes:
        if not cover.decided:
            yield f"  no rule decides: {cover.route.method} {cover.route.template}"


def _of_clause(clause: Clause) -> str:
    if clause.held:
        return "always holds"
    return "never holds" if clause.failed else "is never come to"


# Data -------------------------------------------------------------------------------------------------------------------


def coverage_as_data(coverage: Coverage) -> dict[str, object]:
    """All of it as plain data."""
    return {
        "summary": {
            name: {"covered": ratio.covered, "total": ratio.total, "percent": round(ratio.percent, 2)}
            for name, ratio in _ratios(coverage)
        },
        "policies": [
            {"policy": each.policy, "covered": each.covered, **_place(each.span)} for each in coverage.policies
        ],
        "rules": [
            {"policy": each.policy, "rule": each.rule, "decided": each.decided, **_place(each.span)}
            for each in coverage.rules
        ],
        "conditions": [
            {
                "policy": each.policy,
                "rule": each.rule,
                "field": each.field,
                "held": each.held,
                "failed": each.failed,
                **_place(each.span),
            }
            for each in coverage.clauses
        ],
        "routes": [
            {"method": each.route.method, "path": each.route.template, "decided": each.decided}
            for each in coverage.routes
        ],
    }


def coverage_as_json(coverage: Coverage) -> bytes:
    """The same, written."""
    return orjson.dumps(coverage_as_data(coverage), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


def _place(span: Span | None) -> dict[str, object]:
    if span is None:
        return {"file": None, "line": None, "column": None}
    return {"file": span.file.encode(errors="replace").decode(), "line": span.line, "column": span.column}


# Pages ------------------------------------------------------------------------------------------------------------------


class _State(Enum):
    """How much of a line is covered; `NOTHING` is there to cover on most."""

    NOTHING = ""
    FULL = "full"
    PART = "part"
    NONE = "none"


@dataclass(slots=True)
class _Line:
    """A line of a document: its text, what is said about it, and how much of it is covered."""

    number: int
    text: str
    state: _State = _State.NOTHING
    notes: list[str] = field(default_factory=list)

    def note(self, text: str, state: _State) -> None:
        """Say something about it. What is covered least colours the line."""
        self.notes.append(text)
        order = list(_State)
        self.state = max(self.state, state, key=order.index)


@dataclass(frozen=True, slots=True)
class _File:
    """A file of policies as a page."""

    name: str
    page: str
    lines: Sequence[_Line]
    ratios: Sequence[tuple[str, Ratio]]


def pages_of_coverage(coverage: Coverage, texts: Mapping[str, str]) -> dict[str, str]:
    """Pages by their names: one for each file of policies, whose `texts` are given, and one that leads to them."""
    files = [_file(number, name, text, coverage) for number, (name, text) in enumerate(sorted(texts.items()), start=1)]
    environment = _environment()
    pages = {
        INDEX: environment.get_template("coverage.html").render(
            ratios=_ratios(coverage), files=files, routes=coverage.routes
        )
    }
    page = environment.get_template("coverage_file.html")
    return pages | {file.page: page.render(file=file, index=INDEX) for file in files}


def _file(number: int, name: str, text: str, coverage: Coverage) -> _File:
    own = Coverage(
        policies=tuple(each for each in coverage.policies if each.span is not None and each.span.file == name),
        rules=tuple(each for each in coverage.rules if each.span is not None and each.span.file == name),
        clauses=tuple(each for each in coverage.clauses if each.span is not None and each.span.file == name),
    )
    lines = [_Line(number, line) for number, line in enumerate(text.splitlines(), start=1)]
    for policy in own.policies:
        if not policy.covered:
            _note(lines, policy.span, "✗ decides no case", _State.NONE)
    for rule in own.rules:
        if rule.decided:
            _note(lines, rule.span, f"✓ decides {rule.decided}", _State.FULL)
        else:
            _note(lines, rule.span, "✗ decides no case", _State.NONE)
    for clause in own.clauses:
        state = [_State.NONE, _State.PART, _State.FULL][clause.held + clause.failed]
        said = "✓ holds, ✓ fails" if state is _State.FULL else f"✗ {_of_clause(clause)}"
        _note(lines, clause.span, f"{clause.field}: {said}", state)
    return _File(name, f"{number}-{PurePath(name).name}.html", lines, _ratios(own))


def _note(lines: Sequence[_Line], span: Span | None, text: str, state: _State) -> None:
    # The file may have changed since it was read.
    if span is not None and 0 < span.line <= len(lines):
        lines[span.line - 1].note(text, state)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("cli.reports", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every text of a document goes through here; what macros make is markup, which is a type of its own.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
