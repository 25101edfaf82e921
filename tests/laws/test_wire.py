"""The wire is total: whatever bytes come, `to_asked` reads them or says that it cannot, and nothing unreadable is allowed."""

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.workload import Workload
from ca import Authority
from extauthz.service import AuthorizationService
from extauthz.tokens import TrustingEnvoy
from extauthz.wire import MalformedRequestError, readings, to_asked
from identity import SpiffeId, TrustDomain
from mesh.snapshot import Snapshot
from tests import questions

# A certificate with a changed byte may have such a serial number; Envoy took it, so it is read.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")

PERMISSION_DENIED = 7
TRUST_DOMAIN = TrustDomain("cluster.local")
API = Workload(namespace="shop", name="api", labels={"app": "api"}, service_account="api")


def certificate() -> str:
    authority = Authority.create(TRUST_DOMAIN, at=datetime.now(UTC))
    spiffe_id = SpiffeId.for_workload(TRUST_DOMAIN, namespace="shop", service_account="web")
    chain = authority.issue_with_new_key(spiffe_id, at=datetime.now(UTC)).chain_to_pem().decode()
    return chain[: chain.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"


PEM = certificate()


def ask(service: AuthorizationService, question: bytes) -> CheckResponse:
    return CheckResponse.FromString(asyncio.run(service.answer(question)))


def service(*policies: Policy, workload: str | None = "shop/api") -> AuthorizationService:
    snapshot = Snapshot(policies=policies, workloads=[API], config=MeshConfig(), revision="r1")
    return AuthorizationService(lambda: snapshot, tokens=TrustingEnvoy(), workload=workload)


# Both are decided without a look at the request, so whatever the first does not allow was refused as unreadable.
ALLOWS_ALL = service()
ALLOWS_NOTHING = service(Policy(namespace="shop", name="nothing", action=Action.ALLOW))

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "10.0.0.1", "::1", "fe80::1%eth0", "GET", "/", "a,b", ":path", "host", "shop/api", "x-role"]),
    st.sampled_from([quote(PEM), PEM, quote(PEM)[:-40], "spiffe://cluster.local/ns/shop/sa/api", "workload"]),
)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: TEXTS,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.sampled_from([0, 80, 65535, 65536, 2**32 - 1]),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(0, 3),
}


@st.composite
def filled(draw: st.DrawFn, message: Any, depth: int = 8) -> Any:
    """`message` with any of its fields set to anything."""
    fields = list(message.DESCRIPTOR.fields) if depth else []
    for field in draw(st.lists(st.sampled_from(fields), unique_by=id, max_size=4)) if fields else []:
        value, entry = getattr(message, field.name), field.message_type
        if entry is None:
            setattr(message, field.name, [draw(scalar(field))] if field.is_repeated else draw(scalar(field)))
        elif entry.GetOptions().map_entry:
            if entry.fields_by_name["value"].message_type is None:
                value[draw(TEXTS)] = draw(scalar(entry.fields_by_name["value"]))
            else:
                draw(filled(value[draw(TEXTS)], depth - 1))
        elif field.is_repeated:
            for _ in range(draw(st.integers(0, 3))):
                draw(filled(value.add(), depth - 1))
        else:
            value.SetInParent()
            draw(filled(value, depth - 1))
    return message


def scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    return SCALARS[field.cpp_type]


ANYTHING = st.deferred(
    lambda: st.one_of(
        st.builds(CheckRequest).flatmap(filled),
        st.builds(questions.http, headers=st.just([("x-role", "buyer")])).flatmap(filled),
        st.builds(questions.connection).flatmap(filled),
    )
)


@settings(max_examples=150)
@given(ANYTHING)
def test_any_question_is_read_or_refused(question: CheckRequest) -> None:
    try:
        asked = to_asked(question)
    except MalformedRequestError:
        return
    # What had no address would pass every `notIpBlocks`.
    assert asked.attributes.source_ip is not None
    assert asked.attributes.destination_ip is not None


@settings(max_examples=150)
@given(ANYTHING)
def test_any_question_is_answered_and_never_allowed_by_policies_that_allow_nothing(question: CheckRequest) -> None:
    for asked in (ALLOWS_NOTHING, service(workload=None)):
        question.attributes.context_extensions["workload"] = "shop/api" if asked is ALLOWS_NOTHING else "shop/nobody"
        answer = ask(asked, question.SerializeToString())
        assert answer.status.code == PERMISSION_DENIED
        assert answer.denied_response.status.code == 403
        assert answer.dynamic_metadata["reason"] != "internal error"


@settings(max_examples=150)
@given(st.data())
def test_bytes_with_a_fault_are_answered_and_never_allowed_by_policies_that_allow_nothing(data: st.DataObject) -> None:
    question = questions.http(headers=[("x-role", "buyer"), ("x-bin", "café")])
    question.attributes.source.certificate = quote(PEM)
    mutated = bytearray(question.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(mutated[: data.draw(st.integers(0, len(mutated)))])
    for each in (bytes(mutated), cut):
        answer = ask(ALLOWS_NOTHING, each)
        assert answer.status.code == PERMISSION_DENIED
        assert answer.dynamic_metadata["reason"] != "internal error"


@settings(max_examples=200)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x0a\x00")
def test_bytes_that_are_no_question_are_denied_even_where_everything_is_allowed(data: bytes) -> None:
    assert ask(ALLOWS_ALL, data).status.code == PERMISSION_DENIED


@settings(max_examples=200)
@given(st.integers(0, len(PEM) - 1), st.integers(1, 127))
def test_a_certificate_with_a_fault_is_read_or_refused(position: int, byte: int) -> None:
    question = questions.http()
    question.attributes.source.certificate = quote(PEM[:position] + chr(byte) + PEM[position + 1 :])
    # Without a name is read as without a name, where the fault hit what says that names follow.
    with suppress(MalformedRequestError):
        to_asked(question)


def test_every_byte_of_a_certificate_in_der_may_be_wrong() -> None:
    der = ssl.PEM_cert_to_DER_cert(PEM)
    refused = 0
    for position, flip in product(range(len(der)), (0x01, 0x80)):
        mutated = bytearray(der)
        mutated[position] ^= flip
        question = questions.http()
        question.attributes.source.certificate = quote(ssl.DER_cert_to_PEM_cert(bytes(mutated)))
        try:
            to_asked(question)
        except MalformedRequestError:
            refused += 1
    assert 0 < refused < 2 * len(der)


LINES = st.lists(st.text(alphabet="ab,", max_size=3), min_size=1, max_size=3).filter(
    lambda lines: ",".join(lines).count(",") <= 6
)


@given(LINES)
@example(["a,b", "c"])
def test_whatever_the_lines_were_they_are_among_the_readings_of_the_joined_header(lines: list[str]) -> None:
    asked = to_asked(questions.http(joined={"x-role": ",".join(lines), "x-other": "a,b"}))
    ways = [attributes.headers["x-role"] for attributes in readings(asked, frozenset({"x-role", "x-absent"}))]
    assert tuple(lines) in ways
    assert len(ways) == len(set(ways)) == 2 ** ",".join(lines).count(",")
    assert all(",".join(way) == ",".join(lines) for way in ways)
