"""The words of ward, and what messages call the pieces of its grammar."""

import re
from collections.abc import Mapping
from dataclasses import replace

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS
from authz.model import field_name
from parser.diagnostics import Diagnostic

__all__ = ["GROUPS", "TERMINALS", "WORDS", "in_ward_words"]

GROUPS: Mapping[str, str] = {
    "Gateway": "gateway.networking.k8s.io",
    "GatewayClass": "gateway.networking.k8s.io",
    "ServiceEntry": "networking.istio.io",
}
"""The group that a kind of target has where it is not said; any other kind is of the core group."""

WORDS = (
    "policy", "tokens", "mtls", "in", "for", "all", "at", "of", "created", "and", "or", "but", "not",
    "dry-run", "allow", "deny", "audit", "custom", "by", "nothing", "everything", "from", "to", "when",
    "anyone", "anything", "accept", "any", "issuer", "audience", "keys", "found", "header", "parameter",
    "cookie", "after", "forward", "token", "payload", "claim", "split", "claims", "timeout", "required",
    "strict", "permissive", "disable", "unset", "port",
)  # fmt: skip
"""Every word that the grammar knows."""

TERMINALS: Mapping[str, str] = {
    # The grammar keeps those out of its trees whose names begin with an underscore.
    **{mark + word.upper().replace("-", "_"): f"`{word}`" for word in WORDS for mark in ("", "_")},
    "KEY": "an attribute",
    "WORD": "a name",
    "STRING": "a text in double quotes",
    "NUMBER": "a number",
    "DURATION": "a duration",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "COMMA": "`,`",
    "EQUAL": "`=`",
    "$END": "the end",
}
"""The terminals of the grammar by name, as messages call them."""


def in_ward_words(diagnostic: Diagnostic) -> Diagnostic:
    """A diagnostic of what ward says, which speaks of the fields of documents, in ward's own words."""
    message, remedy = _SAID.get(diagnostic.code, (None, None))
    return replace(
        diagnostic,
        message=message or _in_words(diagnostic.message),
        help=remedy or _in_words(diagnostic.help or "") or None,
    )


def _in_words(text: str) -> str:
    for words, ours in _PHRASES:
        text = text.replace(words, ours)
    return _IN_BACKTICKS.sub(lambda found: f"`{_NAMES.get(found[1], found[1])}`", text)


_IN_BACKTICKS = re.compile("`([^`]*)`")

_PHRASES = (
    (" of an operation in `to`", " behind `to`"),
    ("in `selector`", "behind `for`"),
)

# The fields of documents, and how ward begins to say them.
_NAMES: Mapping[str, str] = {
    **{
        field_name(prefix + field): attribute.key
        for field, attribute in {**SOURCE_FIELDS, **OPERATION_FIELDS}.items()
        for prefix in ("", "not_")
    },
    "istio.io/dry-run": "dry-run",
    "provider": "by",
    "portLevelMtls": "but port",
    "jwksUri": "keys at",
    "jwks": "keys",
    "audiences": "audience",
    "fromHeaders.name": "header",
    "fromHeaders.prefix": "after",
    "fromParams": "parameter",
    "fromCookies": "cookie",
    "outputPayloadToHeader": "payload to header",
    "outputClaimToHeaders.claim": "claim",
    "outputClaimToHeaders.header": "to header",
    "spaceDelimitedClaims": "split claims",
    "presence: REQUIRED": "token required",
}

# What is said otherwise as a whole, by code: the message, if it is, and the remedy.
_SAID: Mapping[str, tuple[str | None, str]] = {
    "no-rules": (None, "write `everything`, if it is for every request"),
    "missing-provider": (None, "write `custom by …`, a name from the mesh's `extensionProviders`"),
    "unexpected-provider": (None, "remove `by …`, or write `custom`"),
    "dry-run-unsupported": (None, "remove `dry-run`"),
    "empty-selector": (None, "remove `for all`, or name labels"),
    "foreign-target": (None, "remove `in …`, and put the policy where its target is"),
    "several-targets": ("only one of `for` and `at` may be said", "keep one of them"),
    "empty-source": ("`anyone` asks for nothing", "leave `from` out: without it, a rule is for everyone"),
    "empty-operation": ("`anything` asks for nothing", "leave `to` out: without it, a rule is for everything"),
    "missing-values": ("nothing is in an empty list", "write a value, or leave the condition out"),
    "missing-key": ("a condition needs an attribute", "name the attribute to look at"),
    "ports-without-selector": (None, "name the labels of the workloads: `for app=…`"),
    "bad-duration": (None, "write it in seconds, to the millisecond: `0.5s` or `5s`"),
    "presence-not-enforced": (None, 'deny it with a policy: `deny from not request.auth.principal in ["*"]`'),
}
