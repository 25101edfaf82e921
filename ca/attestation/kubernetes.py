"""Kubernetes: a pod that shows its projected service-account token.

What is verified offline cannot know that a pod was deleted a minute ago. So tokens are taken only if they are short-lived and
meant for this authority and nobody else.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from ca.attestation.caller import Attestor, Caller
from ca.errors import AttestationError, UnknownTokenKeyError
from ca.selector import Selector
from identity import InvalidJwsError, JwtAuthority, SpiffeId, TrustDomain, UnverifiedJws
from identity.jwt_svid import LEEWAY

__all__ = ["KubernetesTokens", "ServiceAccount"]

# Names as Kubernetes has them (RFC 1123); `fullmatch`, for Istio's authority once indexed into what had too few parts.
_SUBJECT = re.compile(
    r"system:serviceaccount:([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)"
)
_CLAIM = "kubernetes.io"


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """Whose token it was. `pod` and `node` are `None` where the token is not bound to one."""

    namespace: str
    name: str
    pod: str | None = None
    pod_uid: str | None = None
    node: str | None = None

    def caller(self, cluster: str, *, named_in: TrustDomain | None = None) -> Caller:
        """The same as selectors: `k8s:cluster:…`, `k8s:ns:…`, `k8s:sa:…`, and pod and node where they are known.

        Where the cluster's service accounts have their names in a trust domain, as in Istio, it is one of them.
        """
        facts = {
            "cluster": cluster,
            "ns": self.namespace,
            "sa": self.name,
            "pod-name": self.pod,
            "pod-uid": self.pod_uid,
            "node-name": self.node,
        }
        selectors = frozenset(_selector(f"{name}:{value}") for name, value in facts.items() if value)
        spiffe_id = None
        if named_in is not None:
            spiffe_id = SpiffeId.for_workload(named_in, namespace=self.namespace, service_account=self.name)
        return Caller(
            Attestor.KUBERNETES,
            f"{Attestor.KUBERNETES.value}:{cluster}:{self.namespace}:{self.name}",
            selectors,
            spiffe_id,
            instance=self.pod_uid or "",
        )


@lru_cache(maxsize=8192)
def _selector(value: str) -> Selector:
    # Most are those of many pods.
    return Selector(Attestor.KUBERNETES.value, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesTokens:
    """What tokens of one cluster must say: who issued them, for whom, and how long they may live."""

    cluster: str
    issuer: str
    audience: str
    longest: timedelta = timedelta(hours=24)

    def verify(self, token: str, keys: tuple[JwtAuthority, ...], *, at: datetime) -> ServiceAccount:
        """Whose token it is, by the cluster's public `keys`.

        Raises:
            AttestationError: it proves nothing; as an `UnknownTokenKeyError` where another look at the keys could help.
        """
        try:
            jws = UnverifiedJws.parse(token)
            expires, issued, not_before = jws.time("exp"), jws.time("iat"), jws.time("nbf")
        except InvalidJwsError as error:
            raise AttestationError(error.reason) from error
        # The issuer first: another cluster's key ids mean nothing here.
        if jws.text("iss") != self.issuer:
            raise AttestationError("token is of another issuer")
        if jws.audience != (self.audience,):
            raise AttestationError(f"token is not for the audience {self.audience!r} alone")
        if expires is None or issued is None:
            raise AttestationError("token does not say when it was issued and when it expires")
        if at > expires + LEEWAY:
            raise AttestationError("token has expired")
        if at + LEEWAY < max(issued, not_before or issued):
            raise AttestationError("token is not valid yet")
        if expires - issued > self.longest:
            raise AttestationError(f"token lives longer than {self.longest}")
        key = next((each.public_key for each in keys if each.key_id == jws.key_id), None)
        if key is None:
            raise UnknownTokenKeyError("token names no key of its issuer")
        if not jws.is_by(key):
            raise AttestationError("token signature is not by the key that it names")
        return _service_account(jws)


def _service_account(jws: UnverifiedJws) -> ServiceAccount:
    found = _SUBJECT.fullmatch(jws.text("sub") or "")
    if found is None:
        raise AttestationError("token is not a service account's")
    namespace, name = found[1], found[2]
    details = _object(jws.claims, _CLAIM)
    # Two places say the same; where they do not, who reads one takes it for another's.
    if details.get("namespace") != namespace or _object(details, "serviceaccount").get("name") != name:
        raise AttestationError(f"token's `{_CLAIM}` names another service account than its subject, or none")
    pod, node = _object(details, "pod"), _object(details, "node")
    return ServiceAccount(namespace, name, _text(pod, "name"), _text(pod, "uid"), _text(node, "name"))


def _object(members: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = members.get(name)
    return found if isinstance(found, dict) else {}


def _text(members: Mapping[str, object], name: str) -> str | None:
    found = members.get(name)
    return found if isinstance(found, str) and found and found.isprintable() and len(found) <= 253 else None
