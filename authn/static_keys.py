"""Keys that are at hand: what rules bring along as `jwks`, and JWK Sets given beside them. Nothing is fetched."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from authn.errors import InvalidJwkSetError, KeysUnavailableError, excerpt, shown
from authn.jwk import JwkSet
from authz.request_authentication import JwtRule

__all__ = ["StaticKeys", "inline_keys"]


class StaticKeys:
    """The key sets of rules without a network.

    `given` are JWK Sets by the `jwksUri` or the issuer that they are for, the URI having the first say; they win over what a
    rule brings along. Its `key_set` is what `authenticate` takes for `key_sets`.
    """

    def __init__(self, given: Mapping[str, JwkSet] | None = None) -> None:
        self._given = dict(given or {})

    @classmethod
    def parse(cls, given: Mapping[str, str | bytes]) -> "StaticKeys":
        """Read the JWK Sets that are given.

        Raises:
            InvalidJwkSetError: one of them is none; the reason begins with the name it was given under.
        """
        sets = {}
        for name, text in given.items():
            try:
                sets[name] = JwkSet.parse(text)
            except InvalidJwkSetError as error:
                raise InvalidJwkSetError(f"for `{name}`: {error.reason}") from error
        return cls(sets)

    def key_set(self, rule: JwtRule) -> JwkSet:
        """The keys for the tokens of `rule`.

        Raises:
            KeysUnavailableError: they would have to be fetched.
            InvalidJwkSetError: the rule brings along what is no JWK Set.
        """
        for name in (rule.jwks_uri, rule.issuer):
            if name and name in self._given:
                return self._given[name]
        if not rule.jwks:
            whose = shown(rule.jwks_uri) if rule.jwks_uri else excerpt(rule.issuer)
            raise KeysUnavailableError(f"none are given for {whose}, and nothing is fetched")
        return inline_keys(rule.jwks)

    def unused(self, rules: Iterable[JwtRule]) -> tuple[str, ...]:
        """The names that sets were given under and that no rule asks for, as a slip of the pen leaves behind."""
        asked = {name for rule in rules for name in (rule.jwks_uri, rule.issuer)}
        return tuple(name for name in self._given if name not in asked)


def inline_keys(text: str) -> JwkSet:
    """What a rule brings along, read once however many requests ask for it.

    Raises:
        InvalidJwkSetError: it is no JWK Set.
    """
    match _read(text):
        case JwkSet() as keys:
            return keys
        case reason:
            raise InvalidJwkSetError(reason)


@lru_cache(maxsize=1024)
def _read(text: str) -> JwkSet | str:
    # An error that is kept and raised again would gather tracebacks for ever: its reason is kept.
    try:
        return JwkSet.parse(text)
    except InvalidJwkSetError as error:
        return error.reason
