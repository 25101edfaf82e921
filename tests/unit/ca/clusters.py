"""Kubernetes clusters for tests: keys that sign service-account tokens, and the documents that say which."""

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from ca.attestation import Cluster, KeysFile, KubernetesTokens
from identity import TrustDomain, to_jwk

__all__ = ["TestCluster", "jwks"]

_KEYS: dict[str, rsa.RSAPrivateKey] = {}


def _key(name: str) -> rsa.RSAPrivateKey:
    # Making one takes longer than most tests.
    if name not in _KEYS:
        _KEYS[name] = rsa.generate_private_key(65537, 2048)
    return _KEYS[name]


def jwks(*names: str) -> bytes:
    """A JWK Set of keys of those names, as an API server gives it."""
    keys = [{"use": "sig", "alg": "RS256", "kid": name, **to_jwk(_key(name).public_key())} for name in names]
    return json.dumps({"keys": keys}).encode()


@dataclass(frozen=True, slots=True)
class TestCluster:
    """A cluster, and what it would sign."""

    __test__ = False

    name: str = "east"
    issuer: str = "https://kubernetes.default.svc"
    audience: str = "istio-ca"

    @property
    def tokens(self) -> KubernetesTokens:
        return KubernetesTokens(cluster=self.name, issuer=self.issuer, audience=self.audience)

    def known(self, directory: Path, *, named_in: TrustDomain | None = None) -> Cluster:
        """What an authority is told of it, with its key in a file."""
        path = directory / f"{self.name}.jwks"
        path.write_bytes(jwks(self.name))
        return Cluster(tokens=self.tokens, keys=KeysFile(path), named_in=named_in)

    def token(
        self,
        account: str = "shop/web",
        *,
        at: datetime,
        pod: tuple[str, str] | None = ("web-1", "u-1"),
        node: str | None = "n1",
        key: str | None = None,
        kid: str | None = None,
        **claims: object,
    ) -> str:
        """A token of a pod of `account`."""
        namespace, name = account.split("/")
        bound: dict[str, object] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": "s-1"}}
        if pod is not None:
            bound["pod"] = {"name": pod[0], "uid": pod[1]}
        if node is not None:
            bound["node"] = {"name": node, "uid": "n-1"}
        body: dict[str, object] = {
            "iss": self.issuer,
            "aud": [self.audience],
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "iat": int(at.timestamp()),
            "nbf": int(at.timestamp()),
            "exp": int((at + timedelta(hours=1)).timestamp()),
            "kubernetes.io": bound,
            **claims,
        }
        body = {claim: value for claim, value in body.items() if value is not ...}
        return signed({"alg": "RS256", "kid": kid or self.name}, body, key or self.name)


def signed(header: dict[str, object], body: dict[str, object], key: str) -> str:
    """A token of that header and body, by the key of that name."""
    text = f"{_part(header)}.{_part(body)}"
    signature = jwt.get_algorithm_by_name("RS256").sign(text.encode(), _key(key))
    return f"{text}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
