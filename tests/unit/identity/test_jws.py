"""Signatures of tokens that are nearly right."""

import base64

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from identity import UnverifiedJws

KEY = ec.generate_private_key(ec.SECP256R1())


def token(signature: bytes, signed: str) -> UnverifiedJws:
    return UnverifiedJws.parse(f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


def signed_with_a_short_half() -> tuple[str, bytes]:
    """A token whose second number begins with a zero; one of 256 does."""
    for number in range(100_000):
        signed, _, last = jwt.encode({"n": number}, KEY, algorithm="ES256").rpartition(".")
        signature = base64.urlsafe_b64decode(last + "==")
        if signature[32] == 0:
            return signed, signature
    raise AssertionError("not one of a hundred thousand")


def test_a_signature_by_a_curve_has_both_numbers_in_full_and_is_not_in_der() -> None:
    signed, signature = signed_with_a_short_half()
    public = KEY.public_key()
    assert token(signature, signed).is_by(public)
    shorter = signature[:32] + signature[33:]
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    for other in (shorter, signature + b"\0", b"\0" + signature, der, bytes(64)):
        assert not token(other, signed).is_by(public)
