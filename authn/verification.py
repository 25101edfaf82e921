"""Verifying one token by one rule, step by step as Envoy does it (semantics 4.3)."""

from collections.abc import Callable, Mapping, Sequence

from authn.errors import InvalidJwkSetError, InvalidTokenError, KeysUnavailableError, excerpt
from authn.jwk import JwkSet
from authn.status import JwtStatus
from authn.token import UnverifiedToken
from authz.record import record
from authz.request_authentication import JwtRule

__all__ = ["CLOCK_SKEW", "KeySets", "VerifiedToken", "is_early", "is_late", "verify_token"]

CLOCK_SKEW = 60
"""By how many seconds the clocks of issuer and verifier may differ."""

KeySets = Callable[[JwtRule], JwkSet]
"""Gives the keys of a rule, or raises `KeysUnavailableError` or `InvalidJwkSetError`. It does not wait for them."""

_ED25519 = "EdDSA"
"""The one algorithm of such keys, and of no others."""
_ED25519_SIGNATURE = 64
_SCHEMES = ("http://", "https://")


@record
class VerifiedToken:
    """What a token proved: its claims, and its payload as it stood in the token. One of `keys` has signed it."""

    claims: Mapping[str, object]
    payload: str
    not_before: int
    expires: int
    keys: JwkSet


def is_early(not_before: int, now: int) -> bool:
    """Whether a token is not valid yet, whatever the clocks say."""
    return now + CLOCK_SKEW < not_before


def is_late(expires: int, now: int) -> bool:
    """Whether a token has expired, whatever the clocks say; one with 0 never does."""
    return expires != 0 and now > expires + CLOCK_SKEW


def verify_token(token: UnverifiedToken, rule: JwtRule, *, key_sets: KeySets, at: float) -> VerifiedToken:
    """What `token` proves under `rule` at the time `at`, in seconds since 1970. Step 1 was to parse it.

    Raises:
        InvalidTokenError: it proves nothing.
    """
    # (2) Issuer: the whole of it (CVE-2024-53861). A rule without one takes any.
    if rule.issuer and token.issuer != rule.issuer:
        raise InvalidTokenError(JwtStatus.UNKNOWN_ISSUER, f"its issuer is {excerpt(token.issuer)}")
    # (3) and (4) Time.
    now = int(at)
    if is_early(token.not_before, now):
        raise InvalidTokenError(JwtStatus.NOT_YET_VALID, f"it is not valid for another {token.not_before - now} s")
    if is_late(token.expires, now):
        raise InvalidTokenError(JwtStatus.EXPIRED, f"it expired {now - token.expires} s ago")
    # (5) Audiences.
    if rule.audiences and not _share(rule.audiences, token.audiences):
        meant_for = ", ".join(map(excerpt, token.audiences)) or "nobody"
        raise InvalidTokenError(JwtStatus.AUDIENCE_NOT_ALLOWED, f"it is meant for {meant_for}")
    # (6) Keys: the issuer's or none (CVE-2026-31837).
    try:
        keys = key_sets(rule)
    except KeysUnavailableError as error:
        raise InvalidTokenError(
            JwtStatus.KEYS_UNAVAILABLE, f"the keys to verify it by are missing: {error.reason}"
        ) from error
    except InvalidJwkSetError as error:
        raise InvalidTokenError(JwtStatus.NO_VALID_KEYS, f"there is no key to verify it by: {error.reason}") from error
    # (7) Signature.
    _require_signature(token, keys)
    return VerifiedToken(
        claims=token.claims, payload=token.payload, not_before=token.not_before, expires=token.expires, keys=keys
    )


def _share(accepted: Sequence[str], claimed: Sequence[str]) -> bool:
    return not {_bare(each) for each in accepted}.isdisjoint(map(_bare, claimed))


def _bare(audience: str) -> str:
    """The audience without one scheme at its start and one slash at its end."""
    for scheme in _SCHEMES:
        if audience.startswith(scheme):
            audience = audience.removeprefix(scheme)
            break
    return audience.removesuffix("/")


def _require_signature(token: UnverifiedToken, keys: JwkSet) -> None:
    fitting = [key for key in keys.keys if _fits(token, key.key_id, key.declared)]
    for key in fitting:
        # As Envoy: an Ed25519 key in front of others ends the search with a signature that cannot be its own.
        if _ED25519 in key.algorithms and len(token.signature) != _ED25519_SIGNATURE:
            raise InvalidTokenError(
                JwtStatus.ED25519_SIGNATURE_LENGTH, f"its signature has {len(token.signature)} bytes, not 64"
            )
        if key.verifies(token.algorithm, token.signed, token.signature):
            return
    if not fitting:
        wanted = f"the id {excerpt(token.key_id)} and " if token.key_id else ""
        raise InvalidTokenError(
            JwtStatus.NO_MATCHING_KEY, f"no key has {wanted}the algorithm {token.algorithm}; there are {len(keys.keys)}"
        )
    raise InvalidTokenError(
        JwtStatus.VERIFICATION_FAILED,
        f"its signature with {token.algorithm} is by none of the {len(fitting)} keys that it could be by",
    )


def _fits(token: UnverifiedToken, key_id: str, declared: str) -> bool:
    """Whether a key may be tried: what it does not say of itself does not keep it out."""
    return (not token.key_id or not key_id or key_id == token.key_id) and (not declared or declared == token.algorithm)
