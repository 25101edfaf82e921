"""Renewal: a caller that shows, over mutual TLS, an X.509-SVID that is still good."""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from ca.attestation.caller import Attestor, Caller
from ca.errors import AttestationError
from ca.selector import Selector
from identity import Bundle, SvidVerificationError, verify_x509_svid

__all__ = ["attest_current_svid"]


def attest_current_svid(chain: Sequence[x509.Certificate], bundle: Bundle, *, at: datetime) -> Caller:
    """Who holds the key of the leaf of `chain`, which TLS has shown.

    `bundle` is the authority's own, without what is tainted: an SVID that a thief of the old key could have made renews nothing.
    Whether it was revoked, and whether its name is still to be had, is for whoever issues to look up.

    Raises:
        AttestationError: the chain proves nothing.
    """
    try:
        spiffe_id = verify_x509_svid(chain, [bundle], at=at)
    except SvidVerificationError as error:
        raise AttestationError(str(error)) from error
    selectors = frozenset({Selector(Attestor.CURRENT_SVID.value, str(spiffe_id))})
    return Caller(Attestor.CURRENT_SVID, str(spiffe_id), selectors, spiffe_id)
