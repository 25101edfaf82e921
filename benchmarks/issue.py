"""Aim: an authority issues thousands of X.509-SVIDs a second on one core, each read again, byte by byte, before it leaves.

The floor is what no authority can leave out: one signature by its key, and one check of that signature. Everything is measured in
turn in rounds of some milliseconds, in CPU time of this process, so that ratios hold when the machine's speed drifts.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.row import Better, Row
from ca.authorities import Authorities
from ca.csr import read_csr
from ca.keys import KeyType, MemoryKeyStore
from ca.lifetimes import Settings
from ca.rotation import Facts, Waiting, next_step, perform
from ca.signature import require_signature, sign
from identity import SpiffeId, TrustDomain

TRUST_DOMAIN = TrustDomain.parse("cluster.local")
WEB = SpiffeId.for_workload(TRUST_DOMAIN, namespace="shop", service_account="web")
FLOOR = "floor: sign, check the signature"
ISSUE = "issue"
FROM_REQUEST = "issue from a request with a P-256 key"
ROUNDS = 60
EACH = 20
KINDS = (KeyType.P256, KeyType.P384, KeyType.RSA_2048)


def _figure(what: str, key: str) -> Callable[[Any], float | None]:
    def read(result: Any) -> float | None:
        for row in result["rows"]:
            if row["authority"] == KeyType.P256.value and row["what"] == what:
                return float(row[key])
        return None

    return read


ROWS = (
    Row("X.509-SVIDs issued a second on one core, P-256", 7000, _figure(ISSUE, "a_second"), "/s", Better.MORE),
    Row("the same, with a P-256 request read and checked", 5000, _figure(FROM_REQUEST, "a_second"), "/s", Better.MORE),
    Row("what issuing takes, beside one signature and its check", 2.1, _figure(ISSUE, "times_the_floor"), "times"),
)


def measure() -> dict[str, object]:
    """For each kind of the authority's key: microseconds and leaves a second, with and without reading a request, and the floor."""
    return {"rounds": ROUNDS, "each": EACH, "rows": [row for kind in KINDS for row in _rows(kind)]}


def _rows(kind: KeyType) -> list[dict[str, object]]:
    at = datetime.now(UTC)
    keys = MemoryKeyStore()
    authority = _started(kind, keys, at).issuer(keys, at=at)
    signer = authority.intermediate
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    request, rsa_request = _request(leaf_key), _request(rsa.generate_private_key(65537, 2048))
    leaf = authority.issue(WEB, leaf_key.public_key(), at=at).leaf
    tbs, signature, public_key = leaf.tbs_certificate_bytes, leaf.signature, signer.private_key.public_key()

    def floor() -> None:
        sign(signer.private_key, tbs)
        require_signature(public_key, signature, tbs)

    def from_request(pem: bytes) -> None:
        authority.issue(WEB, read_csr(pem).public_key, at=at)

    tried: dict[str, Callable[[], object]] = {
        FLOOR: floor,
        ISSUE: lambda: authority.issue(WEB, leaf_key.public_key(), at=at),
        FROM_REQUEST: lambda: from_request(request),
        "issue from a request with an RSA-2048 key": lambda: from_request(rsa_request),
    }
    taken: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(ROUNDS):
        for name, function in tried.items():
            started = time.process_time()
            for _ in range(EACH):
                function()
            taken[name].append((time.process_time() - started) / EACH)
    base = taken[FLOOR]
    return [
        {
            "authority": kind.value,
            "what": name,
            "p50_us": round(statistics.median(times) * 1e6, 1),
            "best_us": round(min(times) * 1e6, 1),
            "a_second": round(1 / statistics.median(times)),
            "best_a_second": round(1 / min(times)),
            "times_the_floor": round(statistics.median(a / b for a, b in zip(times, base, strict=True)), 2),
        }
        for name, times in taken.items()
    ]


def _started(kind: KeyType, keys: MemoryKeyStore, at: datetime) -> Authorities:
    settings = Settings(root_key=kind, intermediate_key=kind, notice=timedelta(0))
    authorities = Authorities(TRUST_DOMAIN)
    while not isinstance(
        step := next_step(authorities, Facts(at=at, acknowledged={}, last_expiry={}), settings), Waiting
    ):
        authorities = perform(step, authorities, keys=keys, settings=settings, at=at)
    return authorities


def _request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    uri = x509.UniformResourceIdentifier(str(WEB))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([uri]), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
