"""Everything that strangers send to the authority is read or refused, whatever it is: requests, tokens, bundles, keys."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.attestation import KubernetesTokens
from ca.attestation.kubernetes_keys import InvalidKeysError, read_jwks
from ca.authority import Authority
from ca.csr import read_csr
from ca.errors import AttestationError, CsrError
from identity import (
    Bundle,
    InvalidBundleError,
    InvalidJwtSvidError,
    JwtAuthority,
    SvidVerificationError,
    parse_bundle,
    to_document,
    verify_jwt_svid,
    verify_x509_svid,
)
from tests.fuzz.fuzzing import SECONDS, fuzz
from tests.fuzz.mutating import Mutate, of_bytes, of_json, of_pem
from tests.unit.ca.clusters import jwks
from tests.unit.ca.offices import AT, TD, WEB, csr
from tests.unit.ca.test_csr import Builder, pem_of, request, uri, usage

# These are refused by us; that pyca warns of them beside is no error here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
    pytest.mark.filterwarnings("ignore:Attribute's length must be"),
]

EMPTY = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "", _validate=False)])
KEY = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
NOW = int(AT.timestamp())
AUTHORITY = Authority.create(TD, at=AT)
TOKENS = KubernetesTokens(cluster="east", issuer="https://kubernetes.default.svc", audience="istio-ca")
BUNDLE = Bundle(TD, (AUTHORITY.root,), (JwtAuthority("k1", KEY.public_key()), JwtAuthority("k2", RSA.public_key())), 7)
KEYS = (JwtAuthority("k1", KEY.public_key()),)


def signed(header: object, claims: object) -> bytes:
    text = b".".join(map(_part, (header, claims)))
    return text + b"." + _encoded(jwt.get_algorithm_by_name("ES256").sign(text, KEY))


def _part(value: object) -> bytes:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def of_token(random: Random, samples: Sequence[bytes]) -> bytes:
    """Of the text, or more often of header or claims, with a signature that is good: past it, nobody else looks."""
    if random.random() < 0.3:
        return of_bytes(random, samples)
    parts = random.choice(samples).split(b".")[:2]
    altered = random.randrange(2)
    parts[altered] = _encoded(of_json(random, [_decoded(parts[altered])]))
    return b".".join((*parts, _encoded(jwt.get_algorithm_by_name("ES256").sign(b".".join(parts), KEY))))


def _decoded(part: bytes) -> bytes:
    return urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def of_request(random: Random, samples: Sequence[bytes]) -> bytes:
    """Of the text, or more often of what is signed, with a signature that is good: past it, nothing else is looked at."""
    if random.random() < 0.3:
        return of_pem(random, samples)
    body = of_bytes(random, [x509.load_pem_x509_csr(sample).tbs_certrequest_bytes for sample in samples])
    signature = KEY.sign(body, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    whole = _der(0x30, body + algorithm + _der(0x03, b"\0" + signature))
    return pem_of(whole)


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


HEADER = {"alg": "ES256", "kid": "k1", "typ": "JWT"}
SVID = {"sub": str(WEB), "aud": ["web", "api"], "exp": NOW + 300, "iat": NOW, "nbf": NOW, "jti": "1", "iss": "i"}
POD = {
    "iss": TOKENS.issuer,
    "aud": [TOKENS.audience],
    "sub": "system:serviceaccount:shop:web",
    "exp": NOW + 600,
    "iat": NOW,
    "nbf": NOW,
    "kubernetes.io": {
        "namespace": "shop",
        "serviceaccount": {"name": "web", "uid": "s"},
        "pod": {"name": "web-1", "uid": "u"},
        "node": {"name": "n1", "uid": "n"},
    },
}


def _every_extension(builder: Builder) -> Builder:
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    )


class NoCertificateError(Exception):
    """TLS would not have passed it on."""


def _verify_chain(data: bytes) -> object:
    try:
        leaf = x509.load_der_x509_certificate(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise NoCertificateError from error
    return verify_x509_svid([leaf, AUTHORITY.intermediate.certificate], [BUNDLE], at=AT)


@dataclass(frozen=True, slots=True)
class Target:
    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    mutate: Mutate
    errors: tuple[type[Exception], ...]


TARGETS = {
    "certificate signing request": Target(
        read_csr,
        (
            csr(KEY),
            csr(KEY, spiffe_id=WEB),
            request(uri(str(WEB)), key=KEY, subject=EMPTY),
            request(uri(str(WEB)), extend=_every_extension),
        ),
        of_request,
        (CsrError,),
    ),
    "JWT-SVID": Target(
        lambda data: verify_jwt_svid(data.decode("latin-1"), [BUNDLE], audience="web", at=AT),
        (signed(HEADER, SVID),),
        of_token,
        (InvalidJwtSvidError,),
    ),
    "service-account token": Target(
        lambda data: TOKENS.verify(data.decode("latin-1"), KEYS, at=AT).caller("east", named_in=TD),
        (signed(HEADER, POD),),
        of_token,
        (AttestationError,),
    ),
    "bundle": Target(
        lambda data: to_document(parse_bundle(data, TD)),
        (to_document(BUNDLE), b'{"keys":[],"spiffe_refresh_hint":300}'),
        of_json,
        (InvalidBundleError,),
    ),
    "keys of a cluster": Target(read_jwks, (jwks("a", "b"),), of_json, (InvalidKeysError,)),
    "X.509-SVID": Target(
        _verify_chain,
        (AUTHORITY.issue_with_new_key(WEB, at=AT).leaf.public_bytes(Encoding.DER),),
        of_bytes,
        (NoCertificateError, SvidVerificationError),
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_only_the_documented_errors_escape_and_nothing_costs_much(name: str) -> None:
    target = TARGETS[name]
    read, taken = fuzz(target.read, target.samples, target.mutate, *target.errors)
    print(f"\n{name}: {read} inputs in {SECONDS:g} s, {taken} of them taken")  # noqa: T201  # what was covered


# Values of any kind, shrunk to the smallest that fails.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EXAMPLES = settings(max_examples=max(50, int(50 * SECONDS)))


def replacing(original: dict[str, object]) -> st.SearchStrategy[dict[str, object]]:
    """The same with some members replaced."""
    return st.dictionaries(st.sampled_from(sorted(original)), JSON, max_size=3).map(lambda some: {**original, **some})


@EXAMPLES
@given(replacing(SVID), replacing(dict(HEADER)))
def test_a_jwt_svid_may_say_anything(claims: object, header: object) -> None:
    with suppress(InvalidJwtSvidError):
        verify_jwt_svid(signed(header, claims).decode(), [BUNDLE], audience="web", at=AT)


@EXAMPLES
@given(replacing(POD), JSON)
def test_a_token_of_a_cluster_may_say_anything(claims: dict[str, object], pod: object) -> None:
    for said in (claims, {**claims, "kubernetes.io": pod}):
        with suppress(AttestationError):
            TOKENS.verify(signed(HEADER, said).decode(), KEYS, at=AT).caller("east", named_in=TD)


@EXAMPLES
@given(st.lists(st.sampled_from(json.loads(to_document(BUNDLE))["keys"]).flatmap(replacing) | JSON, max_size=4), JSON)
def test_a_bundle_may_say_anything(keys: object, number: object) -> None:
    for name in ("spiffe_sequence", "spiffe_refresh_hint"):
        with suppress(InvalidBundleError):
            parse_bundle(json.dumps({"keys": keys, name: number}).encode(), TD)


@EXAMPLES
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    for target in TARGETS.values():
        with suppress(*target.errors):
            target.read(data)
