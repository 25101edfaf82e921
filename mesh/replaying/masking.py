"""Masking: takes out what gives access before a request is kept, printed or written."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import unquote_plus

from authz.secrecy import MASK, SECRET_HEADERS
from authz.values import ascii_lower

__all__ = ["Masking"]

_SECRET_HEADERS = SECRET_HEADERS | frozenset(
    {
        "www-authenticate",
        "cookie2",
        "set-cookie",
        "set-cookie2",
        "dpop",
        "x-amzn-oidc-data",
        "x-amzn-oidc-identity",
        "x-goog-iap-jwt-assertion",
        "cf-access-jwt-assertion",
        "x-forwarded-authorization",
        "x-original-authorization",
    }
)
_SECRETS = r"token|secret|passw|passphrase|api[-_]?key|access[-_]?key|private[-_]?key|credential|signature|session|assertion|[cx]srf"
# Parts of a header's or a claim's name, in lower case, whose value is a secret more often than not; and of a parameter's, where
# more of them are, and no policy looks.
_SECRET_NAME = re.compile(_SECRETS + r"|(?:^|[-_])(?:jwt|otp|sid|pwd|ticket)(?:$|[-_])")
_SECRET_PARAMETER = re.compile(
    _SECRETS + r"|(?:^|[-_])(?:jwt|otp|sid|pwd|ticket|auth|sig|pin|code|key|nonce|state|saml\w*)(?:$|[-_])"
)
# Who asks from where is no secret, and policies compare it.
_NO_SECRET = frozenset({"x-forwarded-for", ":path"})
_TOKEN = re.compile(
    r"ey[A-Za-z0-9_-]{8,}(?:\.|%2[eE])[A-Za-z0-9_-]+(?:(?:\.|%2[eE])[A-Za-z0-9_-]*)*"  # a JWT, its dots escaped or not
    r"|\b(?:Bearer|Basic|Digest|Negotiate|DPoP|AWS4-HMAC-SHA256)(?:[ +]|%20)+[^\s,;&\"]+"
    r"|\b(?:gh[opsu]_|github_pat_|glpat-|xox[abeoprs]-|sk_live_|rk_live_|sk-|AKIA|ASIA|AIza|ya29\.|hvs\.|npm_|pypi-)[A-Za-z0-9_.-]{10,}",
    re.IGNORECASE,
)
# Long, of a token's letters, with digits among them: a word or a number is no such thing.
_RANDOM = re.compile(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_\-+/=.~%]{20,}")
_PARAMETER = re.compile(r"([?&#;])([^=?&#;/]*)=([^&#;]*)")
_SEGMENT_PARAMETER = re.compile(r"(;)([^=;/]*)=([^;/]*)")
_DEEPEST = 16
_USER = re.compile(r"^[^/?#]*@")


class Masking:
    """Masks what is known to be secret by its name, what looks like a token, and the headers that the user names.

    What it leaves of a request is the same in every place where it is shown.
    """

    def __init__(self, headers: Iterable[str] = ()) -> None:
        self._headers = frozenset(map(ascii_lower, headers))

    def headers(self, headers: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """Headers by their lower-case names, with every line of a secret one masked."""
        return {
            name: (MASK,) * len(lines) if self.is_secret(name) else tuple([self.text(line) for line in lines])
            for name, lines in headers.items()
        }

    def is_secret(self, header: str) -> bool:
        """Whether the values of the header of that lower-case name are."""
        return header in self._headers or _is_secret(header)

    def path(self, path: str) -> str:
        """A path with its query: tokens anywhere, and parameters whose name or whose value is that of a secret."""
        target, mark, query = path.partition("?")
        if not mark:
            target, mark, query = path.partition("#")
        masked = _SEGMENT_PARAMETER.sub(_parameter, _TOKEN.sub(MASK, target))
        return masked + _PARAMETER.sub(_parameter, _TOKEN.sub(MASK, mark + query)) if mark else masked

    def host(self, host: str) -> str:
        """An authority, without who is said to ask and the password."""
        return _USER.sub(f"{MASK}@", self.text(host))

    def text(self, text: str) -> str:
        """Any other text: tokens in it, and parameters of URLs in it."""
        masked = _TOKEN.sub(MASK, text)
        return _PARAMETER.sub(_parameter, masked) if "=" in masked and re.search(r"[?&#]", masked) else masked

    def claims(self, claims: Mapping[str, object], *, depth: int = _DEEPEST) -> dict[str, object]:
        """What a token says: secrets by their names, and tokens within it. What is nested deeper than policies go is masked."""
        return {
            name: MASK if _SECRET_NAME.search(ascii_lower(name)) else self._claim(value, depth)
            for name, value in claims.items()
        }

    def _claim(self, value: object, depth: int) -> object:
        match value:
            case str():
                return self.text(value)
            case list() | tuple() | dict() if not depth:
                return MASK
            case list() | tuple():
                return [self._claim(item, depth - 1) for item in value]
            case dict():
                return self.claims(value, depth=depth - 1)
            case _:
                return value


@lru_cache(maxsize=4096)
def _is_secret(header: str) -> bool:
    return header not in _NO_SECRET and (header in _SECRET_HEADERS or _SECRET_NAME.search(header) is not None)


def _parameter(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    secret = _SECRET_PARAMETER.search(ascii_lower(unquote_plus(name))) or _RANDOM.fullmatch(value)
    return f"{mark}{name}={MASK}" if secret and value else found[0]
