"""Recordings of every kind are told from their beginning, and what in them is no record is named and left out."""

import gzip
import io
import json
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from authz.attributes import Attributes, Protocol
from authz.decision import Stage, Verdict
from mesh.replaying import har, stream
from mesh.replaying.kind import Kind
from mesh.replaying.log import Log, RecordingError, recording
from mesh.replaying.reading import Defaults, NoRecordError
from mesh.replaying.record import Lacking, Record, Recorded
from parser.request import Destination, RequestDocument

WEB = "spiffe://cluster.local/ns/shop/sa/web"
DECISION: dict[str, Any] = {
    "time": "2026-11-27T21:00:00.000+00:00",
    "workload": "shop/api",
    "destination": {"ip": "10.0.0.9", "port": 8080},
    "source": {"principal": WEB, "ip": "10.1.2.3", "remoteIp": "198.51.100.7"},
    "connection": {"protocol": "http"},
    "request": {"method": "GET", "path": "/items", "host": "api.shop", "scheme": "https", "headers": {"x-role": ["a"]}},
    "decision": {"verdict": "DENY", "stage": "deny", "policy": "shop/no", "rule": 2, "reason": "a DENY rule matches"},
    "duration_us": 12.5,
}
ENTRY: dict[str, Any] = {
    "workload": "shop/api",
    "method": "GET",
    "path": "/items",
    "authority": "api.shop",
    "scheme": "https",
    "downstream_peer_uri_san": WEB,
    "downstream_direct_remote_address": "10.1.2.3:40000",
    "downstream_remote_address": "198.51.100.7:0",
    "downstream_local_address": "10.0.0.9:8080",
    "requested_server_name": None,
    "response_code": 200,
    "response_code_details": "via_upstream",
    "response_flags": "-",
    "jwt": None,
    "headers": {"X-Role": "a", "x-none": None},
}
DOCUMENT = RequestDocument(
    destination=Destination(workload="shop/api", address="10.0.0.9"),
    attributes=Attributes(
        identities=(WEB,),
        source_ip=ip_address("10.1.2.3"),
        remote_ip=ip_address("198.51.100.7"),
        destination_ip=ip_address("10.0.0.9"),
        destination_port=8080,
        method="GET",
        path="/items",
        host="api.shop",
        scheme="https",
        headers={"x-role": ("a",)},
    ),
)


class Questions:
    """Reads a question that is its workload's name."""

    def from_bytes(self, question: bytes) -> Record:
        if not question.startswith(b"\x0a"):
            raise NoRecordError("no question")
        return Record(
            document=RequestDocument(destination=Destination(workload=question[1:].decode()), attributes=Attributes())
        )

    def from_json(self, line: bytes) -> Record:
        return self.from_bytes(b"\x0a" + json.loads(line)["attributes"].encode())


def lines(*written: object) -> bytes:
    return b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in written)


def log(data: bytes, **options: Any) -> Log:
    return Log(io.BytesIO(data), "log", reader=Questions(), **options)


def read(data: bytes, **options: Any) -> tuple[list[Record], Log]:
    opened = log(data, **options)
    return list(opened), opened


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (lines(DECISION), Kind.DECISIONS),
        (lines({"time": "", "decision": {}, "duration_us": 1}), Kind.DECISIONS),
        (lines({"workload": "shop/api", "request": "GET /"}), Kind.DECISIONS),
        (lines(ENTRY), Kind.ENVOY),
        (b"starting envoy\n\n" + lines(ENTRY), Kind.ENVOY),
        (lines({"peer": "-", "method": "GET", "decision": {"verdict": "ALLOW"}}), Kind.ENVOY),
        (lines({"attributes": "a"}), Kind.CHECK_JSON),
        (b"\x02\x0aa", Kind.CHECK),
        (b"\x80\x01\x0a" + b"a" * 127, Kind.CHECK),
        (b'\xef\xbb\xbf {\n "log": {"entries": []}}', Kind.HAR),
        (b"", Kind.DECISIONS),
        (b"\n \n", Kind.DECISIONS),
    ],
)
def test_the_beginning_tells_what_it_is(data: bytes, kind: Kind) -> None:
    for written in (data, gzip.compress(data)):
        assert log(written, defaults=Defaults(workload="shop/api")).kind is kind


@pytest.mark.parametrize("data", [b"some text\n", b"[1]\n", lines({"a": 1}), b"\xff" * 9])
def test_what_is_of_no_known_kind_is_to_be_said(data: bytes) -> None:
    with pytest.raises(RecordingError, match="cannot tell what log is a recording of") as raised:
        log(data)
    assert "--from: decisions, envoy, check-json, check, har" in raised.value.help
    assert log(data, kind=Kind.ENVOY).kind is Kind.ENVOY


def test_a_decision_log() -> None:
    records, _ = read(lines(DECISION))
    assert records == [
        Record(
            document=DOCUMENT,
            recorded=Recorded(Verdict.DENY, "shop/no", 2, "a DENY rule matches", Stage.DENY),
        )
    ]


def test_an_access_log() -> None:
    records, _ = read(lines(ENTRY))
    assert records == [
        Record(
            document=DOCUMENT,
            recorded=Recorded(Verdict.ALLOW),
            lacking=Lacking(logged=frozenset({"x-role", "x-none"})),
        )
    ]


def entry(**changes: object) -> dict[str, object]:
    return {name: value for name, value in {**ENTRY, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "recorded"),
    [
        ({"response_code_details": "rbac_access_denied_matched_policy[none]"}, (Verdict.DENY, None, None)),
        (
            {"response_code_details": "rbac_access_denied_matched_policy[ns[shop]-policy[no]-rule[3]]"},
            (Verdict.DENY, "shop/no", 3),
        ),
        (
            {
                "response_code_details": "rbac_access_denied_matched_policy[istio-ext-authz-opa-ns[shop]-policy[ask]-rule[0]"
                "-deny-due-to-bad-CUSTOM-action]"
            },
            (Verdict.DENY, "shop/ask", 0),
        ),
        ({"response_code_details": "ext_authz_denied"}, (Verdict.DENY, None, None)),
        ({"response_code_details": "ext_authz_denied", "policy": "shop/no", "rule": 1.0}, (Verdict.DENY, "shop/no", 1)),
        ({"response_code_details": "via_upstream", "policy": "shop/yes", "rule": 0}, (Verdict.ALLOW, "shop/yes", 0)),
        ({"response_code_details": "jwt_authn_access_denied{Jwt_is_expired}"}, (Verdict.DENY, None, None)),
        ({"response_code_details": "upstream_reset_before_response_started{x}"}, (Verdict.ALLOW, None, None)),
        ({"response_code_details": "route_not_found"}, (Verdict.ALLOW, None, None)),
        ({"response_code_details": "ext_authz_error"}, None),
        ({"response_code_details": "path_normalization_failed"}, None),
        ({"response_code_details": "-"}, None),
        ({"response_code_details": "-", "response_flags": "UAEX"}, (Verdict.DENY, None, None)),
        ({"decision": {"verdict": "DENY", "policy": "shop/no", "rule": 1.0}}, (Verdict.DENY, "shop/no", 1)),
        ({"verdict": "DENY", "policy": "shop/no", "rule": 1}, (Verdict.DENY, "shop/no", 1)),
        ({"response_code_details": ..., "details": "via_upstream"}, (Verdict.ALLOW, None, None)),
    ],
)
def test_what_envoy_says_of_the_end_tells_the_verdict(changes: dict[str, object], recorded: object) -> None:
    ((record,), _) = read(lines(entry(**changes)))
    assert (None if record.recorded is None else record.recorded[:3]) == recorded


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"downstream_peer_uri_san": "-"}, {"identities": ()}),
        ({"downstream_peer_uri_san": f"{WEB},https://a.example"}, {"identities": (WEB, "https://a.example")}),
        ({"downstream_peer_uri_san": ..., "peer": WEB}, {"identities": (WEB,)}),
        (
            {"downstream_local_address": "[2001:db8::1]:80"},
            {"destination_ip": ip_address("2001:db8::1"), "destination_port": 80},
        ),
        ({"downstream_local_address": "10.0.0.9"}, {"destination_port": None}),
        ({"downstream_direct_remote_address": "[2001:db8::2]:40000"}, {"source_ip": ip_address("2001:db8::2")}),
        ({"downstream_direct_remote_address": "2001:db8::2"}, {"source_ip": ip_address("2001:db8::2")}),
        ({"downstream_remote_address": ...}, {"remote_ip": ip_address("10.1.2.3")}),
        (
            {"downstream_direct_remote_address": ..., "x_forwarded_for": "192.0.2.1, 192.0.2.2"},
            {"source_ip": ip_address("198.51.100.7"), "remote_ip": ip_address("192.0.2.2")},
        ),
        ({"headers": {"X-Role": ["a", "b"]}}, {"headers": {"x-role": ("a", "b")}}),
        ({"headers": {"x-role": "-"}}, {"headers": {}}),
        ({"jwt": {"iss": "i"}}, {"claims": {"iss": "i"}}),
        ({"requested_server_name": "api.shop"}, {"sni": "api.shop"}),
        ({"method": ..., "path": None}, {"protocol": Protocol.TCP, "headers": {}, "method": None, "path": None}),
    ],
)
def test_facts_of_an_access_log(changes: dict[str, object], facts: dict[str, object]) -> None:
    ((record,), _) = read(lines(entry(**changes)))
    assert {name: getattr(record.document.attributes, name) for name in facts} == facts


def test_an_access_log_without_tokens_or_headers_says_so() -> None:
    ((record,), _) = read(lines(entry(jwt=..., headers=...)))
    assert record.lacking == Lacking(logged=frozenset(), claims=True)


def test_the_destination_may_be_known_otherwise() -> None:
    no_workload = entry(workload=..., downstream_local_uri_san="spiffe://td/ns/shop/sa/api")
    ((record,), _) = read(lines(no_workload))
    assert record.document.destination == Destination(principal="spiffe://td/ns/shop/sa/api", address="10.0.0.9")
    ((record,), _) = read(lines(no_workload), defaults=Defaults(workload="shop/api"))
    assert record.document.destination.workload == "shop/api"
    ((record,), _) = read(lines(entry(downstream_peer_uri_san=None)), defaults=Defaults(principal=WEB))
    assert record.document.attributes.identities == (WEB,)
    ((record,), _) = read(
        lines({"request": "GET /", "decision": DECISION["decision"]}),
        defaults=Defaults(workload="shop/db", principal=WEB),
    )
    assert (record.document.destination.workload, record.document.attributes.identities) == ("shop/db", (WEB,))


def test_lines_that_say_the_same_give_the_same_record() -> None:
    later = {**DECISION, "time": "2027-01-01T00:00:00.000+00:00", "duration_us": 0.5}
    separators = (",", ":")
    data = b"".join(
        json.dumps(each, separators=separators).encode() + b"\n"
        for each in (DECISION, later, {**later, "workload": "shop/db"})
    )
    (first, second, third), _ = read(data)
    assert first is second
    assert third.document.destination.workload == "shop/db"
    (first, second, third), _ = read(lines(entry(duration=1), entry(duration=2), entry(duration=1, path="/orders")))
    assert first is second
    assert third.document.attributes.path == "/orders"
    # Nobody asks for the port of the caller's.
    ports = [entry(downstream_direct_remote_address=f"10.1.2.3:{port}") for port in (40000, 40001)]
    (first, second), _ = read(lines(*ports))
    assert first is second
    # True and 1 are equal, and not the same.
    different: list[dict[str, Any]] = [
        {"jwt": {"n": 1}},
        {"jwt": {"n": True}},
        {"headers": {"x-role": "b"}},
        {"decision": {"verdict": "DENY"}},
    ]
    records, _ = read(b"".join(access(**each) for each in different))
    assert len(set(map(id, records))) == 4


def test_a_record_that_holds_no_request_is_no_fault() -> None:
    nothing = {
        "time": "",
        "decision": {"verdict": "DENY", "reason": "the question is no CheckRequest"},
        "duration_us": 1,
    }
    records, opened = read(lines(nothing, DECISION))
    assert (len(records), opened.reading.without_request, opened.reading.bad) == (1, 1, 0)


def test_a_token_that_was_refused_and_what_was_masked_are_lacking() -> None:
    refused = {**DECISION, "decision": {"verdict": "DENY", "stage": "jwt"}}
    masked = {**DECISION, "request": {**DECISION["request"], "headers": {"x-api-key": ["***"], "x-role": ["a"]}}}
    (first, second), _ = read(lines(refused, masked))
    assert first.lacking == Lacking(refused_token=True)
    assert second.lacking == Lacking(masked=frozenset({"x-api-key"}))


# What is no record.

SECRET = "s3cr3t"  # noqa: S105  # it stands for one


def decision(**changes: object) -> bytes:
    return lines({name: value for name, value in {**DECISION, **changes}.items() if value is not ...})


def access(**changes: object) -> bytes:
    return lines(entry(**changes))


BAD: Iterable[tuple[Kind, bytes, str]] = [
    (Kind.DECISIONS, b"{]\n", "no JSON"),
    (Kind.DECISIONS, b"\xff\xfe\n", "no JSON"),
    (Kind.DECISIONS, b'{"workload": "a"} trailing\n', "no JSON"),
    (Kind.DECISIONS, b"[]\n", "no request document: a line is one JSON object"),
    (Kind.DECISIONS, decision(decision={"verdict": "MAYBE"}), "`decision` has no verdict"),
    (Kind.DECISIONS, decision(decision={"verdict": ["ALLOW"]}), "`decision` has no verdict"),
    (Kind.DECISIONS, decision(decision="ALLOW"), "`decision` has no verdict"),
    (Kind.DECISIONS, decision(other=1), "other: unknown field `other`"),
    (Kind.DECISIONS, decision(workload=..., destination=...), "no destination"),
    (Kind.DECISIONS, decision(source={"ip": "10.0.0.300"}), "source.ip: '10.0.0.300' is not an IP address"),
    (Kind.DECISIONS, decision(request={"method": "GET", "path": {SECRET: 1}}), "`request.path` is not what a request"),
    (
        Kind.DECISIONS,
        decision(request={"method": "GET", "path": "/", "headers": {"cookie": [SECRET, 7]}}),
        "`request.headers` is not",
    ),
    (Kind.DECISIONS, decision(jwt={"token": {"a": SECRET}}), "`jwt.token` is not what a request document has there"),
    (Kind.DECISIONS, b"a" * 300 + b"\n", "the line is longer than a record can be"),
    (Kind.ENVOY, b'"GET /"\n', "no entry of an access log: a line is one JSON object"),
    (Kind.ENVOY, access(path=None), "no `path`"),
    (Kind.ENVOY, access(method=7), "`method` is no text"),
    (Kind.ENVOY, access(path={"a": SECRET}), "`path` is no text"),
    (Kind.ENVOY, access(downstream_local_address=SECRET), "`downstream_local_address` is no IP address with its port"),
    (Kind.ENVOY, access(downstream_local_address="10.0.0.9:99999"), "`downstream_local_address` is no IP address"),
    (Kind.ENVOY, access(headers=[SECRET]), "`headers` is no mapping"),
    (Kind.ENVOY, access(headers={"cookie": {"a": SECRET}}), "a value of `headers` is no text"),
    (Kind.ENVOY, access(jwt=SECRET), "`jwt` is no mapping"),
    (Kind.ENVOY, access(decision={"policy": SECRET}), "`decision` has no verdict"),
    (Kind.ENVOY, access(verdict="PERHAPS"), "`decision` has no verdict"),
    (Kind.ENVOY, access(workload=..., downstream_local_address=...), "no destination"),
    (Kind.CHECK_JSON, b'{"attributes": \n', "no JSON"),
    (Kind.CHECK, b"\x02ab", "no question"),
]
GOOD = {
    Kind.DECISIONS: lines(DECISION),
    Kind.ENVOY: lines(ENTRY),
    Kind.CHECK_JSON: lines({"attributes": "a"}),
    Kind.CHECK: b"\x02\x0aa",
}


@pytest.mark.parametrize(("kind", "bad", "message"), BAD)
def test_what_is_no_record_is_named_without_its_secrets_and_left_out(
    kind: Kind, bad: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "longer" in message:
        monkeypatch.setattr(stream, "LONGEST", 200)
        monkeypatch.setitem(GOOD, kind, lines({"workload": "shop/api", "request": "GET /"}))
    records, opened = read(GOOD[kind] + bad + GOOD[kind], kind=kind)
    reading = opened.reading
    assert (len(records), reading.bad, reading.cut) == (2, 1, None)
    (problem,) = reading.problems
    assert message in problem.message
    assert SECRET not in str(problem)
    assert (problem.span.file, problem.span.line) == ("log", 2)


def test_the_first_few_are_named_and_all_are_counted() -> None:
    records, opened = read(lines(DECISION) + b"{]\n" * 100 + b"\n  \n" + lines(DECISION))
    assert (len(records), opened.reading.bad) == (2, 100)
    assert [problem.span.line for problem in opened.reading.problems] == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "data", "count", "message"),
    [
        (Kind.DECISIONS, lines(DECISION, DECISION)[:-20], 1, "line 2 is cut off"),
        (Kind.DECISIONS, lines(DECISION, DECISION)[:-1], 2, None),
        (Kind.ENVOY, lines(ENTRY, ENTRY, ENTRY)[:-9], 2, "line 3 is cut off"),
        (
            Kind.DECISIONS,
            gzip.compress(lines(DECISION, DECISION))[:-4],
            2,
            "the gzip data end in the middle, after line 2",
        ),
        (
            Kind.DECISIONS,
            gzip.compress(lines(DECISION)) + gzip.compress(b'{"a')[:-1],
            1,
            "end in the middle, in line 2",
        ),
        (Kind.DECISIONS, gzip.compress(lines(DECISION)) + b"rubbish", 1, "the gzip data are damaged, after line 1"),
        (Kind.DECISIONS, b"\x1f\x8brubbish", 0, "the gzip data are damaged, after line 0"),
        (Kind.CHECK, b"\x02\x0aa\x05\x0ab", 1, "in the middle of a record, at byte 3 of the data, after record 1"),
        (Kind.CHECK, b"\x02\x0aa\x80", 1, "in the middle of a record, at byte 3 of the data, after record 1"),
        (Kind.CHECK, b"\x02\x0aa" + b"\xff" * 9, 1, "here is no length of a record, at byte 3 of the data"),
        (Kind.CHECK, b"\x02\x0aa\xff\xff\xff\x7f", 1, "here is no length of a record, at byte 3 of the data"),
    ],
)
def test_where_it_ends_too_early_is_said_and_what_came_before_is_read(
    kind: Kind, data: bytes, count: int, message: str | None
) -> None:
    records, opened = read(data, kind=kind)
    cut = opened.reading.cut
    assert (len(records), opened.reading.bad) == (count, 0)
    assert (cut is None) is (message is None)
    assert cut is None or (message or "") in cut.message


# Archives.


def archive_entry(**changes: object) -> dict[str, object]:
    request = {
        "method": "GET",
        "url": "https://api.shop/items?a=1#b",
        "headers": [{"name": "X-Role", "value": '"}]\\'}],
    }
    return {
        "startedDateTime": "2026-01-01T00:00:00Z",
        "request": {name: value for name, value in {**request, **changes}.items() if value is not ...},
        "response": {"status": 200, "content": {"text": '{"entries": [{'}},
    }


def archive(*entries: object) -> bytes:
    written = {"log": {"comment": "entries", "entries": entries, "after": [{"entries": [{}]}]}}
    return json.dumps(written).encode()


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_an_archive_is_read_entry_by_entry_whatever_is_in_its_texts(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_PIECE", piece)
    data = archive(archive_entry(), archive_entry(url="http://user:x@a.example"), archive_entry())
    records, opened = read(data, kind=Kind.HAR, defaults=Defaults(workload="shop/api"))
    assert (len(records), opened.reading.bad, opened.reading.cut) == (3, 0, None)
    first, second = records[0].document.attributes, records[1].document.attributes
    assert (first.host, first.path, first.scheme) == ("api.shop", "/items?a=1", "https")
    assert first.headers == {"x-role": ('"}]\\',)}
    assert (second.host, second.path) == ("a.example", "/")
    assert (records[0].at, records[0].as_sent) == (1767225600.0, True)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "`request` is no mapping"),
        (archive_entry(url="ftp://a"), "`request.url` is no address of HTTP"),
        (archive_entry(url=...), "`request.url` is no text"),
        (archive_entry(method=7), "`request.method` is no text"),
        (archive_entry(headers={}), "`request.headers` is no list"),
        (archive_entry(headers=[SECRET]), "an item of `request.headers` is no mapping"),
        (archive_entry(headers=[{"name": "a"}]), "the value of a header is no text"),
        (archive_entry(headers=[{"name": "a", "value": "b" * 2000}]), "the entry is larger than an entry can be"),
    ],
)
def test_an_entry_that_is_no_request_is_left_out(bad: object, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(har, "LARGEST", 1000)
    monkeypatch.setattr(stream, "_PIECE", 64)
    records, opened = read(
        archive(archive_entry(), bad, archive_entry()), kind=Kind.HAR, defaults=Defaults(workload="a/b")
    )
    (problem,) = opened.reading.problems
    assert (len(records), problem.message, problem.span.line) == (2, message, 2)


@pytest.mark.parametrize("cut", [1, 30, 330])
def test_an_archive_that_ends_in_the_middle(cut: int) -> None:
    data = archive(archive_entry(), archive_entry())
    records, opened = read(data[:-cut], kind=Kind.HAR, defaults=Defaults(workload="a/b"))
    assert opened.reading.cut is not None
    assert f"the archive ends in the middle, after entry {len(records)}" in opened.reading.cut.message


def test_an_archive_needs_a_workload_and_questions_a_reader() -> None:
    with pytest.raises(RecordingError, match="does not say which workload"):
        log(archive())
    with pytest.raises(RecordingError, match="holds CheckRequests"):
        Log(io.BytesIO(b"\x02\x0aa"), "log")


def test_a_file_is_a_recording(tmp_path: Path) -> None:
    file = tmp_path / "monday.jsonl.gz"
    file.write_bytes(gzip.compress(lines(DECISION) + b"nonsense\n" + lines(DECISION)))
    with recording(file) as opened:
        places = [opened.reading.place for _ in opened]
    assert places == [f"{file}:1", f"{file}:3"]
    assert (opened.reading.bad, opened.position) == (1, file.stat().st_size)
