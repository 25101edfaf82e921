"""Foreign trust domains: which they are, and where and how each publishes its bundle. All of it is said, and nothing inferred."""

from dataclasses import dataclass
from pathlib import Path

from ca.errors import AuthorityError
from ca.fetching import FetchError, require_https
from identity import Bundle, InvalidBundleError, SpiffeId, TrustDomain, parse_bundle
from identity.bundle_document import MAX_DOCUMENT

__all__ = ["Foreign", "ForeignError", "HttpsSpiffe", "HttpsWeb", "Profile", "read_bootstrap"]


class ForeignError(AuthorityError):
    """What is said of a trust domain to federate with cannot be: `reason`."""

    def __init__(self, trust_domain: TrustDomain, reason: str) -> None:
        super().__init__(f"federation with `{trust_domain}`: {reason}")
        self.trust_domain = trust_domain
        self.reason = reason


@dataclass(frozen=True, slots=True)
class HttpsWeb:
    """The endpoint shows a certificate of its host name, by the authorities of the web or by those in a file alone."""

    authorities: Path | None = None


@dataclass(frozen=True, slots=True)
class HttpsSpiffe:
    """The endpoint shows an SVID of that name, by the trust domain's own bundle. `bootstrap` is the first one, from whoever set this up."""

    endpoint_id: SpiffeId
    bootstrap: Bundle


Profile = HttpsWeb | HttpsSpiffe


@dataclass(frozen=True, slots=True)
class Foreign:
    """One trust domain to federate with.

    Raises:
        ForeignError: the three do not go together.
    """

    trust_domain: TrustDomain
    url: str
    profile: Profile

    def __post_init__(self) -> None:
        try:
            require_https(self.url)
        except FetchError as error:
            raise ForeignError(self.trust_domain, error.reason) from error
        if isinstance(self.profile, HttpsSpiffe):
            if self.profile.endpoint_id.trust_domain != self.trust_domain or not self.profile.endpoint_id.path:
                raise ForeignError(
                    self.trust_domain, f"`{self.profile.endpoint_id}` is not the name of a workload of it"
                )
            if self.profile.bootstrap.trust_domain != self.trust_domain:
                raise ForeignError(self.trust_domain, f"the first bundle is of `{self.profile.bootstrap.trust_domain}`")


def read_bootstrap(path: Path, trust_domain: TrustDomain) -> Bundle:
    """The bundle in a file, in the form in which trust domains publish them.

    Raises:
        ForeignError: there is none with a root.
    """
    try:
        with path.open("rb") as file:
            document = file.read(MAX_DOCUMENT + 1)
        bundle = parse_bundle(document, trust_domain)
    except OSError as error:
        raise ForeignError(trust_domain, f"{path} cannot be read ({error.strerror})") from error
    except InvalidBundleError as error:
        raise ForeignError(trust_domain, f"{path}: {error}") from error
    if not bundle.x509_authorities:
        raise ForeignError(trust_domain, f"{path} has no root to verify its endpoint with")
    return bundle
