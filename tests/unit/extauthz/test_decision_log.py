"""What of a request may be written down: what policies look at, readable, and whatever a token may hold."""

import io

import orjson
import pytest

from authz.attributes import Attributes
from extauthz.decision_log import Consulted, DecisionLog, request_document
from extauthz.wire import Destination

NOWHERE = Destination(workload="shop/api", principal=None, address=None)


def nested(depth: int) -> object:
    value: object = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("claim", "written"),
    [
        ("buyer", "buyer"),
        (["buyer", 7, {"a": 1}, "b"], ["buyer", "b"]),
        ({"a": {"b": ["c"]}, "n": 7}, {"a": {"b": ["c"]}, "n": None}),
        (7, None),
        (True, None),
        (2**80, None),
        ("\udcff", "\\xff"),
        ({"\udcff": "a"}, {"\\xff": "a"}),
        (nested(15), nested(15)),
        (nested(3000), None),
    ],
)
def test_of_claims_what_policies_can_be_about_is_written(claim: object, written: object) -> None:
    attributes = Attributes(method="GET", path="/", claims={"groups": claim, "email": "a@example.com"})
    document = request_document(NOWHERE, attributes, Consulted(claims=frozenset({"groups", "other"})))
    out = io.BytesIO()
    DecisionLog(out).write(document, {"verdict": "ALLOW"}, duration_us=1.0)
    (line,) = map(orjson.loads, out.getvalue().splitlines())
    if written is None and isinstance(claim, dict):
        assert len(str(line)) < 1000
    else:
        assert line["jwt"] == {"claims": {"groups": written}}


def test_where_nobody_looks_at_claims_none_are_written() -> None:
    attributes = Attributes(method="GET", path="/", claims={"sub": "alice"})
    assert "jwt" not in request_document(NOWHERE, attributes, Consulted())
    looked_at = Consulted(claims=frozenset({"iss"}))
    assert request_document(NOWHERE, attributes, looked_at)["jwt"] == {"claims": {}}
    assert "jwt" not in request_document(NOWHERE, Attributes(method="GET", path="/"), looked_at)
