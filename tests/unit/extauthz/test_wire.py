"""CheckRequest to Attributes, Decision to CheckResponse."""

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from authz.attributes import Protocol
from authz.decision import Decision, Match, Stage, Verdict
from authz.model import Action
from extauthz.wire import (
    MalformedRequestError,
    _refusal,
    _subject,
    _unchanged,
    forget_answers,
    readings,
    to_asked,
    to_response,
)
from tests import questions


def test_a_repeated_header_keeps_its_lines_apart_and_their_order() -> None:
    asked = to_asked(questions.http(headers=[("x-role", "b"), ("x-other", ""), ("X-Role", "a,c")]))
    assert dict(asked.attributes.headers) == {"x-role": ("b", "a,c"), "x-other": ("",)}
    assert readings(asked, frozenset({"x-role"})) == [asked.attributes]


def test_header_lines_are_preferred_to_the_joined_map() -> None:
    question = questions.http(headers=[("x-role", "a"), ("x-role", "b")])
    question.attributes.request.http.headers["x-role"] = "admin"
    assert to_asked(question).attributes.headers["x-role"] == ("a", "b")


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["198.51.100.7"], "198.51.100.7"),
        (["198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.7", " 203.0.113.9\t"], "203.0.113.9"),
        (["2001:db8::1"], "2001:db8::1"),
        (["fe80::1%eth0"], "fe80::1"),
        (["198.51.100.7, unknown"], "10.1.2.3"),
        (["198.51.100.7,"], "10.1.2.3"),
        (["198.51.100.7:80"], "10.1.2.3"),
        (["\u00a0198.51.100.7"], "10.1.2.3"),
        ([""], "10.1.2.3"),
        ([], "10.1.2.3"),
    ],
)
def test_the_remote_address_is_the_right_most_forwarded_one_if_it_is_one_else_the_peer(
    lines: list[str], address: str
) -> None:
    asked = to_asked(questions.http(headers=[("x-forwarded-for", line) for line in lines]))
    assert asked.attributes.remote_ip == ip_address(address)
    assert asked.attributes.source_ip == ip_address("10.1.2.3")


def test_tcp_is_what_has_no_request_and_takes_the_server_name_from_the_service() -> None:
    asked = to_asked(questions.connection(sni="db.shop"))
    assert asked.attributes.protocol is Protocol.TCP
    assert asked.attributes.sni == "db.shop"
    assert asked.destination.workload == "shop/db"


def test_the_workload_of_the_route_wins_over_the_label() -> None:
    question = questions.http(workload="shop/api")
    question.attributes.destination.labels["workload"] = "shop/db"
    assert to_asked(question).destination.workload == "shop/api"


def test_a_workload_that_is_given_and_empty_is_not_an_absent_one() -> None:
    assert to_asked(questions.http(workload="")).destination.workload == ""
    assert to_asked(questions.http(workload=None)).destination.workload is None


def test_a_connect_request_may_have_no_path() -> None:
    assert to_asked(questions.http("CONNECT", "")).attributes.path is None


@pytest.mark.parametrize(("change", "reason"), questions.FAULTS.values(), ids=questions.FAULTS)
def test_a_fact_that_is_missing_or_unreadable_refuses_the_question(
    change: Callable[[CheckRequest], None], reason: str
) -> None:
    question = questions.http()
    to_asked(question)
    change(question)
    with pytest.raises(MalformedRequestError) as refusal:
        to_asked(question)
    assert str(refusal.value) == reason


@pytest.mark.parametrize(("method", "path"), [("", "/items"), ("GET", "")])
def test_a_request_without_method_or_path_is_refused(method: str, path: str) -> None:
    with pytest.raises(MalformedRequestError, match="lacks a method, a path or a host"):
        to_asked(questions.http(method, path))


def test_a_request_without_host_is_refused_and_one_with_an_empty_host_is_not() -> None:
    empty = questions.http(host="")
    assert to_asked(empty).attributes.host == ""
    lines = empty.attributes.request.http.header_map.headers
    del lines[[line.key for line in lines].index(":authority")]
    with pytest.raises(MalformedRequestError, match="lacks a method, a path or a host"):
        to_asked(empty)


def test_a_header_joined_of_too_many_lines_is_refused_with_advice() -> None:
    asked = to_asked(questions.http(joined={"x-role": "a,b,c,d,e,f,g,h", "accept": "a,b"}))
    with pytest.raises(MalformedRequestError, match=r"commas in `x-role` .* set `encode_raw_headers`"):
        readings(asked, frozenset({"x-role"}))
    assert len(readings(asked, frozenset({"accept"}))) == 2
    assert len(readings(asked, frozenset())) == 1


def test_a_denial_is_what_rbac_answers_and_says_what_decided() -> None:
    decision = Decision(
        verdict=Verdict.DENY,
        stage=Stage.DENY,
        action=Action.DENY,
        match=Match("shop/no-admin", 2),
        reason="a DENY rule matches",
    )
    answer = CheckResponse.FromString(to_response(decision, revision="r1"))
    assert answer.status.code == 7
    denied = answer.denied_response
    assert (denied.status.code, denied.body) == (403, "RBAC: access denied")
    assert [(h.header.key, h.header.value) for h in denied.headers] == [("content-type", "text/plain")]
    assert dict(answer.dynamic_metadata) == {
        "policy": "shop/no-admin",
        "rule": 2,
        "verdict": "DENY",
        "stage": "deny",
        "reason": "a DENY rule matches",
        "revision": "r1",
    }


def test_an_allowed_request_is_passed_on_unchanged() -> None:
    decision = Decision(
        verdict=Verdict.ALLOW, stage=Stage.NONE, action=None, match=None, reason="no policy", audit=True
    )
    answer = CheckResponse.FromString(to_response(decision, revision="r1"))
    assert answer.status.code == 0
    assert answer.ok_response.ByteSize() == 0
    assert dict(answer.dynamic_metadata) == {
        "verdict": "ALLOW",
        "stage": "none",
        "reason": "no policy",
        "revision": "r1",
        "audit": True,
    }


def test_bytes_that_are_no_utf8_are_kept_each_as_what_no_policy_can_name() -> None:
    attributes = to_asked(questions.http(headers=[("x-role", b"caf\xe9"), ("x-role", "café")])).attributes
    assert attributes.headers["x-role"] == ("caf\udce9", "café")
    question = questions.http(path="/caf!")
    question.attributes.request.http.header_map.headers[1].raw_value = b"/caf\xe9"
    assert to_asked(question).attributes.path == "/caf\udce9", (
        "in a field of text Envoy writes it as an exclamation mark"
    )


def test_a_subject_is_written_as_openssl_does_with_the_bytes_of_what_has_no_name() -> None:
    attribute, oid = x509.NameAttribute, x509.ObjectIdentifier
    odd = x509.Name(
        [
            attribute(NameOID.COMMON_NAME, "Zoë\n,+x"),
            attribute(NameOID.EMAIL_ADDRESS, "a@b"),
            attribute(oid("1.3.6.1.4.1.99999.1"), "v"),
            attribute(oid("1.3.6.1.4.1.99999.2"), "/ns/shop/" + "x" * 200),
            attribute(NameOID.DOMAIN_COMPONENT, "example"),
        ]
    )
    long = "/ns/shop/" + "x" * 200
    assert _subject(odd) == (
        f"DC=example,1.3.6.1.4.1.99999.2=#0C81D1{long.encode().hex().upper()},1.3.6.1.4.1.99999.1=#0C0176,"
        "emailAddress=a@b,CN=Zo\\C3\\AB\\0A\\,\\+x"
    )


def test_answers_by_older_revisions_are_let_go_of() -> None:
    for revision in map(str, range(50)):
        for verdict in Verdict:
            to_response(
                Decision(verdict=verdict, stage=Stage.ALLOW, action=None, match=None, reason="why"), revision=revision
            )
    assert _unchanged.cache_info().currsize + _refusal.cache_info().currsize >= 100
    forget_answers()
    assert _unchanged.cache_info().currsize == _refusal.cache_info().currsize == 0
    assert to_response(
        Decision(verdict=Verdict.ALLOW, stage=Stage.ALLOW, action=None, match=None, reason="why"), revision="1"
    )
