"""Secrets: what an Envoy may ask for by name, and what it gets (spec 2.6).

`default`, or a SPIFFE ID, is a certificate with its key; `ROOTCA`, or the SPIFFE ID of a trust domain, its roots; `ALL` the roots of
all trust domains that the workload knows, each for its own names only.
"""

import hashlib
import json
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import SPIFFECertValidatorConfig
from google.protobuf.any_pb2 import Any as AnyMessage

from ca.errors import NotReadyError
from ca.front import RefusedCallError
from ca.streams import HeldSvid, Moment, Streams
from identity import Bundle

__all__ = ["TYPE_URL", "Owed", "Resource", "Secrets", "Validator"]

TYPE_URL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"

_DEFAULT = "default"
_ROOTS = "ROOTCA"
_ALL = "ALL"
_VALIDATOR = "envoy.tls.cert_validator.spiffe"


@dataclass(frozen=True, slots=True)
class Resource:
    """A secret as it goes out. `version` is another whenever it is, and tells nothing of a key."""

    name: str
    version: str
    content: AnyMessage
    has_roots: bool


@dataclass(frozen=True, slots=True)
class Owed:
    """The secrets that were asked for, as of one moment, and when to ask again whatever happens."""

    resources: tuple[Resource, ...]
    due: datetime | None
    sequence: int
    """Of the bundle."""


@dataclass(frozen=True, slots=True)
class Validator:
    """How an Envoy is to verify names: by its SPIFFE validator, or, where it has none, by the roots of its own trust domain alone."""

    spiffe: bool


class Secrets:
    """Makes secrets for those who may have them."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def owed(self, names: AbstractSet[str] | None, moment: Moment, validator: Validator) -> Owed:
        """The secrets of those names, or all that the workload may have.

        Raises:
            AuthorityError: it may have none, or none can be issued now.
            RefusedCallError: it may not have one of them.
        """
        entries = moment.require_entries()
        if not moment.bundle.x509_authorities:
            # Envoy takes none for a mistake, and the good that come with it for one, too.
            raise NotReadyError("there is no root yet")
        by_name = {str(entry.spiffe_id): entry for entry in reversed(entries)} | {_DEFAULT: entries[0]}
        bundles = {str(each.trust_domain.id): each for each in _bundles(moment)} | {_ROOTS: moment.bundle}
        if names is None:
            names = (by_name.keys() | bundles.keys()) - {_DEFAULT, _ROOTS}
        unknown = names - by_name.keys() - bundles.keys() - {_ALL}
        if unknown:
            shown = json.dumps(sorted(unknown))
            raise RefusedCallError.malformed(
                "not-authorized", f"workload is not authorized for the requested identities {shown}"
            )
        held = {name: await self._streams.svid(moment, by_name[name]) for name in sorted(names & by_name.keys())}
        resources = [
            *(_certificate(name, each) for name, each in held.items()),
            *(_roots(name, bundles[name]) for name in sorted(names & bundles.keys())),
            *(_validation(name, moment, validator) for name in names & {_ALL}),
        ]
        due = min((each.due for each in held.values()), default=None)
        return Owed(tuple(resources), due, moment.sequence)


def _bundles(moment: Moment) -> tuple[Bundle, ...]:
    # Without roots a trust domain is nobody's peer; and Envoy refuses a list of none.
    return (moment.bundle, *(bundle for bundle in moment.federated.values() if bundle.x509_authorities))


def _certificate(name: str, held: HeldSvid) -> Resource:
    chain = held.svid.chain_to_pem()
    certificate = TlsCertificate(
        certificate_chain=DataSource(inline_bytes=chain),
        private_key=DataSource(inline_bytes=held.svid.private_key_to_unencrypted_pem()),
    )
    # Another leaf has another key, so that the key need not be looked at.
    return _resource(Secret(name=name, tls_certificate=certificate), chain, has_roots=False)


def _roots(name: str, bundle: Bundle) -> Resource:
    context = CertificateValidationContext(trusted_ca=DataSource(inline_bytes=bundle.to_pem()))
    return _validation_resource(name, context)


def _validation(name: str, moment: Moment, validator: Validator) -> Resource:
    if not validator.spiffe:
        # Never all roots in one list: each trust domain could then name everybody.
        return _roots(name, moment.bundle)
    config = SPIFFECertValidatorConfig(
        trust_domains=[
            SPIFFECertValidatorConfig.TrustDomain(
                name=bundle.trust_domain.name, trust_bundle=DataSource(inline_bytes=bundle.to_pem())
            )
            for bundle in _bundles(moment)
        ]
    )
    extension = TypedExtensionConfig(name=_VALIDATOR, typed_config=_packed(config))
    return _validation_resource(name, CertificateValidationContext(custom_validator_config=extension))


def _validation_resource(name: str, context: CertificateValidationContext) -> Resource:
    secret = Secret(name=name, validation_context=context)
    return _resource(secret, secret.SerializeToString(deterministic=True), has_roots=True)


def _resource(secret: Secret, public: bytes, *, has_roots: bool) -> Resource:
    version = hashlib.sha256(public).hexdigest()[:32]
    return Resource(secret.name, version, _packed(secret), has_roots)


def _packed(message: Any) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message, deterministic=True)
    return packed
