"""Reports of what two versions decide differently: for people, and for the programs that run them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import orjson

from authz.span import Span
from cli.reports import github
from mesh.comparing import MOST_REGIONS, Change
from mesh.differences import Changed, Differences, ToldRegion
from mesh.proving.showing import Decided
from mesh.revisions import GIT
from parser.diagnostics import Diagnostic, Severity
from parser.excerpt import visible

__all__ = ["WRITERS", "Writer", "headlines"]

Writer = Callable[[Differences], bytes]
"""Writes what is different in one format."""

_SIGNS = {Change.NEWLY_ALLOWED: "+", Change.NEWLY_DENIED: "-"}


def _summary(found: Differences) -> str:
    """One line, the verdict first."""
    workloads = sum(len(changed.workloads) for changed in found.changed)
    of = len(found.same) + workloads
    if not found.changed:
        return f"same: nothing changes for {_counted(of, 'workload', 'workloads')} (proved)"
    capped = {change for changed in found.changed for change in changed.capped}
    counts = ", ".join(
        f"{'more than ' if change in capped else ''}{found.count(change)} {change.value}"
        for change in Change
        if found.count(change)
    )
    return f"changed: {counts}, for {workloads} of {_counted(of, 'workload', 'workloads')}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _around(found: Differences) -> Iterator[str]:
    """What is different of the mesh itself, and whether all is told."""
    if found.added:
        yield f"added: {', '.join(found.added)}"
    if found.removed:
        yield f"removed: {', '.join(found.removed)}"
    for each in found.config:
        yield f"mesh configuration: {each}"
    if not all(changed.complete for changed in found.changed):
        yield f"not all is told: of each change of a workload the first {MOST_REGIONS} regions are"


def headlines(found: Differences) -> list[str]:
    """How much is different, the verdict first, and what is of the mesh itself."""
    return [_summary(found), *_around(found)]


def _text(found: Differences) -> bytes:
    lines = headlines(found)
    for changed in found.changed:
        lines += ["", ", ".join(changed.workloads)]
        for region in changed.regions:
            lines.append(f"  {_SIGNS[region.change]} {region.change.value}: {region.headline}")
            lines += (f"      {label:<8}  {text}" for label, text in _details(region))
        lines += _incomplete(changed)
    lines += ["", "it is assumed that", *(f"  - {each}" for each in found.assumptions)]
    return _encoded(lines)


def _incomplete(changed: Changed) -> list[str]:
    return [] if changed.complete else [f"  … and more: the first {MOST_REGIONS} regions of a change are told"]


def _details(region: ToldRegion) -> Iterator[tuple[str, str]]:
    shown = region.shown
    if shown.before is not None:
        yield "before", str(shown.before)
    yield "now", str(shown.decided)
    yield "request", shown.json
    if shown.curl is not None:
        yield "curl", shown.curl
    if shown.allowed_by:
        yield "custom", f"{', '.join(shown.allowed_by)} let it through"


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{visible(line)}\n" for line in lines).encode()


# For programs -----------------------------------------------------------------------------------------------------------


def _json(found: Differences) -> bytes:
    document = {
        "verdict": "changed" if found.changed else "same",
        "newly_allowed": found.count(Change.NEWLY_ALLOWED),
        "newly_denied": found.count(Change.NEWLY_DENIED),
        "complete": all(changed.complete for changed in found.changed),
        "most_regions": MOST_REGIONS,
        "changed": [
            {
                "workloads": changed.workloads,
                "complete": changed.complete,
                "regions": list(map(_as_data, changed.regions)),
            }
            for changed in found.changed
        ],
        "same": found.same,
        "added": found.added,
        "removed": found.removed,
        "mesh_configuration": found.config,
        "assumptions": found.assumptions,
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


def _as_data(region: ToldRegion) -> dict[str, object]:
    shown = region.shown
    return {
        "change": region.change.value,
        "where": region.words,
        "protocols": [protocol.value for protocol in region.protocols],
        "request": shown.document,
        "curl": shown.curl,
        "allowed_by": shown.allowed_by,
        "before": None if shown.before is None else _decided_as_data(shown.before),
        "now": _decided_as_data(shown.decided),
    }


def _decided_as_data(decided: Decided) -> dict[str, object]:
    place = decided.place
    return {
        "words": decided.words,
        "file": None if place is None else place.file,
        "line": None if place is None else place.line,
    }


def _github(found: Differences) -> bytes:
    diagnostics = [
        Diagnostic(
            region.change.value.replace(" ", "-"),
            f"{', '.join(changed.workloads)}: {region.change.value}: {region.headline}",
            _place(region),
            help=f"{region.shown.summary}: was {region.shown.before}, is {region.shown.decided}",
            severity=Severity.WARNING,
        )
        for changed in found.changed
        for region in changed.regions
    ]
    return github.write_github(diagnostics) + _encoded(headlines(found))


def _place(region: ToldRegion) -> Span:
    """A place in the working tree; what is only in a revision, or nowhere, has none."""
    place = region.place
    return place if place is not None and not place.file.startswith(GIT) else Span(".", 1, 1, 1, 1)


def _markdown(found: Differences) -> bytes:
    lines = [f"**{_summary(found)}**", ""]
    if found.changed:
        lines += ["| Workload | + newly allowed | - newly denied |", "|---|---|---|"]
        lines += (
            f"| {_cell(', '.join(changed.workloads))} | {_cells(changed, Change.NEWLY_ALLOWED)} "
            f"| {_cells(changed, Change.NEWLY_DENIED)} |"
            for changed in found.changed
        )
        lines.append("")
    lines += (f"- {_escaped(each)}" for each in _around(found))
    for changed in found.changed:
        names = ", ".join(changed.workloads)
        lines += ["", f"<details><summary>{_html(names)}: requests, and the rules responsible</summary>", ""]
        block = []
        for region in changed.regions:
            block.append(f"{_SIGNS[region.change]} {region.headline}")
            block += (f"    {label:<8}  {text}" for label, text in _details(region))
        lines += [*_fenced([*block, *_incomplete(changed)]), "", "</details>"]
    lines += ["", "<details><summary>Assumed</summary>", ""]
    lines += [*(f"- {_escaped(each)}" for each in found.assumptions), "", "</details>"]
    return _encoded(lines)


def _cells(changed: Changed, change: Change) -> str:
    return "<br>".join(_cell(region.headline) for region in changed.of(change)) or " "


def _cell(text: str) -> str:
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}".replace("|", "\\|")


def _fenced(block: list[str]) -> list[str]:
    # No line in it may end it.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", "\n".join(block))), default=0))
    return [f"{fence}diff", *block, fence]


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _escaped(text: str) -> str:
    """Text of which nothing is taken for Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]|~<>&#])", r"\\\1", text)


WRITERS: Mapping[str, Writer] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "github": _github,
}
