"""The matrix of who may call what, as text, as Markdown and as data."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Verdict
from mesh.access.callers import Caller, CallerKind
from mesh.access.cells import Answer, Before, Cell
from mesh.access.matrix import Matrix
from mesh.access.routes import Route
from mesh.snapshot import Snapshot
from parser.excerpt import visible

__all__ = ["Field", "Sheet", "document_of_matrix", "markdown_of", "print_sheets", "sheet_of"]

_LISTED = 12
"""So many of those that are treated alike are named, before the others are counted."""


class Field(NamedTuple):
    """A cell as it is shown: the answer, and the number of the note that says why; and how it was, where that is otherwise."""

    answer: Answer
    note: int
    before: Before | None = None

    def __str__(self) -> str:
        return f"{self.answer.value} {self.note}" if self.note else self.answer.value


@dataclass(frozen=True, slots=True)
class Sheet:
    """A matrix as it is shown: `columns` in few words, and in full; a row of fields for each route; notes from 1 on."""

    title: str
    columns: tuple[str, ...]
    callers: tuple[str, ...]
    routes: tuple[str, ...]
    fields: tuple[tuple[Field, ...], ...]
    notes: tuple[str, ...]


def sheet_of(matrix: Matrix, snapshot: Snapshot) -> Sheet:
    """The matrix in the words in which it is shown."""
    notes: dict[str, int] = {}

    def field(cell: Cell) -> Field:
        why = _why(cell, snapshot)
        return Field(cell.answer, 0 if why is None else notes.setdefault(why, len(notes) + 1), cell.before)

    fields = tuple(tuple(map(field, cells)) for cells in matrix.cells)
    return Sheet(
        title=f"{_listed([each.name for each in matrix.subjects])} ({matrix.subjects[0].workload.proxy.value})",
        columns=tuple(_short(group, alone=len(matrix.callers) == 1) for group in matrix.callers),
        callers=tuple(_listed([caller.name for caller in group]) for group in matrix.callers),
        routes=tuple(visible(route.name) for route in matrix.routes),
        fields=fields,
        notes=tuple(notes),
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(visible, names[:_LISTED])) + more


def _short(group: Sequence[Caller], *, alone: bool) -> str:
    """Whom a column is about: by those of them who are most."""
    if alone:
        return "everyone"
    rank = (CallerKind.OTHER, CallerKind.PATTERN, CallerKind.ACCOUNT, CallerKind.TOKEN, CallerKind.PLAINTEXT)
    first = min(group, key=lambda caller: rank.index(caller.kind))
    name = "anyone else" if first.kind is CallerKind.OTHER else visible(first.name)
    return f"{name} +{len(group) - 1}" if len(group) > 1 else name


def _why(cell: Cell, snapshot: Snapshot) -> str | None:
    decision = cell.decision
    if decision is None:
        return None
    if (match := decision.match) is None:
        why = decision.reason
    else:
        place = snapshot.place(match)
        why = f"{decision.verdict.value} {match.policy}#{match.rule}" + (f" ({place})" if place else "")
    return visible(why + (f", depends on {' and '.join(cell.on)}" if cell.on else ""))


# As text ----------------------------------------------------------------------------------------------------------------

_STYLES = {Answer.ALLOW: "green", Answer.DENY: "red", Answer.DEPENDS: "yellow", Answer.NEVER: "dim"}


def print_sheets(sheets: Iterable[Sheet], out: TextIO, *, colour: bool) -> None:
    """Print them, one below the other; whatever colours say, words say, too."""
    from rich.console import Console  # noqa: PLC0415  # paid for by who prints
    from rich.text import Text  # noqa: PLC0415

    console = Console(
        file=out, soft_wrap=True, markup=False, emoji=False, highlight=False, color_system="auto" if colour else None
    )
    for number, sheet in enumerate(sheets):
        if number:
            console.print()
        for line in _lines(sheet):
            text = Text()
            for words, style in line:
                text.append(words, style)
            text.rstrip()
            console.print(text, soft_wrap=True)


_Line = list[tuple[str, str]]


def _lines(sheet: Sheet) -> Iterator[_Line]:
    yield [(sheet.title, "bold")]
    left = max(map(len, sheet.routes))
    widths = [
        max(len(column), *(len(str(fields[place])) for fields in sheet.fields))
        for place, column in enumerate(sheet.columns)
    ]
    cells = [(f"  {column.ljust(width)}", "bold") for column, width in zip(sheet.columns, widths, strict=True)]
    yield [("  " + " " * left, ""), *cells]
    for route, fields in zip(sheet.routes, sheet.fields, strict=True):
        shown = [
            (f"  {str(field).ljust(width)}", _STYLES[field.answer]) for field, width in zip(fields, widths, strict=True)
        ]
        yield [("  " + route.ljust(left), ""), *shown]
    yield []
    for column, callers in _merged(sheet):
        yield [(f"  {column}: {callers}", "dim")]
    for number, note in enumerate(sheet.notes, start=1):
        yield [(f"  {number} {note}", "dim")]


def _merged(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """The columns that are about several callers, with all of them."""
    return ((c, all_of) for c, all_of in zip(sheet.columns, sheet.callers, strict=True) if c != all_of)


def markdown_of(sheets: Iterable[Sheet]) -> str:
    """The matrices as tables of Markdown."""
    return "\n".join(f"{line}" for sheet in sheets for line in _markdown(sheet))


_SIGNS = {Answer.ALLOW: "✅ allow", Answer.DENY: "⛔ deny", Answer.DEPENDS: "❔ depends", Answer.NEVER: "never"}


def _markdown(sheet: Sheet) -> Iterator[str]:
    yield f"### {_escaped(sheet.title)}\n"
    yield "| | " + " | ".join(map(_escaped, sheet.columns)) + " |"
    yield "|---|" + "---|" * len(sheet.columns)
    for route, fields in zip(sheet.routes, sheet.fields, strict=True):
        cells = (f"{_SIGNS[field.answer]} ({field.note})" if field.note else _SIGNS[field.answer] for field in fields)
        yield f"| {_escaped(route)} | " + " | ".join(cells) + " |"
    yield ""
    yield from (f"- {_escaped(column)}: {_escaped(callers)}" for column, callers in _merged(sheet))
    yield ""
    yield from (f"{number}. {_escaped(note)}" for number, note in enumerate(sheet.notes, start=1))
    yield ""


def _escaped(text: str) -> str:
    # What a name holds may be no markup of a page on which it is pasted.
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>|#~" else "&amp;" if c == "&" else c for c in text)


# As data ----------------------------------------------------------------------------------------------------------------


def document_of_matrix(matrix: Matrix, snapshot: Snapshot) -> dict[str, Any]:
    """The matrix as plain data: `cells` has a list for each route, with a cell for each of `callers`."""
    return {
        "workloads": [subject.name for subject in matrix.subjects],
        "callers": [
            [
                {"kind": each.kind.value, "name": each.name, "identity": each.identity, "issuer": each.issuer}
                for each in group
            ]
            for group in matrix.callers
        ],
        "routes": list(map(_route, matrix.routes)),
        "cells": [[_cell(cell, snapshot) for cell in cells] for cells in matrix.cells],
    }


def _route(route: Route) -> dict[str, Any]:
    return {
        "name": route.name,
        "protocol": route.protocol.value,
        "methods": list(route.methods),
        "other_methods": route.others,
        "path": route.path,
        "port": route.port,
    }


def _cell(cell: Cell, snapshot: Snapshot) -> dict[str, Any]:
    decision = cell.decision
    return {
        "answer": cell.answer.value,
        "by": None if decision is None else _by(decision, snapshot),
        "depends_on": list(cell.on),
        "allowed": None if cell.allowed is None else _request(cell.allowed.case.attributes),
        "denied": None if cell.denied is None else _request(cell.denied.case.attributes),
    }


def _by(decision: Decision, snapshot: Snapshot) -> dict[str, Any]:
    match = decision.match
    return {
        "verdict": Verdict(decision.verdict).value,
        "stage": decision.stage.value,
        "policy": None if match is None else match.policy,
        "rule": None if match is None else match.rule,
        "place": None if match is None or (place := snapshot.place(match)) is None else str(place),
        "reason": decision.reason,
    }


def _request(attributes: Attributes) -> dict[str, Any]:
    """A request as a request document has it, without its destination, which is the workload."""
    http = attributes.protocol is Protocol.HTTP
    document = {
        "destination": _given(port=attributes.destination_port, ip=_address(attributes.destination_ip)),
        "source": _given(
            principal=attributes.identities[0] if attributes.identities else None,
            ip=_address(attributes.source_ip),
            remoteIp=_address(attributes.remote_ip),
        ),
        "connection": _given(protocol=None if http else "tcp", sni=attributes.sni),
        "request": _given(
            method=attributes.method,
            path=attributes.path,
            host=attributes.host,
            headers={name: list(values) for name, values in attributes.headers.items()} or None,
        ),
        "jwt": _given(claims=attributes.claims),
    }
    return {name: part for name, part in document.items() if part}


def _given(**facts: object) -> dict[str, object]:
    return {name: value for name, value in facts.items() if value is not None}


def _address(address: object) -> str | None:
    return None if address is None else str(address)
