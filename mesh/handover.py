"""Handing a snapshot to another process that has the one before it: only what is new is sent, and only that is compiled there.

It is sent in small pieces, for whoever reads them answers in between. Both ends must be ours: reading a pickle runs what it says.
"""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from authz.mesh_config import MeshConfig
from mesh.snapshot import Snapshot
from parser.difference import differing

__all__ = ["pieces", "received"]

_PIECE = 20
_KINDS = ("policies", "peer_authentications", "request_authentications", "workloads")


@dataclass(frozen=True, slots=True)
class _Part:
    """What replaces `start` to `stop` of a sequence: so many, each a position in what was there before, or something new."""

    start: int
    stop: int
    length: int


@dataclass(frozen=True, slots=True)
class _Head:
    """What comes before the pieces: the parts follow each other in the order of the kinds."""

    revision: str
    config: MeshConfig
    parts: tuple[_Part, ...]


def pieces(snapshot: Snapshot, before: Snapshot | None) -> Iterator[bytes]:
    """What to send to a process that has `before`, so that it has `snapshot`."""
    parts: list[_Part] = []
    items: list[object] = []
    for kind in _KINDS:
        old: Sequence[object] = () if before is None else getattr(before, kind)
        new: Sequence[object] = getattr(snapshot, kind)
        was, now = differing(old, new)
        positions = {id(each): position for position, each in enumerate(old[was], was.start)}
        parts.append(_Part(was.start, was.stop, now.stop - now.start))
        items.extend(positions.get(id(each), each) for each in new[now])
    out = BytesIO()
    # One pickler, so that what several share is sent once.
    pickler = pickle.Pickler(out, pickle.HIGHEST_PROTOCOL)
    pickler.dump(_Head(snapshot.revision, snapshot.config, tuple(parts)))
    for start in range(0, len(items), _PIECE):
        pickler.dump(items[start : start + _PIECE])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    if not items:
        yield out.getvalue()


def received(stream: BinaryIO, before: Snapshot | None) -> Snapshot:
    """The snapshot that follows `before`, as `pieces` were sent of it.

    Raises:
        EOFError: No more will come.
        OSError: Neither.
    """
    unpickler = pickle.Unpickler(stream)  # noqa: S301  # of our own first process
    items: list[object] = []
    try:
        head: _Head = unpickler.load()
        while len(items) < sum(part.length for part in head.parts):
            items += unpickler.load()
    except pickle.UnpicklingError as error:  # it ends in the middle
        raise EOFError from error
    declared: dict[str, Any] = {}
    first = 0
    for kind, part in zip(_KINDS, head.parts, strict=True):
        old: Sequence[object] = () if before is None else getattr(before, kind)
        found = [old[each] if isinstance(each, int) else each for each in items[first : first + part.length]]
        declared[kind] = (*old[: part.start], *found, *old[part.stop :])
        first += part.length
    return Snapshot(**declared, config=head.config, revision=head.revision, previous=before)
