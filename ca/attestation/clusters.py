"""Clusters: whose token it is, among the Kubernetes clusters that this authority serves."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ca.attestation.caller import Caller
from ca.attestation.kubernetes import KubernetesTokens
from ca.attestation.kubernetes_keys import TokenKeys
from ca.errors import AttestationError, UnknownTokenKeyError
from identity import InvalidSpiffeIdError, TrustDomain

__all__ = ["Cluster", "KubernetesAttestor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What tokens of one cluster must say, and by which keys. `named_in` is where its service accounts have their names, as in Istio."""

    tokens: KubernetesTokens
    keys: TokenKeys
    named_in: TrustDomain | None = None


class KubernetesAttestor:
    """Takes tokens of `clusters`. `default` is the one that is meant where a caller does not say; without it they have to.

    Raises:
        ValueError: two clusters have one name, or `default` is none of them.
    """

    def __init__(self, clusters: Iterable[Cluster], *, default: str | None = None) -> None:
        listed = tuple(clusters)
        self._clusters = {cluster.tokens.cluster: cluster for cluster in listed}
        if len(self._clusters) != len(listed):
            raise ValueError("two clusters have one name")
        if default is not None and default not in self._clusters:
            raise ValueError(f"the default cluster {default!r} is none of those that are known")
        self._default = default

    async def attest(self, token: str, *, cluster: str | None = None, at: datetime) -> Caller:
        """Whose `token` it is.

        Raises:
            AttestationError: it proves nothing.
            NotReadyError: the keys of its cluster are not known, and nobody can tell.
        """
        name = cluster or self._default
        if name is None:
            raise AttestationError("it does not say of which cluster its token is")
        found = self._clusters.get(name)
        if found is None:
            raise AttestationError(f"its cluster {name[:64]!r} is not known here")
        try:
            account = found.tokens.verify(token, await found.keys.current(), at=at)
        except UnknownTokenKeyError:
            # The cluster may have a new key, as it has after each rotation.
            account = found.tokens.verify(token, await found.keys.renewed(), at=at)
        try:
            return account.caller(name, named_in=found.named_in)
        except InvalidSpiffeIdError as error:
            raise AttestationError(str(error)) from error
