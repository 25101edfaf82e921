"""Claims as policies see them: what Envoy makes of a verified payload before its filters read it."""

from collections.abc import Iterable, Mapping

__all__ = ["as_policies_see"]

_ALWAYS_SPACE_DELIMITED = ("scope", "permission")


def as_policies_see(payload: Mapping[str, object], *, space_delimited: Iterable[str] = ()) -> Mapping[str, object]:
    """`payload` with its space-delimited string claims split into lists (semantics 4.7).

    Those are `scope`, `permission` and `space_delimited`. Absent, no string, or nothing but spaces: unchanged.
    """
    if not space_delimited and "scope" not in payload and "permission" not in payload:
        return payload
    claims = dict(payload)
    for name in {*_ALWAYS_SPACE_DELIMITED, *space_delimited}:
        value = claims.get(name)
        if isinstance(value, str) and (pieces := [piece for piece in value.split(" ") if piece]):
            claims[name] = pieces
    return claims
