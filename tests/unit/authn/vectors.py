"""The vectors of `tests/vectors/jwt`, read: rules, a request with tokens made for it, and what becomes of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from authn import StaticKeys, UnauthenticatedError, authenticate
from authz.attributes import Attributes
from authz.request_authentication import ClaimToHeader, JwtRule, TokenHeader
from tests.unit.authn.tokens import AT, Parts, Private, jwk, key_set, private_key, token

DIRECTORY = Path(__file__).parents[2] / "vectors" / "jwt"
FILES = sorted(DIRECTORY.glob("*.yaml"))

_PLAIN = {
    "issuer": "issuer",
    "jwksUri": "jwks_uri",
    "forwardOriginalToken": "forward_original_token",
    "outputPayloadToHeader": "output_payload_to_header",
}
_LISTS = {
    "audiences": "audiences",
    "fromParams": "from_params",
    "fromCookies": "from_cookies",
    "spaceDelimitedClaims": "space_delimited_claims",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A request to `rules`, what it comes to, and why."""

    rules: tuple[JwtRule, ...]
    attributes: Attributes
    tokens: Mapping[str, Parts]
    at: float
    expect: Mapping[str, Any]
    why: str

    def outcome(self) -> dict[str, object]:
        """What becomes of the request, in the words of `expect`."""
        try:
            result = authenticate(self.rules, self.attributes, key_sets=StaticKeys().key_set, at=self.at)
        except UnauthenticatedError as error:
            return self._told(error)
        return {
            "claims": result.claims,
            "rule": result.rule,
            "changes": {name: [*map(self._named, lines)] for name, lines in result.changes.headers.items()},
        }

    def _told(self, error: UnauthenticatedError) -> dict[str, object]:
        headers = dict(error.denial.headers)
        assert headers.pop("content-type") == "text/plain"
        assert not any(str(parts) in error.reason for parts in self.tokens.values())
        return {
            "denied": error.denial.body.decode(),
            "http": error.denial.status,
            "rule": error.rule,
            "www-authenticate": self._named(headers.pop("www-authenticate", "")),
            **headers,
        }

    def expected(self, outcome: Mapping[str, object]) -> dict[str, object]:
        """What the vector says, completed by what it leaves open."""
        usual: dict[str, object]
        if "denied" in self.expect:
            usual = {"http": 401, "rule": 0, "www-authenticate": outcome.get("www-authenticate")}
        else:
            usual = {"claims": None, "rule": None if self.expect.get("claims") is None else 0}
            usual["changes"] = outcome.get("changes")
        return {**usual, **self.expect}

    def _named(self, text: str) -> str:
        """`text` with the names of the tokens that are in it."""
        for name, parts in self.tokens.items():
            text = text.replace(str(parts), f"<{name}>").replace(parts.payload, f"<{name}.payload>")
        return text


def _keys(words: Mapping[str, str]) -> dict[str, Private | bytes]:
    secret = {"oct": b"0123456789abcdef0123456789abcdef"}
    return {name: secret.get(kind) or private_key(kind, name) for name, kind in words.items()}


def _jwk(words: Mapping[str, Any], keys: Mapping[str, Private | bytes]) -> Mapping[str, object]:
    members = dict(words)
    key = keys.get(members.pop("key", ""))
    return members if key is None or isinstance(key, bytes) else jwk(key, **members)


def _rule(words: Mapping[str, Any], keys: Mapping[str, Private | bytes]) -> JwtRule:
    unknown = set(words) - {*_PLAIN, *_LISTS, "jwks", "keys", "fromHeaders", "outputClaimToHeaders"}
    assert not unknown, unknown
    known: dict[str, Any] = {ours: words[theirs] for theirs, ours in _PLAIN.items() if theirs in words}
    known |= {ours: tuple(words[theirs]) for theirs, ours in _LISTS.items() if theirs in words}
    return JwtRule(
        jwks=words["jwks"] if "jwks" in words else key_set(*(_jwk(each, keys) for each in words.get("keys", ()))),
        from_headers=tuple(TokenHeader(**each) for each in words.get("fromHeaders", ())),
        output_claim_to_headers=tuple(ClaimToHeader(**each) for each in words.get("outputClaimToHeaders", ())),
        **known,
    )


def _token(words: Mapping[str, Any], keys: Mapping[str, Private | bytes]) -> Parts | str:
    members = dict(words)
    key = keys[members.pop("sign-with")]
    text = members.pop("text", None)
    signed_as = members.pop("signed-as", None)
    claims = members.pop("payload", None) or members.pop("claims", {})
    parts = token(key, claims, signed_as=signed_as, **members)
    if text is None:
        return parts
    return str(text.replace("<h>", parts.header).replace("<p>", parts.payload).replace("<s>", parts.signature))


def _cases(data: Mapping[str, Any]) -> Iterator[Case]:
    unknown = set(data) - {"keys", "rules", "tokens", "cases"}
    assert not unknown, unknown
    keys = _keys(data["keys"])
    shared = {name: _token(words, keys) for name, words in data.get("tokens", {}).items()}
    for case in data["cases"]:
        unknown = set(case) - {"why", "request", "tokens", "rules", "at", "expect"}
        assert not unknown, unknown
        tokens = shared | {name: _token(words, keys) for name, words in case.get("tokens", {}).items()}
        rules = tuple(_rule(words, keys) for words in case.get("rules", data.get("rules", ())))
        yield Case(
            rules=rules,
            attributes=_attributes(case.get("request", {}), tokens),
            tokens={name: parts for name, parts in tokens.items() if isinstance(parts, Parts)},
            at=case.get("at", AT),
            expect=case["expect"],
            why=case["why"],
        )


def _attributes(words: Mapping[str, Any], tokens: Mapping[str, Parts | str]) -> Attributes:
    def filled(text: str) -> str:
        for name, made in tokens.items():
            text = text.replace(f"<{name}>", str(made))
        return text

    unknown = set(words) - {"method", "path", "host", "scheme", "bearer", "headers"}
    assert not unknown, unknown
    headers = dict(words.get("headers", {}))
    if "bearer" in words:
        headers["authorization"] = f"Bearer <{words['bearer']}>"
    lines = {name: value if isinstance(value, list) else [value] for name, value in headers.items()}
    path = words.get("path", "/")
    return Attributes(
        method=words.get("method", "GET"),
        path=None if path is None else filled(path),
        host=words.get("host", "api.shop"),
        scheme=words.get("scheme", "http"),
        headers={name: tuple(map(filled, values)) for name, values in lines.items()},
    )


@cache
def cases(file: Path) -> tuple[Case, ...]:
    """Every case in `file`."""
    return tuple(case for data in yaml.safe_load(file.read_text(encoding="utf-8")) for case in _cases(data))
