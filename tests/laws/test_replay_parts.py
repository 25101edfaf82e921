"""A recording that is read in parts, by one process or by several, comes out as one that is read in one go."""

import gzip
import io
import json
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.mesh_config import MeshConfig
from authz.model import Action, Condition, Operation, Policy, Rule
from authz.workload import Workload
from mesh.deciding import Offline
from mesh.replaying import comparing, replay, stream
from mesh.replaying.decisions import LogLines, read_decisions
from mesh.replaying.kind import Kind
from mesh.replaying.log import LineReader, Log
from mesh.replaying.masking import Masking
from mesh.replaying.reading import NO_DEFAULTS, Reading
from mesh.replaying.record import Record
from mesh.replaying.replay import Replay, Replayed
from mesh.replaying.stream import Piece, Stream, whole_lines
from mesh.replaying.version import Version
from mesh.snapshot import Snapshot

WORKLOADS = tuple(Workload(namespace="shop", name=name, labels={"app": name}) for name in ("api", "db"))
POLICIES = (
    Policy(namespace="shop", name="items", rules=(Rule(operations=(Operation(methods=("GET",), paths=("/a/*", "/b")),)),)),
    Policy(
        namespace="shop",
        name="roles",
        action=Action.DENY,
        rules=(Rule(conditions=(Condition(key="request.headers[x-role]", values=("guest",)),)),),
    ),
)  # fmt: skip
VERSION = Version(Snapshot(policies=POLICIES, workloads=WORKLOADS, config=MeshConfig(), revision="r"), Offline(at=0.0))
OTHERS = Policy(namespace="shop", name="others", rules=(Rule(operations=(Operation(paths=("/other/*", "/b")),)),))
BEFORE = Version(Snapshot(policies=(OTHERS,), workloads=WORKLOADS, config=MeshConfig(), revision="b"), Offline(at=0.0))


class Whole(Log):
    """A log whose records come one after the other, as they always may be read."""

    def line_reader(self) -> LineReader | None:
        return None


def decision(source: random.Random) -> dict[str, object]:
    headers = {} if source.random() < 0.5 else {"headers": {"x-role": [source.choice(("guest", "admin"))]}}
    verdict = {} if source.random() < 0.1 else {"decision": {"verdict": source.choice(("ALLOW", "DENY"))}}
    path = source.choice(("/a/x", "/b", f"/a/{source.randrange(9)}", f"/other/name{source.randrange(50)}x"))
    return {
        "time": "2026-01-01T00:00:00.000+00:00",
        "workload": source.choice(("shop/api", "shop/db", "shop/none")),
        "destination": {"ip": "10.0.0.9", "port": 8080},
        "source": {"principal": f"spiffe://td/ns/shop/sa/{source.randrange(3)}", "ip": "10.1.1.1", "remoteIp": "10.1.1.1"},
        "connection": {"protocol": "http"},
        "request": {"method": "GET", "path": path, "host": "h", "scheme": "http", **headers},
        **verdict,
        "duration_us": 1.5,
    }  # fmt: skip


def entry(source: random.Random) -> dict[str, object]:
    return {
        "workload": source.choice(("shop/api", "shop/db", "shop/none")),
        "method": "GET",
        "path": source.choice(("/a/x", "/b", f"/other/name{source.randrange(50)}x")),
        "authority": "h",
        "downstream_direct_remote_address": f"10.0.0.{source.randrange(4)}:{source.randrange(1, 60000)}",
        "response_code_details": source.choice(("via_upstream", "rbac_access_denied_matched_policy[none]", "-")),
    }


WRITERS: dict[Kind, Callable[[random.Random], dict[str, object]]] = {Kind.DECISIONS: decision, Kind.ENVOY: entry}


def lines(kind: Kind, seed: int, count: int) -> bytes:
    """A log with lines that repeat, that are no records, and that are empty; and one that has no end."""
    source = random.Random(seed)
    written: list[bytes] = []
    for _ in range(count):
        chance = source.random()
        if chance < 0.1 and written:
            written.append(source.choice(written))
        elif chance < 0.15:
            written.append(
                source.choice(
                    (
                        b"",
                        b"  ",
                        b"no JSON",
                        b"[]",
                        b'{"request": 1}',
                        b'{"decision": {"verdict": "DENY"}}',
                        b"y" * 3000,
                    )
                )
            )
        else:
            written.append(json.dumps(WRITERS[kind](source), separators=(",", ":")).encode())
    return b"\n".join(written) + source.choice((b"\n", b"", b'\n{"workload":"shop/a'))  # fmt: skip


def taken(log: Log, *, jobs: int = 1, against: Version | None = None) -> tuple[Replayed, object]:
    replaying = Replay(VERSION, masking=Masking(), against=against)
    replaying.take(log, jobs=jobs)
    reading = log.reading
    return replaying.outcome(), (reading.line, reading.bad, reading.without_request, reading.problems, reading.cut)


def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if logs were long, and machines small."""
    monkeypatch.setattr(stream, "_PIECE", 2048)
    monkeypatch.setattr(stream, "LONGEST", 2500)
    monkeypatch.setattr(comparing, "MOST_GROUPS", 3)
    monkeypatch.setattr(replay, "MOST_GROUPS", 3)


@pytest.mark.parametrize("against", [None, BEFORE], ids=["then", "another version"])
@pytest.mark.parametrize("kind", WRITERS)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 120), packed=st.sampled_from(["no", "yes", "cut off"]))
@settings(max_examples=30, deadline=None)
def test_in_parts_it_comes_out_as_in_one_go(
    kind: Kind, against: Version | None, seed: int, count: int, packed: str
) -> None:
    data = lines(kind, seed, count)
    if packed != "no":
        data = gzip.compress(data)
        data = data[: len(data) // 2] if packed == "cut off" else data
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        whole, parts = (made(io.BytesIO(data), "log", kind=kind) for made in (Whole, Log))
        assert taken(parts, against=against) == taken(whole, against=against)


@pytest.mark.parametrize("against", [None, BEFORE], ids=["then", "another version"])
@pytest.mark.parametrize("kind", WRITERS)
def test_several_processes_find_what_one_finds(
    kind: Kind, against: Version | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch)
    for seed in range(4):
        data = lines(kind, seed, 600)
        alone = taken(Whole(io.BytesIO(data), "log", kind=kind), against=against)
        together = taken(Log(io.BytesIO(data), "log", kind=kind), jobs=3, against=against)
        assert together == alone
        assert len(alone[0].groups) > 3  # more than are kept apart


@given(st.binary(), st.integers(1, 9))
def test_whole_lines_are_all_of_a_stream(data: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_PIECE", size)
        pieces = list(whole_lines(Stream(io.BytesIO(data.replace(b"\x1f", b"")))))
    assert b"".join(piece.data for piece in pieces) == data.replace(b"\x1f", b"")
    assert all(piece.data.endswith(b"\n") for piece in pieces[:-1])
    assert [piece.before for piece in pieces] == [
        sum(each.data.count(b"\n") for each in pieces[:number]) for number in range(len(pieces))
    ]


def test_no_more_of_an_endless_line_is_held_than_tells_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    (piece, last) = whole_lines(Stream(io.BytesIO(b"x" * 100_000 + b"\nnext")))
    assert len(piece.data) <= 2500 + 2 * 2048
    assert last == Piece(1, b"next")


DECIDED = b'{"verdict":"DENY","status":403,"rule":1,"policy":"a/b","dry_run":{"deny":null,"allow":null}}'
REQUESTS = st.sampled_from(
    [
        b'"workload":"shop/api","request":{"method":"GET","path":"/a","host":"h"}',
        b'"workload":"shop/api","request":{"method":"GET","path":"/a","host":"h"},"jwt":{"claims":{"x":"y"',
        b'"workload":"shop/api","request":{"method":"GET","path":"/a,\\"decision\\":","host":"h"}',
        b'"workload":"shop/api","request":{"method":"GET","path":"/a',
        b'"workload":"shop/api","decision":{"verdict":"ALLOW"},"request":{"method":"GET","path":"/a","host":"h"}',
        b'"workload":"shop/api"},"request":{"method":"GET","path":"/a","host":"h"}',
        b'"duration_us":4,"source":{"ip":"10.0.0.1"}',
        b'"shadow":{}',
        b"",
    ]
)
DECISIONS = st.sampled_from([DECIDED, DECIDED.replace(b"DENY", b"ALLOW"), DECIDED + b"}", DECIDED[:-1], b"null", b'{"verdict":1}', DECIDED + b"}}", b""])  # fmt: skip
LINES = st.builds(
    lambda request, decision: (
        b'{"time":"2026-01-01T00:00:00.000+00:00"'
        + (b"," + request if request else b"")
        + (b',"decision":' + decision if decision else b"")
        + b',"duration_us":1.5}'
    ),
    REQUESTS,
    DECISIONS,
)


def read_by(reader: LogLines, line: bytes) -> object:
    reading = Reading("log")
    records = list(read_decisions(Piece(0, line + b"\n"), reading, reader))
    return records, reading.bad, reading.problems, reading.without_request, reading.cut


@given(st.lists(LINES, max_size=12))
def test_what_was_decided_in_earlier_lines_changes_no_later_one(written: list[bytes]) -> None:
    seen = LogLines(NO_DEFAULTS)
    seen.known = Forgetful()
    for line in written:
        assert read_by(seen, line) == read_by(LogLines(NO_DEFAULTS), line)


class Forgetful(dict[bytes, Record]):
    """So that only decisions are known from earlier lines."""

    def __setitem__(self, said: bytes, record: Record) -> None:
        pass
