"""Recorded questions are read as the server reads them, and what cannot be read shows nothing of itself."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from google.protobuf import json_format

from authz.mesh_config import MeshConfig
from authz.model import Condition, Policy, Rule
from authz.workload import GATEWAY_LABEL, Workload
from extauthz.recorded import RecordedQuestions
from mesh.errors import UnknownWorkloadError
from mesh.replaying.reading import Defaults, NoRecordError
from mesh.replaying.record import Record, RefusedRequestError
from mesh.snapshot import Snapshot
from tests import questions

OPS = "spiffe://cluster.local/ns/ops/sa/admin"


def read(question: CheckRequest, **defaults: Any) -> Record:
    reader = RecordedQuestions(Defaults(**defaults))
    record = reader.from_bytes(question.SerializeToString())
    from_json = reader.from_json(json_format.MessageToJson(question, indent=None).encode())
    one, other = record.document.attributes, from_json.document.attributes
    assert replace(one, headers=dict(one.headers)) == replace(other, headers=dict(other.headers))
    assert (record.document.destination, record.at) == (from_json.document.destination, from_json.at)
    return record


def snapshot(*policies: Policy, **workload: Any) -> Snapshot:
    api = Workload(namespace="shop", name="api", **workload)
    return Snapshot(policies=policies, workloads=[api], config=MeshConfig(trusted_proxies=1), revision="r")


def test_it_has_the_facts_that_the_server_sees() -> None:
    question = questions.http("POST", "/orders", headers=[("x-role", "buyer"), ("x-role", "guest")])
    question.attributes.request.time.FromMilliseconds(1_700_000_000_500)
    record = read(question)
    attributes = record.document.attributes
    assert (attributes.method, attributes.path, attributes.headers["x-role"]) == ("POST", "/orders", ("buyer", "guest"))
    assert (attributes.identities, attributes.destination_port) == ((questions.WEB,), 8080)
    assert record.document.destination.workload == "shop/api"
    assert (record.at, record.recorded) == (1_700_000_000.5, None)
    assert record.ways is not None
    assert list(record.ways(snapshot())) == [attributes]


def test_what_it_does_not_say_is_as_it_is_given() -> None:
    record = read(questions.http(workload=None, source=""), workload="shop/api", principal=OPS)
    assert record.document.destination.workload == "shop/api"
    assert record.document.attributes.identities == (OPS,)
    assert record.ways is not None
    assert [way.identities for way in record.ways(snapshot())] == [(OPS,)]
    # What it says itself, counts.
    record = read(questions.http(workload="shop/db"), workload="shop/api", principal=OPS)
    assert (record.document.destination.workload, record.document.attributes.identities) == (
        "shop/db",
        (questions.WEB,),
    )
    assert record.ways is not None
    with pytest.raises(UnknownWorkloadError):
        record.ways(snapshot())


def test_what_envoy_has_verified_counts_as_verified() -> None:
    question = questions.http()
    metadata = question.attributes.metadata_context.filter_metadata["envoy.filters.http.jwt_authn"]
    metadata.update({"payload": {"iss": "i", "groups": ["a"]}})
    assert read(question).document.attributes.claims == {"iss": "i", "groups": ["a"]}


def test_joined_header_lines_have_all_their_ways_and_too_many_are_refused() -> None:
    role = Policy(
        namespace="shop",
        name="role",
        rules=(Rule(conditions=(Condition(key="request.headers[x-role]", values=("a",)),)),),
    )
    ways = read(questions.http(joined={"x-role": "a,b"})).ways
    assert ways is not None
    assert [way.headers["x-role"] for way in ways(snapshot(role))] == [("a,b",), ("a", "b")]
    assert len(ways(snapshot())) == 1
    many = read(questions.http(joined={"x-role": "," * 9})).ways
    assert many is not None
    with pytest.raises(RefusedRequestError, match="too many commas"):
        many(snapshot(role))


def test_at_a_gateway_the_remote_address_is_another() -> None:
    record = read(questions.http(headers=[("x-forwarded-for", "192.0.2.1,192.0.2.2,10.1.2.3")]))
    assert record.document.attributes.remote_ip == ip_address("10.1.2.3")
    assert record.ways is not None
    (way,) = record.ways(snapshot(labels={GATEWAY_LABEL: "edge"}))
    assert way.remote_ip == ip_address("192.0.2.2")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (b"\xff", "no CheckRequest"),
        (
            questions.http(path="s3cr3t?token=s3cr3t").SerializeToString(),
            "the server denies it unread: the path `…` does not begin with a slash",
        ),
        (
            questions.http(source_ip="s3cr3t").SerializeToString(),
            "the server denies it unread: the source address `…` is no IP address",
        ),
    ],
)
def test_what_cannot_be_read_shows_nothing_of_itself(question: bytes, message: str) -> None:
    with pytest.raises(NoRecordError) as raised:
        RecordedQuestions(Defaults()).from_bytes(question)
    assert raised.value.message == message


@pytest.mark.parametrize(
    "line",
    [b"{", b'{"attributes": "s3cr3t"}', b'{"s3cr3t": 1}', b"\xff", b'{"attributes": {"source": {"principal": 7}}}'],
)
def test_what_is_no_question_in_json(line: bytes) -> None:
    with pytest.raises(NoRecordError, match="no CheckRequest") as raised:
        RecordedQuestions(Defaults()).from_json(line)
    assert "s3cr3t" not in f"{raised.value.message}{raised.value.help}"
