"""Aim: a token that was verified before costs a request next to nothing, and the first time little more than its signature.

Three comparisons, each in rounds taken in turn, so that the ratios, medians of the rounds', hold when the machine's speed drifts:
a decision among ten thousand rules with a token that comes again, and without one; a token's first verification, and nothing
but the check of its signature on the same bytes; a server's answers over one connection, with such a token and without.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

import grpc
import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authn import StaticKeys, authenticate
from authn.jwks_cache import JwksCache
from authn.token import UnverifiedToken
from authn.verified_tokens import VerifiedTokens
from authz.attributes import Attributes
from authz.mesh_config import MeshConfig
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.workload import Workload
from benchmarks.row import Row
from benchmarks.rules import mixed_policies
from demo.server import Server
from extauthz.service import AuthorizationService
from extauthz.tokens import Verifying
from mesh.snapshot import Snapshot

ISSUER = "https://idp.example"
RULES = 10_000
ROUNDS = 15
REQUESTS = 400
TOKENS = 200
SERVED = 3_000
AT_ONCE = 32
CHECK = "/envoy.service.auth.v3.Authorization/Check"

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def _first_time(algorithm: str) -> Row:
    return Row(
        f"first verification with {algorithm}, against the check of its signature",
        1.3,
        lambda result: result["the first time"][algorithm]["ratio"],
        "times",
    )


ROWS = (
    Row(
        "throughput lost to a token that was verified before",
        0.10,
        lambda result: round(1 - result["a server"]["ratio"], 3),
        "of it",
    ),
    *map(_first_time, ("RS256", "ES256", "EdDSA")),
)


class Signing(NamedTuple):
    """A key, and how a signature by it is checked with nothing around it."""

    algorithm: str
    key: Private
    jwks: str

    @classmethod
    def of(cls, key: Private) -> "Signing":
        """By the algorithm that is usual for such a key."""
        match key:
            case rsa.RSAPrivateKey():
                algorithm, public = "RS256", RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
            case ec.EllipticCurvePrivateKey():
                algorithm, public = "ES256", ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
            case _:
                algorithm, public = "EdDSA", OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        return cls(algorithm, key, json.dumps({"keys": [{**public, "kid": "one"}]}))

    def token(self, number: int) -> str:
        """One as identity providers issue them; no two numbers have the same."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": f"user-{number}",
            "aud": "shop",
            "iat": now,
            "exp": now + 3600,
            "jti": f"{number:032x}",
        }
        claims |= {
            "scope": "openid profile email",
            "email": f"user-{number}@example.com",
            "groups": ["buyer", "reader"],
        }
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": "one"})

    def rule(self) -> JwtRule:
        """That takes its tokens."""
        return JwtRule(issuer=ISSUER, jwks=self.jwks, audiences=("shop",))

    def bare(self, text: str) -> Callable[[], None]:
        """The check of the signature alone, all that can be prepared done before."""
        token = UnverifiedToken.parse(text)
        signed, signature = token.signed, token.signature
        match self.key.public_key():
            case rsa.RSAPublicKey() as public:
                return lambda: public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePublicKey() as curve:
                der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
                return lambda: curve.verify(der, signed, ec.ECDSA(hashes.SHA256()))
            case edwards:
                return lambda: edwards.verify(signature, signed)


def measure() -> dict[str, object]:
    """Microseconds of the best round, requests a second of the best, and the medians of the ratios."""
    signings = [
        Signing.of(rsa.generate_private_key(65537, 2048)),
        Signing.of(ec.generate_private_key(ec.SECP256R1())),
        Signing.of(ed25519.Ed25519PrivateKey.generate()),
    ]
    return {
        "a decision": asyncio.run(_decisions(signings[0])),
        "the first time": {signing.algorithm: _first(signing) for signing in signings},
        "a server": _server(signings[0]),
    }


def question(number: int, token: str | None) -> bytes:
    """A CheckRequest that a rule of `number` allows."""
    asked = CheckRequest()
    for end, address, port in (
        (asked.attributes.source, "10.1.2.3", 40000),
        (asked.attributes.destination, "10.0.0.9", 8080),
    ):
        end.address.CopyFrom(Address(socket_address=SocketAddress(address=address, port_value=port)))
    asked.attributes.source.principal = "spiffe://cluster.local/ns/shop/sa/caller0"
    asked.attributes.context_extensions["workload"] = "shop/api"
    http = asked.attributes.request.http
    http.method, http.path, http.host, http.scheme = "GET", f"/v1/items{number}?page=2", "api.shop:8080", "https"
    lines = {
        ":method": http.method,
        ":path": http.path,
        ":authority": http.host,
        ":scheme": http.scheme,
        "accept": "*/*",
        "user-agent": "benchmark",
        "x-request-id": f"{number:08x}",
        "x-tier": "gold",
    }
    if token is not None:
        lines["authorization"] = f"Bearer {token}"
    for name, value in lines.items():
        http.header_map.headers.add(key=name, raw_value=value.encode())
    return bytes(asked.SerializeToString())


def _questions(token: str | None) -> list[bytes]:
    return [question(90 * number, token) for number in range(100)]


async def _decisions(signing: Signing) -> dict[str, object]:
    rule = signing.rule()
    snapshot = Snapshot(
        policies=mixed_policies(RULES),
        workloads=[Workload(namespace="shop", name="api", labels={"app": "api"})],
        config=MeshConfig(),
        revision="1",
        request_authentications=[RequestAuthentication(namespace="shop", name="idp", jwt_rules=(rule,))],
    )
    asked = {"none": _questions(None), "token": _questions(signing.token(0))}
    async with JwksCache() as keys:
        tokens = Verifying(keys)
        tokens.expect([rule])
        service = AuthorizationService(lambda: snapshot, tokens=tokens)
        rounds = [
            {name: await _answering(service, questions) for name, questions in asked.items()} for _ in range(ROUNDS)
        ]
    return {
        "rules": RULES,
        "without_us": _least([times["none"] for times in rounds]),
        "with_us": _least([times["token"] for times in rounds]),
        "extra_us": round(statistics.median(times["token"] - times["none"] for times in rounds), 1),
        "ratio": _ratio([(times["token"], times["none"]) for times in rounds]),
    }


async def _answering(service: AuthorizationService, questions: Sequence[bytes]) -> float:
    times = []
    for asked in islice(cycle(questions), REQUESTS):
        started = time.perf_counter_ns()
        await service.answer(asked)
        times.append((time.perf_counter_ns() - started) / 1000)
    return statistics.median(times)


def _first(signing: Signing) -> dict[str, object]:
    rule, at = signing.rule(), time.time()
    requests = [
        (Attributes(method="GET", path="/", headers={"authorization": (f"Bearer {text}",)}), signing.bare(text))
        for text in map(signing.token, range(TOKENS))
    ]
    rounds = []
    for _ in range(ROUNDS):
        remembered = VerifiedTokens()
        whole, bare = [], []
        for attributes, check in requests:
            started = time.perf_counter_ns()
            authenticate((rule,), attributes, key_sets=StaticKeys().key_set, at=at, remembered=remembered)
            between = time.perf_counter_ns()
            check()
            bare.append((time.perf_counter_ns() - between) / 1000)
            whole.append((between - started) / 1000)
        rounds.append((statistics.median(whole), statistics.median(bare)))
    return {
        "verification_us": _least([whole for whole, _ in rounds]),
        "signature_us": _least([bare for _, bare in rounds]),
        "ratio": _ratio(rounds),
    }


MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {containers: [{name: c, image: x}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: idp, namespace: shop}
spec: {jwtRules: [{issuer: "%s", audiences: [shop], jwks: '%s'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: items, namespace: shop}
spec: {action: ALLOW, rules: [{to: [{operation: {paths: [/v1/*]}}]}]}
"""


def _server(signing: Signing) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        manifests = Path(name) / "mesh.yaml"
        manifests.write_text(MANIFESTS % (ISSUER, signing.jwks))
        server = Server(manifests, Path(name) / "server")
        try:
            return asyncio.run(_asking(f"unix:{server.socket}", signing.token(0)))
        finally:
            server.stop()


async def _asking(address: str, token: str) -> dict[str, object]:
    without, brought = _questions(None), _questions(token)
    async with grpc.aio.insecure_channel(address) as channel:
        check = channel.unary_unary(CHECK)
        for asked in (without[0], brought[0]):
            if CheckResponse.FromString(await check(asked)).status.code != 0:
                raise RuntimeError("what is measured is not what is meant: a request was denied")
        rounds = [(await _rate(check, brought), await _rate(check, without)) for _ in range(ROUNDS)]
    return {
        "without_a_second": round(max(rate for _, rate in rounds)),
        "with_a_second": round(max(rate for rate, _ in rounds)),
        "ratio": _ratio(rounds),
    }


async def _rate(check: grpc.aio.UnaryUnaryMultiCallable, questions: Sequence[bytes]) -> float:
    left = islice(cycle(questions), SERVED)

    async def ask() -> None:
        for asked in left:
            await check(asked)

    started = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return SERVED / (time.perf_counter() - started)


def _least(values: Sequence[float]) -> float:
    return round(min(values), 1)


def _ratio(rounds: Sequence[tuple[float, float]]) -> float:
    return round(statistics.median(one / other for one, other in rounds), 2)
