"""Bundle endpoints: fetching a trust domain's bundle in one of the two ways of the standard (SPIFFE Federation 5.2)."""

import asyncio
import ssl

from cryptography import x509

from ca.federation.foreign import Foreign, HttpsSpiffe, HttpsWeb
from ca.fetching import Fetcher, FetchError, trusting
from identity import Bundle, SpiffeId, SvidVerificationError, claimed_spiffe_id, parse_bundle
from identity.bundle_document import MAX_DOCUMENT

__all__ = ["fetch_bundle"]


async def fetch_bundle(foreign: Foreign, current: Bundle | None, *, within: float = 10.0) -> Bundle:
    """What `foreign` publishes now. `current` is what it is verified with until then.

    Raises:
        FetchError: there is nothing to be had, or it is not from whom it should be.
        InvalidBundleError: what is there is no bundle.
    """
    document = await _document(foreign, current, within)
    return parse_bundle(document, foreign.trust_domain)


async def _document(foreign: Foreign, current: Bundle | None, within: float) -> bytes:
    match foreign.profile:
        case HttpsWeb(authorities):
            tls = await asyncio.to_thread(trusting, authorities)
            return await Fetcher(tls, most=MAX_DOCUMENT, within=within).fetch(foreign.url)
        case HttpsSpiffe(endpoint_id, bootstrap):
            fetcher = Fetcher(_verifying(current or bootstrap), most=MAX_DOCUMENT, within=within)
            return await fetcher.fetch(foreign.url, vouch=lambda leaf: _require(leaf, endpoint_id))


def _verifying(bundle: Bundle) -> ssl.SSLContext:
    """TLS by the roots of one trust domain and no others, whatever the host is called."""
    if not bundle.x509_authorities:
        raise FetchError(f"the bundle of `{bundle.trust_domain}` has no root to verify its endpoint with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=bundle.to_pem().decode("ascii"))
    except ssl.SSLError as error:
        # pyca reads lazily, and OpenSSL at once.
        raise FetchError(f"a root of `{bundle.trust_domain}` cannot be used for TLS: {error.reason}") from error
    return context


def _require(leaf: x509.Certificate, endpoint_id: SpiffeId) -> None:
    """The second half of verifying an SVID. OpenSSL has led the leaf to a root by a sound path, and knows nothing of names.

    It shows us the leaf alone, so that this is not `verify_x509_svid`.
    """
    try:
        found = claimed_spiffe_id(leaf)
    except SvidVerificationError as error:
        raise FetchError(f"who answers has no X.509-SVID: {error}") from error
    if found != endpoint_id:
        raise FetchError(f"who answers is `{found}`, not `{endpoint_id}`")
