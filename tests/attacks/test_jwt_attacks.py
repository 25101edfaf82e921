"""Attacks on the verification of tokens that worked on others, each by the name it became known under."""

import asyncio
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from time import perf_counter

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import authn
from authn import (
    InvalidJwkSetError,
    JwkSet,
    JwtStatus,
    KeysUnavailableError,
    StaticKeys,
    UnauthenticatedError,
    authenticate,
)
from authn.egress import Egress
from authn.jwks_cache import JwksCache
from authn.jwks_fetch import resolve as system_resolve
from authn.jwks_fetch import tls_context
from authz.attributes import Attributes
from authz.request_authentication import ClaimToHeader, JwtRule
from identity.strict_json import parse_object
from tests.unit.authn.key_server import LOOPBACK, KeyServer, Passing, Reply, key_server
from tests.unit.authn.tokens import AT, base64url, jwk, key_set, private_key, sign, token

ISSUER = "https://idp.example"
KEY = private_key("RSA", "issuer")
ATTACKER = private_key("RSA", "attacker")
RULE = JwtRule(issuer=ISSUER, jwks=key_set(jwk(KEY, kid="k", alg="RS256")))
ANY_ALGORITHM = JwtRule(issuer=ISSUER, jwks=key_set(jwk(KEY)))
CLAIMS = {"iss": ISSUER, "sub": "admin", "exp": AT + 600}
GOOD = str(token(KEY, CLAIMS, kid="k"))

TRUST = tls_context()

assert isinstance(KEY, rsa.RSAPrivateKey)
PUBLIC = KEY.public_key()


def carrying(text: str, *, path: str = "/admin") -> Attributes:
    return Attributes(
        method="GET", path=path, host="api.shop", scheme="https", headers={"authorization": (f"Bearer {text}",)}
    )


def refused(text: str, *rules: JwtRule, path: str = "/admin") -> JwtStatus:
    with pytest.raises(UnauthenticatedError) as caught:
        authenticate(rules or (RULE,), carrying(text, path=path), key_sets=StaticKeys().key_set, at=AT)
    return caught.value.status


def claims(text: str, *rules: JwtRule) -> Mapping[str, object] | None:
    return authenticate(rules or (RULE,), carrying(text), key_sets=StaticKeys().key_set, at=AT).claims


def test_the_token_that_all_of_these_start_from_is_good() -> None:
    assert claims(GOOD) == claims(GOOD, ANY_ALGORITHM) == CLAIMS


# Where tokens are looked for.


@pytest.mark.parametrize(
    "path",
    ["/admin?x", "/admin#x", "/admin?access=/public", "//admin", "/admin;x", "/%61dmin", "/?", "/#", "/admin/.."],
)
def test_cve_2020_8595_no_path_query_or_fragment_keeps_a_token_from_being_checked(path: str) -> None:
    assert refused(f"{GOOD[:-4]}AAAA", path=path) is JwtStatus.VERIFICATION_FAILED


def test_cve_2021_21378_that_a_token_may_be_missing_does_not_let_one_in_that_nobody_knows() -> None:
    stranger = str(token(ATTACKER, {**CLAIMS, "iss": "https://evil.example"}))
    other = JwtRule(issuer="https://other.example", jwks=RULE.jwks)
    assert refused(stranger) is JwtStatus.UNKNOWN_ISSUER
    assert refused(stranger, other, RULE) is JwtStatus.UNKNOWN_ISSUER


def test_cve_2021_21378_a_request_without_a_token_has_nobody_for_a_policy_to_name() -> None:
    attributes = Attributes(path="/admin", claims=CLAIMS)
    result = authenticate((RULE,), attributes, key_sets=StaticKeys().key_set, at=AT)
    assert result.applied_to(attributes).claims is None


def test_a_forged_token_beside_a_good_one_is_not_overlooked() -> None:
    forged = str(token(ATTACKER, CLAIMS, kid="k"))
    for header, parameter in ((GOOD, forged), (forged, GOOD)):
        assert refused(header, path=f"/admin?access_token={parameter}") is JwtStatus.VERIFICATION_FAILED


# Whose keys.


def test_cve_2026_31837_keys_that_cannot_be_fetched_are_replaced_by_none() -> None:
    async def main(server: KeyServer, reply: Reply) -> None:
        server.replies["/keys"] = reply
        rule = JwtRule(issuer=ISSUER, jwks_uri=server.url("/keys"))
        async with JwksCache(LOOPBACK, tls=TRUST, sleep=Passing().sleep) as cache:
            await cache.ready([rule])
            with pytest.raises(KeysUnavailableError):
                cache.key_set(rule)
            for key in (KEY, ATTACKER):
                with pytest.raises(UnauthenticatedError) as caught:
                    authenticate((rule,), carrying(str(token(key, CLAIMS))), key_sets=cache.key_set, at=AT)
                assert caught.value.status is JwtStatus.KEYS_UNAVAILABLE

    with key_server() as server:
        for reply in (Reply(status=500), Reply.text("{}"), Reply.text('{"keys": []}'), Reply.text("not found")):
            asyncio.run(main(server, reply))


def test_cve_2026_31837_a_rule_whose_own_keys_are_none_takes_no_token() -> None:
    for text in ("{}", '{"keys": []}', "nonsense", key_set({"kty": "oct", "k": "c2VjcmV0"})):
        assert refused(GOOD, JwtRule(issuer=ISSUER, jwks=text)) is JwtStatus.NO_VALID_KEYS


def test_cve_2020_1764_no_key_or_secret_comes_with_the_code() -> None:
    package = Path(authn.__file__).parent
    long_secret = re.compile(r"[A-Za-z0-9+/_=-]{60,}|BEGIN [A-Z ]*KEY|BEGIN CERTIFICATE")
    sources = list(package.glob("**/*"))
    assert len(sources) > 10
    found = {file.name: long_secret.findall(file.read_text()) for file in sources if file.suffix == ".py"}
    assert {name for name, secrets in found.items() if secrets} == set()


@pytest.mark.parametrize("secret", [b"kiali", b"secret", b"changeme", b"", b"\0", b"null", b"None", b"password"])
def test_cve_2020_1764_no_default_secret_signs_a_token(secret: bytes) -> None:
    text = str(token(secret, CLAIMS, alg="HS256"))
    assert refused(text) is JwtStatus.NO_MATCHING_KEY
    assert refused(text, ANY_ALGORITHM) is JwtStatus.VERIFICATION_FAILED


# Server-side request forgery.

INSIDE = [
    "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fe80::1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://0x7f.1/",
    "http://2130706433/",
    "http://127.0.0.1:15000/config_dump",
    "http://localhost:8080/debug",
    "http://0.0.0.0/",
    "http://[::]/",
    "http://[::1]/",
    "http://10.96.0.1/api/v1/secrets",
    "http://192.168.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
]


async def why_nothing_was_fetched(rule: JwtRule, egress: Egress, names: Mapping[str, Sequence[str]]) -> str:
    async def resolve(host: str, port: int) -> Sequence[IPv4Address | IPv6Address]:
        del port
        return [ip_address(each) for each in names[host]]

    looking = resolve if names else system_resolve
    async with JwksCache(egress, tls=TRUST, resolve=looking, sleep=Passing().sleep) as cache:
        with pytest.raises(KeysUnavailableError) as caught:
            await cache.get(rule)
        return caught.value.reason


@pytest.mark.parametrize("uri", INSIDE)
def test_ghsa_fgw5_hp8f_xfhc_a_policy_makes_nobody_knock_at_doors_inside(uri: str) -> None:
    reason = asyncio.run(why_nothing_was_fetched(JwtRule(issuer=ISSUER, jwks_uri=uri), Egress(), {}))
    assert "may be connected to" in reason


@pytest.mark.parametrize("uri", ["file:///var/run/secrets/token", "gopher://10.0.0.1/", "ftp://10.0.0.1/", "data:,{}"])
def test_ghsa_fgw5_hp8f_xfhc_a_policy_reads_no_files(uri: str) -> None:
    reason = asyncio.run(why_nothing_was_fetched(JwtRule(issuer=ISSUER, jwks_uri=uri), Egress(), {}))
    assert "neither http nor https" in reason


def test_ghsa_fgw5_hp8f_xfhc_no_redirect_or_configuration_leads_inside() -> None:
    inside = "http://169.254.169.254/latest/meta-data/"
    everything = Egress((ip_network("0.0.0.0/0"), ip_network("::/0")))
    with key_server() as server:
        server.replies["/keys"] = Reply(status=302, headers={"Location": inside})
        rule = JwtRule(issuer=ISSUER, jwks_uri=server.url("/keys"))
        assert "redirects are not followed" in asyncio.run(why_nothing_was_fetched(rule, everything, {}))
        issuer = server.url("")
        server.replies["/.well-known/openid-configuration"] = Reply.text(
            json.dumps({"issuer": issuer, "jwks_uri": inside})
        )
        reason = asyncio.run(why_nothing_was_fetched(JwtRule(issuer=issuer), everything, {}))
        assert "169.254.169.254 is link local, which nothing allows" in reason


def test_ghsa_fgw5_hp8f_xfhc_no_name_leads_inside() -> None:
    rule = JwtRule(issuer=ISSUER, jwks_uri="https://keys.evil.example/")
    names = {"keys.evil.example": ["10.0.0.1", "::1", "169.254.169.254"]}
    assert "may be connected to" in asyncio.run(why_nothing_was_fetched(rule, Egress(), names))


# What a token says of its own verification.


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["x-policy"], "x-policy": "deny"},
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": None},
        {"crit": "alg"},
        {"crit": ["alg"]},
        {"crit": {}},
    ],
)
def test_cve_2026_32597_and_cve_2025_59420_a_token_that_demands_an_extension_is_refused(
    members: dict[str, object],
) -> None:
    text = str(token(KEY, CLAIMS, header={"alg": "RS256", "kid": "k", **members}))
    assert refused(text) is JwtStatus.CRITICAL_EXTENSION


def secrets_made_of_the_public_key() -> Mapping[str, bytes]:
    spki = PublicFormat.SubjectPublicKeyInfo
    numbers = PUBLIC.public_numbers()
    return {
        "PEM": PUBLIC.public_bytes(Encoding.PEM, spki),
        "PEM without the last newline": PUBLIC.public_bytes(Encoding.PEM, spki).rstrip(b"\n"),
        "PKCS#1 PEM": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "DER": PUBLIC.public_bytes(Encoding.DER, spki),
        "OpenSSH": PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "JWK": json.dumps(jwk(KEY, kid="k", alg="RS256")).encode(),
        "JWK Set": RULE.jwks.encode(),
        "modulus": numbers.n.to_bytes(256, "big"),
        "modulus as text": str(jwk(KEY)["n"]).encode(),
    }


@pytest.mark.parametrize("form", secrets_made_of_the_public_key())
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_cve_2022_29217_a_public_key_is_no_hmac_secret(form: str, algorithm: str) -> None:
    text = str(token(secrets_made_of_the_public_key()[form], CLAIMS, alg=algorithm, kid="k"))
    assert refused(text) is JwtStatus.NO_MATCHING_KEY
    assert refused(text, ANY_ALGORITHM) is JwtStatus.VERIFICATION_FAILED


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_cve_2024_33663_and_cve_2024_37568_a_public_key_of_any_kind_and_form_is_no_hmac_secret(kind: str) -> None:
    key = private_key(kind, "issuer")
    public = key.public_key()
    forms = [
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]
    rule = JwtRule(issuer=ISSUER, jwks=key_set(jwk(key)))
    for secret in forms:
        status = refused(str(token(secret, CLAIMS, alg="HS256")), rule)
        assert status in {JwtStatus.VERIFICATION_FAILED, JwtStatus.ED25519_SIGNATURE_LENGTH}


def test_cve_2015_9235_a_symmetric_key_is_none_for_who_only_verifies() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    symmetric = {"kty": "oct", "kid": "k", "k": base64url(secret)}
    with pytest.raises(InvalidJwkSetError, match="symmetric"):
        JwkSet.parse(key_set(symmetric))
    rule = JwtRule(issuer=ISSUER, jwks=key_set(symmetric, jwk(KEY, kid="other")))
    assert refused(str(token(secret, CLAIMS, alg="HS256", kid="k")), rule) is JwtStatus.NO_MATCHING_KEY


@pytest.mark.parametrize(
    "name", ["none", "None", "NONE", "nOnE", "", " none", "none\0", "null", "RS256 ", "rs256", "RS-256"]
)
def test_cve_2015_9235_an_algorithm_that_is_none_is_none_with_a_signature_or_without(name: str) -> None:
    signed = token(KEY, CLAIMS, alg=name, signed_as="RS256", kid="k")
    assert refused(str(signed)) is JwtStatus.HEADER_UNKNOWN_ALG
    assert refused(f"{signed.header}.{signed.payload}.") is JwtStatus.BAD_FORMAT
    assert refused(f"{signed.header}.{signed.payload}") is JwtStatus.BAD_FORMAT


@pytest.mark.parametrize("algorithm", [["RS256"], {"RS256": 1}, None, True, 256])
def test_cve_2015_9235_an_algorithm_that_is_no_string_is_refused(algorithm: object) -> None:
    text = str(token(KEY, CLAIMS, header=json.dumps({"alg": algorithm, "kid": "k"})))
    assert refused(text) is JwtStatus.HEADER_BAD_ALG


def test_the_algorithm_is_the_keys_and_never_the_tokens() -> None:
    elliptic = private_key("P-256", "issuer")
    rule = JwtRule(issuer=ISSUER, jwks=key_set(jwk(elliptic)))
    for algorithm in ("RS256", "PS256", "HS256", "ES384", "ES512", "EdDSA"):
        text = str(token(elliptic, CLAIMS, alg=algorithm, signed_as="ES256"))
        assert refused(text, rule) is JwtStatus.VERIFICATION_FAILED


def test_cve_2018_0114_a_key_that_comes_with_the_token_is_nobodys() -> None:
    carried: tuple[dict[str, object], ...] = (
        {"jwk": jwk(ATTACKER, kid="k")},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain.pem"},
        {"x5c": ["MIIB"]},
    )
    for members in carried:
        text = str(token(ATTACKER, CLAIMS, header={"alg": "RS256", "kid": "k", **members}))
        assert refused(text) is JwtStatus.VERIFICATION_FAILED


@pytest.mark.parametrize(
    "key_id", ["../../../dev/null", "/dev/null", "k'; DROP TABLE keys; --", "k\0", "K", "k ", "*", "0"]
)
def test_a_key_id_is_compared_and_nothing_else_is_done_with_it(key_id: str) -> None:
    assert refused(str(token(KEY, CLAIMS, kid=key_id))) is JwtStatus.NO_MATCHING_KEY


def test_cve_2022_21449_a_signature_of_zeros_is_none() -> None:
    elliptic = private_key("P-256", "issuer")
    rule = JwtRule(issuer=ISSUER, jwks=key_set(jwk(elliptic)))
    good = token(elliptic, CLAIMS, alg="ES256")
    for signature in (bytes(64), bytes(63) + b"\1", bytes(2), b"\xff" * 64, sign(elliptic, "ES256", b"")[:63]):
        text = f"{good.header}.{good.payload}.{base64url(signature)}"
        assert refused(text, rule) is JwtStatus.VERIFICATION_FAILED


# Sizes.


def test_cve_2025_61920_a_token_of_any_length_costs_next_to_nothing() -> None:
    huge = "A" * 2_000_000
    started = perf_counter()
    for text in (huge, f"{huge}.{huge}.{huge}", "." * 2_000_000, f"{GOOD}{huge}"):
        assert refused(text) is JwtStatus.TOO_LONG
    assert perf_counter() - started < 2


def test_cve_2024_33664_nothing_that_is_encrypted_or_compressed_is_unpacked() -> None:
    bomb = base64url(zlib.compress(b"{" + b" " * 5_000_000 + b"}"))
    assert len(bomb) < 16_000
    header = base64url(json.dumps({"alg": "dir", "enc": "A128GCM", "zip": "DEF"}).encode())
    assert refused(f"{header}..{'A' * 16}.{bomb}.{'A' * 22}") is JwtStatus.BAD_FORMAT
    signed = token(KEY, zlib.compress(b"{" + b" " * 5_000_000 + b"}"), kid="k", zip="DEF")
    assert refused(str(signed)) is JwtStatus.PAYLOAD_BAD_JSON


@pytest.mark.parametrize(
    "payload", ['{"a":' * 2000, "[" * 12000, '{"a":"' + "\\" * 9000, '"' * 12000, '{"a":' + "9" * 12000 + "}"]
)
def test_cve_2024_33664_no_text_takes_long_to_read(payload: str) -> None:
    text = str(token(KEY, payload, kid="k"))
    started = perf_counter()
    refused(text)
    assert perf_counter() - started < 0.5


def test_a_token_that_is_slow_to_read_is_not_read_by_every_rule_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = [JwtRule(issuer=f"https://{n}.example", jwks=RULE.jwks) for n in range(1000)]
    slow = '{"a": [' + "{}," * 3500 + "{}]}"
    read: list[bytes] = []

    def reading(text: bytes) -> dict[str, object]:
        read.append(text)
        return parse_object(text)

    monkeypatch.setattr(authn.token, "parse_object", reading)
    assert refused(str(token(ATTACKER, slow)), *rules) is JwtStatus.UNKNOWN_ISSUER
    assert read.count(slow.encode()) == 1


# Claims.


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER[:-1],
        f"{ISSUER}/",
        f"{ISSUER}.evil.example",
        f" {ISSUER}",
        f"{ISSUER}\0",
        f"{ISSUER}\n",
        ISSUER.upper(),
        "https:",
        "idp.example",
        "",
        "*",
    ],
)
def test_cve_2024_53861_an_issuer_that_is_nearly_the_issuer_is_another(issuer: str) -> None:
    assert refused(str(token(KEY, {**CLAIMS, "iss": issuer}, kid="k"))) is JwtStatus.UNKNOWN_ISSUER


@pytest.mark.parametrize("issuer", [[ISSUER], {ISSUER: 1}, None, 7])
def test_cve_2024_53861_an_issuer_that_is_no_string_is_none(issuer: object) -> None:
    assert refused(str(token(KEY, {**CLAIMS, "iss": issuer}, kid="k"))) is JwtStatus.ISS_NOT_STRING


def test_a_claim_that_is_given_twice_is_neither() -> None:
    for twice in ('"sub": "a", "sub": "admin"', '"exp": 1, "exp": 99999999', '"aud": "a", "\\u0061ud": "b"'):
        text = f'{{"iss": "{ISSUER}", {twice}}}'
        assert refused(str(token(KEY, text, kid="k"))) is JwtStatus.PAYLOAD_BAD_JSON


@pytest.mark.parametrize("exp", [AT - 61, 1, 0.999 + 1])
def test_an_expired_token_is_refused(exp: float) -> None:
    assert refused(str(token(KEY, {**CLAIMS, "exp": exp}, kid="k"))) is JwtStatus.EXPIRED


def test_a_claim_that_would_be_several_headers_is_sent_as_none() -> None:
    from_attacker = {**CLAIMS, "name": "x\r\nx-user: admin"}
    rule = JwtRule(
        issuer=ISSUER, jwks=RULE.jwks, output_claim_to_headers=(ClaimToHeader(header="x-name", claim="name"),)
    )
    assert refused(str(token(KEY, from_attacker, kid="k")), rule) is JwtStatus.UNSENDABLE
