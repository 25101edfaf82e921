"""Width: rules that ask for nothing, or for hardly anything."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from authz.findings.codes import ALLOWS_EVERYONE, DENIES_EVERYTHING, IDENTITY_NOT_REQUIRED, WIDE_ALLOW
from authz.findings.finding import Finding
from authz.findings.implication import subject_of
from authz.findings.reading import Clause, Part, ReadRule, Value
from authz.keys import Attribute
from authz.matcher import Cidr, Exists, Namespace, Prefix, Present
from authz.model import Action

__all__ = ["asks_for_nothing", "find_wide_rules"]

# What every HTTP request has.
_ALWAYS = frozenset({"request.path", "request.method", "request.host"})
_ADDRESSES = frozenset({"source.ip", "remote.ip", "destination.ip"})
_ALL_OF_IPV4 = ip_network("0.0.0.0/0")
_IDENTITY = subject_of(Attribute("source.namespace"))


def find_wide_rules(rule: ReadRule) -> Iterator[Finding]:
    """What a rule does for want of something to tell requests apart."""
    if rule.policy.action is Action.DENY and _is_always_true(rule):
        yield Finding(
            code=DENIES_EVERYTHING,
            policy=rule.policy,
            path=rule.path,
            message="this rule denies everything, and no ALLOW policy can undo that",
            help="to deny what nothing allows, write an ALLOW policy without rules: `spec: {}`",
        )
    if rule.policy.action is not Action.ALLOW:
        return
    if _is_always_true(rule):
        yield Finding(
            code=ALLOWS_EVERYONE,
            policy=rule.policy,
            path=rule.path,
            message="this rule allows everyone everything, callers without an identity among them",
            help="say who in `from`, or what in `to`",
        )
    elif (clause := _any_identity(rule)) is not None:
        yield Finding(
            code=WIDE_ALLOW,
            policy=rule.policy,
            path=clause.path,
            message="this rule allows everything to whoever has an identity, whichever it is",
            help="name the callers, or what they may do in `to`",
        )
    yield from _anonymous(rule)


def _is_always_true(rule: ReadRule) -> bool:
    return (
        _holds_anyway(rule.sources) and _holds_anyway(rule.operations) and all(map(asks_for_nothing, rule.conditions))
    )


def _holds_anyway(half: tuple[Part, ...]) -> bool:
    return not half or any(all(map(asks_for_nothing, part.clauses)) for part in half)


def asks_for_nothing(clause: Clause) -> bool:
    """Whether every request has what the clause asks for."""
    if clause.unwanted:
        return False
    matchers = [matcher for value in clause.wanted for matcher in value.matchers]
    if clause.attribute.key in _ALWAYS:
        return any(isinstance(matcher, Present | Exists) for matcher in matchers)
    if clause.attribute.key in _ADDRESSES:
        # Most meshes have no other addresses.
        return any(isinstance(matcher, Cidr) and matcher.network == _ALL_OF_IPV4 for matcher in matchers)
    return False


def _any_identity(rule: ReadRule) -> Clause | None:
    """What asks for any identity, in a rule that asks for nothing else."""
    if not _holds_anyway(rule.operations):
        return None
    for clauses in [part.clauses for part in rule.sources] or [()]:
        asking = [clause for clause in (*clauses, *rule.conditions) if not asks_for_nothing(clause)]
        if asking and all(map(_takes_any_identity, asking)):
            return asking[0]
    return None


def _takes_any_identity(clause: Clause) -> bool:
    if subject_of(clause.attribute) != _IDENTITY or clause.unwanted:
        return False
    matchers = [matcher for value in clause.wanted for matcher in value.matchers]
    return any(_is_any(matcher) for matcher in matchers)


def _is_any(matcher: object) -> bool:
    match matcher:
        case Present() | Namespace(("", "")) | Prefix("spiffe://"):
            return True
        case _:
            return False


# Whom a rule excludes by name, and who has none -------------------------------------------------------------------------


def _anonymous(rule: ReadRule) -> Iterator[Finding]:
    """What an ALLOW rule excludes of those who show an identity: who shows none passes."""
    if any(_names_callers(clause) for clause in rule.conditions):
        return
    for part in rule.sources:
        if not any(_names_callers(clause) for clause in part.clauses):
            yield from _passing(rule, part.clauses)
    if not rule.sources or not all(any(map(_names_callers, part.clauses)) for part in rule.sources):
        yield from _passing(rule, rule.conditions)


def _passing(rule: ReadRule, clauses: Iterable[Clause]) -> Iterator[Finding]:
    for clause in clauses:
        # A star says that nobody with an identity may pass, and means it.
        if subject_of(clause.attribute) == _IDENTITY and clause.unwanted and not any(map(_is_star, clause.unwanted)):
            yield Finding(
                code=IDENTITY_NOT_REQUIRED,
                policy=rule.policy,
                path=clause.not_path,
                message=f"whom `{clause.not_name}` excludes passes over plaintext, without an identity, for this rule asks for none",
                help='ask for one in the same rule: `principals: ["*"]`',
            )


def _names_callers(clause: Clause) -> bool:
    """Whether a caller must show something: an identity, a token, or an address."""
    return bool(clause.wanted) and (
        subject_of(clause.attribute) == _IDENTITY
        or clause.attribute.key.startswith("request.auth.")
        or (clause.attribute.key in _ADDRESSES and not asks_for_nothing(clause))
    )


def _is_star(value: Value) -> bool:
    return value.text == "*"
