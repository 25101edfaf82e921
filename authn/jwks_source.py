"""Where the keys of a rule are: at its `jwksUri`, or where its issuer says by OIDC discovery (semantics 4.8)."""

from dataclasses import dataclass

from authn.errors import InvalidJwkSetError, excerpt, shown
from authn.jwk import JwkSet
from authn.jwks_fetch import Fetcher, FetchError
from authz.request_authentication import JwtRule
from identity.strict_json import parse_object

__all__ = ["FetchedKeys", "Source"]

_WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A key set, and for how many seconds it may be kept as its origin has it, `None` where that does not say."""

    keys: JwkSet
    max_age: int | None


@dataclass(frozen=True, slots=True)
class Source:
    """The place of a key set: the address of it, or, where that is empty, the issuer that is asked for the address."""

    jwks_uri: str
    issuer: str

    @classmethod
    def of(cls, rule: JwtRule) -> "Source | None":
        """The source of the rule's keys, `None` where it brings them along."""
        if rule.jwks:
            return None
        # The issuer plays no role where the address is given: rules of several issuers share one fetch.
        return cls(rule.jwks_uri, "" if rule.jwks_uri else rule.issuer)

    def __str__(self) -> str:
        return shown(self.jwks_uri) if self.jwks_uri else f"issuer {excerpt(self.issuer)}"

    async def fetch(self, fetcher: Fetcher) -> FetchedKeys:
        """Get the key set.

        Raises:
            FetchError: it is not to be had, or is none.
        """
        uri = self.jwks_uri or await self._discovered(fetcher)
        document = await fetcher.fetch(uri)
        try:
            return FetchedKeys(JwkSet.parse(document.body), document.max_age)
        except InvalidJwkSetError as error:
            raise FetchError(str(error)) from error

    async def _discovered(self, fetcher: Fetcher) -> str:
        """The `jwks_uri` of the issuer's own configuration (OpenID Connect Discovery 1.0, section 4)."""
        if not self.issuer.startswith(("https://", "http://")):
            raise FetchError("the issuer is no address, so that nobody can be asked where its keys are: give `jwksUri`")
        document = await fetcher.fetch(self.issuer.rstrip("/") + _WELL_KNOWN)
        try:
            configuration = parse_object(document.body)
        except ValueError as error:
            raise FetchError(f"its OpenID configuration is no JSON object that can be read: {error}") from error
        # (4.3) It must be about this very issuer, or one tenant of a host could speak for another.
        issuer = configuration.get("issuer")
        if issuer != self.issuer:
            said = excerpt(issuer) if isinstance(issuer, str) else "nobody"
            raise FetchError(f"its OpenID configuration is that of {said}")
        uri = configuration.get("jwks_uri")
        if not isinstance(uri, str):
            raise FetchError("its OpenID configuration has no `jwks_uri`")
        if self.issuer.startswith("https://") and not uri.startswith("https://"):
            raise FetchError(f"its OpenID configuration, got by https, has its keys without: {shown(uri)}")
        return uri
