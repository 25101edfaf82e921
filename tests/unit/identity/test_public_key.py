"""Which public keys count as strong."""

import pytest

from identity import WeakKeyError, require_strong_key
from tests.unit.identity.chains import new_key


def public(kind: str) -> object:
    key = new_key(kind)
    return key if kind.startswith("rsa") and kind != "rsa2048" else key.public_key()


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048", "rsa4096"])
def test_a_strong_key_is_returned(kind: str) -> None:
    key = public(kind)
    assert require_strong_key(key) is key


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("p224", "secp224r1"),
        ("p521", "secp521r1"),
        ("secp256k1", "secp256k1"),
        ("rsa1024", "1024 bits"),
        ("rsa2047", "2047 bits"),
        ("rsa4097", "4097 bits"),
        ("rsa2048e3", "exponent"),
        ("ed25519", "neither"),
        ("ed448", "neither"),
    ],
)
def test_a_weak_or_odd_key_is_refused_by_kind_curve_and_size(kind: str, reason: str) -> None:
    with pytest.raises(WeakKeyError, match=reason):
        require_strong_key(public(kind))


def test_what_is_no_public_key_is_refused() -> None:
    for thing in (None, b"key", new_key("p256")):
        with pytest.raises(WeakKeyError):
            require_strong_key(thing)
