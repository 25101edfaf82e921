"""Who can reach a workload, as people read it and as data."""

import sys
from collections.abc import Iterator, Sequence

import orjson

from authz.attributes import Protocol
from authz.errors import AuthzError
from cli.command import UsageError
from mesh.comparing import MOST_REGIONS
from mesh.proving.loading import assumptions
from mesh.proving.subjects import subjects
from mesh.snapshot import Snapshot
from mesh.who_can import Reach, who_can
from parser.diagnostics import quoted
from parser.excerpt import visible
from parser.problems import nearest

__all__ = ["print_who_can"]


def print_who_can(snapshot: Snapshot, workload_id: str, *, method: str | None, path: str | None, output: str) -> None:
    """Print who can reach the workload, with this method and to this path if they are given.

    Raises:
        UsageError: There is no such workload, or nothing can be such a path.
    """
    try:
        found = who_can(snapshot, workload_id, method=method, path=path)
    except AuthzError as error:
        raise UsageError(f"--path: {error}") from error
    if not found:
        names = sorted({subject.name for subject in subjects(snapshot)})
        near = nearest(workload_id, names)
        help_ = f"did you mean `{near}`?" if near else f"there are {', '.join(names[:8]) or 'none'}"
        raise UsageError(f"there is no workload {quoted(workload_id)}", help=help_)
    if output == "json":
        document = {"workloads": list(map(_as_data, found)), "assumptions": assumptions(snapshot)}
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2))
    else:
        lines = [line for reach in found for line in _lines(reach)]
        sys.stdout.buffer.write("".join(f"{visible(line)}\n" for line in lines).encode())
    sys.stdout.flush()


def _lines(reach: Reach) -> Iterator[str]:
    yield reach.subject.name
    if not reach.callers:
        yield "  nobody"
    for who, allowed in reach.callers:
        yield f"  {who}"
        for each in allowed:
            only = " (TCP)" if each.protocols == (Protocol.TCP,) else ""
            yield f"      {each.words}{only}"
            yield f"          {each.shown.decided}"
    if not reach.complete:
        yield f"  … and more: the first {MOST_REGIONS} regions of a protocol are told"


def _as_data(reach: Reach) -> dict[str, object]:
    callers: Sequence[object] = [
        {
            "callers": who,
            "allowed": [
                {
                    "where": each.words,
                    "protocols": [protocol.value for protocol in each.protocols],
                    "request": each.shown.document,
                    "decided": str(each.shown.decided),
                }
                for each in allowed
            ],
        }
        for who, allowed in reach.callers
    ]
    return {"workload": reach.subject.name, "complete": reach.complete, "who": callers}
