"""The codes of findings about meaning, each with a sentence: the one registry, for those that need a mesh, too.

`docs/lint.md` has a section for each, and `tests/vectors/lint` a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "ALLOWS_EVERYONE",
    "CODES",
    "CONTRADICTION",
    "DEAD_VALUE",
    "DENIES_EVERYTHING",
    "DENIES_TCP_PORT",
    "DUPLICATE_RULE",
    "EVADABLE_PATH",
    "FOREIGN_TRUST_DOMAIN",
    "IDENTITY_NOT_REQUIRED",
    "IGNORE_WITHOUT_REASON",
    "INERT_AT_ZTUNNEL",
    "LITERAL_STAR",
    "PATHS_NOT_LISTED",
    "PLAINTEXT_EVADES",
    "REDUNDANT_VALUE",
    "SHADOWED_RULE",
    "STRAY_DASH",
    "TOKEN_NEVER_REQUIRED",
    "UNKNOWN_ISSUER",
    "UNKNOWN_PORT",
    "UNKNOWN_SERVICE_ACCOUNT",
    "UNMATCHABLE_VALUE",
    "UNMERGED_SLASHES",
    "UNREACHABLE_RULE",
    "UNUSED_IGNORE",
    "WIDE_ALLOW",
    "Code",
]


@dataclass(frozen=True, slots=True)
class Code:
    """The name of a kind of finding, which never changes, and a sentence about it."""

    name: str
    summary: str


# Of policies alone -----------------------------------------------------------------------------------------------------

SHADOWED_RULE = Code("shadowed-rule", "Another rule of the same action matches whatever this one does.")
DUPLICATE_RULE = Code("duplicate-rule", "Another rule of the same action says the same.")
UNREACHABLE_RULE = Code(
    "unreachable-rule", "A DENY rule matches whatever this ALLOW rule does, so it never allows anything."
)
CONTRADICTION = Code("contradiction", "What is asked for together can never be, so this matches nothing.")
DEAD_VALUE = Code("dead-value", "A value that is excluded beside it, so that it counts for nothing.")
REDUNDANT_VALUE = Code("redundant-value", "A value that another of the same list covers.")
UNMATCHABLE_VALUE = Code("unmatchable-value", "A value that no request ever has.")
LITERAL_STAR = Code("literal-star", "A star where it is compared as a letter.")
DENIES_EVERYTHING = Code("denies-everything", "A DENY rule that always matches: nothing can be allowed beside it.")
ALLOWS_EVERYONE = Code("allows-everyone", "An ALLOW rule that always matches: everyone may do everything.")
WIDE_ALLOW = Code("wide-allow", "An ALLOW rule that asks for any identity at all, and for nothing else.")
STRAY_DASH = Code("stray-dash", "Two alternatives that look like two halves of one: a dash makes OR of AND.")
EVADABLE_PATH = Code(
    "evadable-path", "A denied path, but not the one with a slash behind it that servers take for the same."
)
IDENTITY_NOT_REQUIRED = Code(
    "identity-not-required", "An ALLOW rule excludes callers by name, and who shows none passes."
)

# With the mesh ----------------------------------------------------------------------------------------------------------

PATHS_NOT_LISTED = Code("paths-not-listed", "Some paths are denied, and no policy lists those that are allowed.")
UNMERGED_SLASHES = Code(
    "unmerged-slashes", "A denied path that a second slash slips past, for this mesh does not merge slashes."
)
PLAINTEXT_EVADES = Code(
    "plaintext-evades", "A DENY rule by who calls, where plaintext is served, and shows no identity."
)
TOKEN_NEVER_REQUIRED = Code("token-never-required", "Tokens are verified where no policy asks for one.")
UNKNOWN_SERVICE_ACCOUNT = Code("unknown-service-account", "Nothing in the manifests runs as this service account.")
UNKNOWN_PORT = Code("unknown-port", "None of the workloads has this port.")
UNKNOWN_ISSUER = Code("unknown-issuer", "No RequestAuthentication takes tokens of this issuer.")
FOREIGN_TRUST_DOMAIN = Code(
    "foreign-trust-domain", "`cluster.local` is not this mesh's trust domain, and is not replaced here."
)
DENIES_TCP_PORT = Code(
    "denies-tcp-port", "A DENY rule for HTTP, on a port that carries something else: there it denies everything."
)
INERT_AT_ZTUNNEL = Code("inert-at-ztunnel", "What ztunnel does not enforce, before workloads that have nothing else.")

# In comments ------------------------------------------------------------------------------------------------------------

IGNORE_WITHOUT_REASON = Code("ignore-without-reason", "A finding is ignored without a reason.")
UNUSED_IGNORE = Code("unused-ignore", "A comment ignores what is not found there.")

CODES: Mapping[str, Code] = {
    code.name: code
    for code in (
        SHADOWED_RULE,
        DUPLICATE_RULE,
        UNREACHABLE_RULE,
        CONTRADICTION,
        DEAD_VALUE,
        REDUNDANT_VALUE,
        UNMATCHABLE_VALUE,
        LITERAL_STAR,
        DENIES_EVERYTHING,
        ALLOWS_EVERYONE,
        WIDE_ALLOW,
        STRAY_DASH,
        EVADABLE_PATH,
        IDENTITY_NOT_REQUIRED,
        PATHS_NOT_LISTED,
        UNMERGED_SLASHES,
        PLAINTEXT_EVADES,
        TOKEN_NEVER_REQUIRED,
        UNKNOWN_SERVICE_ACCOUNT,
        UNKNOWN_PORT,
        UNKNOWN_ISSUER,
        FOREIGN_TRUST_DOMAIN,
        DENIES_TCP_PORT,
        INERT_AT_ZTUNNEL,
        IGNORE_WITHOUT_REASON,
        UNUSED_IGNORE,
    )
}
"""Every code by its name, in the order of `docs/lint.md`."""
