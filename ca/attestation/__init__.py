"""Attestation: who a caller is, established without taking the caller's word for it."""

from ca.attestation.caller import Attestor, Caller
from ca.attestation.current_svid import attest_current_svid
from ca.attestation.kubernetes import KubernetesTokens, ServiceAccount
from ca.attestation.unix_peer import PeerCredentials, attest_unix_peer

__all__ = [
    "Attestor",
    "Caller",
    "KubernetesTokens",
    "PeerCredentials",
    "ServiceAccount",
    "attest_current_svid",
    "attest_unix_peer",
]
