"""What a replay found, for people, for programs, for a pull request, and as annotations of the lines that decide."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import orjson

from authz.span import Span
from cli.reports.github import write_github
from mesh.replaying.kind import Change
from mesh.replaying.reading import Reading
from mesh.replaying.replay import Group, Replayed
from mesh.replaying.version import Cause
from parser.diagnostics import Diagnostic, Severity, to_data
from parser.excerpt import visible

__all__ = ["REPORTS", "Run"]

_WORDS = {
    Change.NEWLY_DENIED: "newly denied",
    Change.NEWLY_ALLOWED: "newly allowed",
    Change.UNCERTAIN: "uncertain",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A replay of several recordings: what came of it, and what there was to read. `failing` are the changes that make it fail."""

    replayed: Replayed
    readings: tuple[Reading, ...]
    revision: str
    against: str | None
    failing: frozenset[Change]

    @property
    def bad(self) -> int:
        """How much was no record."""
        return sum(reading.bad for reading in self.readings)

    @property
    def without_request(self) -> int:
        """How many records hold no request."""
        return sum(reading.without_request for reading in self.readings)

    @property
    def changed(self) -> dict[Change, int]:
        """How many requests changed how, those that none did left out."""
        counts = {change: self.replayed.count(change) for change in Change}
        return {change: count for change, count in counts.items() if count}

    @property
    def failed(self) -> bool:
        """Whether a change occurred that makes it fail."""
        return not self.failing.isdisjoint(self.changed)

    @property
    def verdict(self) -> str:
        """The word that stands first."""
        return "changed" if self.changed else "unchanged"


def _text(run: Run) -> bytes:
    lines = [f"{run.verdict}: {_summary(run)}"]
    for change in Change:
        groups = [group for group in run.replayed.groups if group.key.change is change]
        if groups:
            lines += ["", _WORDS[change]]
            for group in groups:
                lines += _lines_of(group)
    if notes := list(_notes(run)):
        lines += ["", *notes] if run.changed else notes
    return "".join(f"{line}\n" for line in lines).encode()


def _summary(run: Run) -> str:
    compared = run.replayed.compared
    if not run.changed:
        return f"{_counted(compared, 'request')} decided as {'then' if run.against is None else 'by the other version'}"
    changes = ", ".join(f"{count:,} {_WORDS[change]}" for change, count in run.changed.items())
    return f"{changes}, of {_counted(compared, 'request')}"


def _lines_of(group: Group) -> list[str]:
    key = group.key
    return [
        f"  {visible(key.workload)}  {visible(key.caller)}  {visible(key.route)}  {_counted(group.count, 'request')}",
        f"    now     {visible(_cause(key.now))}",
        f"    before  {visible(_cause(key.before))}",
        *([f"    lacks   {visible(', '.join(key.lacking))}"] if key.lacking else []),
        f"    first   {visible(group.place)}",
        f"    sample  {visible(_json(group.sample))}",
    ]


def _cause(cause: Cause) -> str:
    """`ALLOW  an ALLOW rule matches: shop/api-for-web#1 (policies/shop/api.yaml:21:7)`."""
    rule = "" if cause.policy is None else f"{cause.policy}#{cause.rule}"
    place = "" if cause.place is None else f" ({cause.place})"
    because = ": ".join(part for part in (cause.reason, rule) if part)
    return f"{cause.verdict.value}  {because}{place}".rstrip()


def _notes(run: Run) -> Iterator[str]:
    """What was not compared, and what else to know."""
    left_out = {
        "without a verdict": run.replayed.without_verdict,
        "without a request": run.without_request,
        "that is no record" if run.bad == 1 else "that are no records": run.bad,
    }
    found = [f"{count:,} {what}" for what, count in left_out.items() if count]
    if found:
        yield f"not compared: {', '.join(found)}"
    for reading in run.readings:
        if reading.cut is not None:
            yield f"not compared: what should follow {visible(reading.place)}, where the recording ends too early"
    if run.replayed.unlogged:
        keys = ", ".join(map(visible, run.replayed.unlogged))
        yield f"note: no record has {keys}: a decision log names only what the policies of then looked at"


def _json_report(run: Run) -> bytes:
    document = {
        "verdict": run.verdict,
        "failed": run.failed,
        "compared": run.replayed.compared,
        "unchanged": run.replayed.unchanged,
        "newly_denied": run.replayed.count(Change.NEWLY_DENIED),
        "newly_allowed": run.replayed.count(Change.NEWLY_ALLOWED),
        "uncertain": run.replayed.count(Change.UNCERTAIN),
        "without_verdict": run.replayed.without_verdict,
        "without_request": run.without_request,
        "bad": run.bad,
        "problems": [to_data(problem) for reading in run.readings for problem in reading.problems],
        "cut": [to_data(reading.cut) for reading in run.readings if reading.cut is not None],
        "unlogged": run.replayed.unlogged,
        "groups": list(map(_document_of, run.replayed.groups)),
        "revision": run.revision,
        "against": run.against,
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _document_of(group: Group) -> dict[str, object]:
    key = group.key
    return {
        "change": key.change.value,
        "workload": key.workload,
        "caller": key.caller,
        "route": key.route,
        "count": group.count,
        "now": _document_of_cause(key.now),
        "before": _document_of_cause(key.before),
        "lacking": key.lacking,
        "first": group.place,
        "sample": group.sample,
    }


def _document_of_cause(cause: Cause) -> dict[str, object]:
    return {
        "verdict": cause.verdict.value,
        "policy": cause.policy,
        "rule": cause.rule,
        "reason": cause.reason,
        "place": None if cause.place is None else str(cause.place),
    }


def _markdown(run: Run) -> bytes:
    lines = [f"### meshward replay: {run.verdict}", "", f"{_summary(run).capitalize()}."]
    if run.changed:
        lines += [
            "",
            "| | workload | caller | request | count | now | before |",
            "|---|---|---|---|---:|---|---|",
            *(_row(group) for group in run.replayed.groups),
            "",
            "<details><summary>One sample of each</summary>",
            "",
            *(f"- {_code(group.place)}: {_code(_json(group.sample))}" for group in run.replayed.groups),
            "",
            "</details>",
        ]
    notes = list(_notes(run))
    lines += ["", *(f"- {_escaped(note)}" for note in notes)] if notes else []
    return "".join(f"{line}\n" for line in lines).encode()


def _row(group: Group) -> str:
    key = group.key
    lacking = f" (the records lack {_code(', '.join(key.lacking))})" if key.lacking else ""
    cells = (
        f"**{_WORDS[key.change]}**{lacking}",
        _code(key.workload),
        _code(key.caller),
        _code(key.route),
        f"{group.count:,}",
        _escaped(_cause(key.now)),
        _escaped(_cause(key.before)),
    )
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """Text between backticks, in a cell of a table: what is in it is text, whatever it is."""
    shown = visible(text).replace("|", "\\|")
    ticks = "`"
    while ticks in shown:
        ticks += "`"
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def _escaped(text: str) -> str:
    """Text in which nothing is Markdown, or HTML."""
    return "".join(f"\\{character}" if character in _MARKS else character for character in visible(text))


_MARKS = frozenset("\\`*_{}[]<>#|!@~&")


def _github(run: Run) -> bytes:
    annotations = [_annotation(group, failing=group.key.change in run.failing) for group in run.replayed.groups]
    return (
        write_github(annotations)
        + f"{run.verdict}: {_summary(run)}\n".encode()
        + "".join(f"{note}\n" for note in _notes(run)).encode()
    )


def _annotation(group: Group, *, failing: bool) -> Diagnostic:
    key = group.key
    file, _, line = group.place.rpartition(":")
    span = key.now.place or key.before.place or Span(file, int(line), 1, int(line), 1)
    message = (
        f"{_counted(group.count, 'request')} {_WORDS[key.change]}: {key.workload} from {key.caller}, {key.route}; "
        f"now {_cause(key.now)}; before {_cause(key.before)}"
    )
    severity = Severity.ERROR if failing else Severity.WARNING
    return Diagnostic(key.change.value, message, span, help=f"a sample: {_json(group.sample)}", severity=severity)


def _json(document: Mapping[str, object]) -> str:
    return orjson.dumps(document).decode()


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


REPORTS: Mapping[str, Callable[[Run], bytes]] = {
    "text": _text,
    "json": _json_report,
    "markdown": _markdown,
    "github": _github,
}
"""How a run is written, by the name of the format."""
