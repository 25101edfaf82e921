"""PeerAuthentication in force: the same callers through real Envoys before and after mTLS is demanded."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.decision import Verdict
from demo.shop import Caller, HttpCall, Shop, TcpCall

ALLOW_EVERYTHING = "spec: {rules: [{}]}"
STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with tempfile.TemporaryDirectory(prefix="meshward-") as directory, Shop(Path(directory)) as shop:
        shop.edit("default-deny.yaml", "spec: {}", ALLOW_EVERYTHING)
        yield shop


def test_plaintext_is_let_through_until_mtls_is_demanded(shop: Shop) -> None:
    browse = HttpCall("GET", "/items")
    assert shop.ask(Caller.NOBODY, browse).verdict is Verdict.ALLOW
    assert shop.ask(Caller.NOBODY, TcpCall()).verdict is Verdict.ALLOW
    shop.edit("default-deny.yaml", ALLOW_EVERYTHING, ALLOW_EVERYTHING + STRICT)
    denied = shop.ask(Caller.NOBODY, browse)
    assert (denied.verdict, denied.status) == (Verdict.DENY, 403)
    assert denied.reason == "plaintext, where PeerAuthentication shop/strict demands mTLS"
    assert shop.ask(Caller.NOBODY, TcpCall()).verdict is Verdict.DENY
    assert shop.ask(Caller.WEB, browse).verdict is Verdict.ALLOW
    assert shop.ask(Caller.API, TcpCall()).verdict is Verdict.ALLOW
