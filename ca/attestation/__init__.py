"""Attestation: who a caller is, established without taking the caller's word for it."""

from ca.attestation.caller import Attestor, Caller
from ca.attestation.clusters import Cluster, KubernetesAttestor
from ca.attestation.current_svid import attest_current_svid
from ca.attestation.kubernetes import KubernetesTokens, ServiceAccount
from ca.attestation.kubernetes_keys import DiscoveredKeys, KeysFile, TokenKeys
from ca.attestation.unix_peer import PeerCredentials, attest_unix_peer

__all__ = [
    "Attestor",
    "Caller",
    "Cluster",
    "DiscoveredKeys",
    "KeysFile",
    "KubernetesAttestor",
    "KubernetesTokens",
    "PeerCredentials",
    "ServiceAccount",
    "TokenKeys",
    "attest_current_svid",
    "attest_unix_peer",
]
