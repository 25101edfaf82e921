"""Denied paths that a slash at the end slips past: servers take the path with it for the same, and proxies do not."""

import re
from collections.abc import Iterator

from authz.findings.codes import EVADABLE_PATH
from authz.findings.finding import Finding, Insert, named
from authz.findings.reading import Clause, ReadRule, Value
from authz.matcher import Exact, Matcher, Prefix, Suffix, Template, matches
from authz.model import Action
from authz.values import Scope, path

__all__ = ["denied_paths", "find_evadable_paths"]

_ANYWHERE = Scope("", ())
_PATH = "request.path"
_OPEN = "/{**}"
# The path of a gRPC method is a name, and no server looks behind it for a slash.
_GRPC = re.compile(r"/(?:[\w]+\.)*[A-Z]\w*/(?:[A-Z]\w*|\*)")


def denied_paths(rule: ReadRule) -> Iterator[tuple[Clause, str, tuple[Value, ...]]]:
    """The lists of paths that are to be kept out: denied ones, and those that an ALLOW rule excludes."""
    for clause in rule.clauses:
        if clause.attribute.key != _PATH:
            continue
        if rule.policy.action is Action.DENY and clause.wanted:
            yield clause, clause.name, clause.wanted
        elif rule.policy.action is Action.ALLOW and clause.unwanted:
            yield clause, clause.not_name, clause.unwanted


def find_evadable_paths(rule: ReadRule) -> Iterator[Finding]:
    """Of the paths that are kept out, those whose other spelling is not."""
    for _, name, values in denied_paths(rule):
        matchers = [matcher for value in values for matcher in value.matchers]
        for value in values:
            missing = None if _GRPC.fullmatch(value.text) else _twin(value.matchers[0], value.text)
            if missing is not None and not _is_covered(missing, matchers):
                yield Finding(
                    code=EVADABLE_PATH,
                    policy=rule.policy,
                    path=value.path,
                    message=f"{named(value.text)} in `{name}` does not match {named(missing)}, which most servers take for the same",
                    help=f"add {named(missing)}",
                    # More is kept out than before.
                    fix=(Insert(value.path, missing),),
                )


def _twin(matcher: Matcher, text: str) -> str | None:
    """The value that is to be there besides."""
    match matcher:
        case Exact(literal) if literal.startswith("/"):
            return literal[:-1] or None if literal.endswith("/") else f"{literal}/"
        case Prefix(literal) if literal.endswith("/") and literal.startswith("/"):
            return literal[:-1] or None
        case Suffix(literal) if literal and not literal.endswith(("/", "*")) and "/" in literal:
            return f"*{literal}/"
        case Template(literal) if literal.endswith(_OPEN):
            return literal.removesuffix(_OPEN) or None
        case Template(literal) if not literal.endswith("/"):
            return f"{text}/"
        case _:
            return None


def _is_covered(missing: str, matchers: list[Matcher]) -> bool:
    meant = path(missing, _ANYWHERE)[0]
    if meant in matchers:
        return True
    match meant:
        case Exact(literal):
            return any(matches(matcher, literal) for matcher in matchers)
        case Suffix(literal):
            return any(isinstance(matcher, Suffix) and literal.endswith(matcher.value) for matcher in matchers)
        case Template(literal):
            # What it matches begins so, and ends with a slash.
            start = literal.split("{", 1)[0]
            return any(isinstance(matcher, Prefix) and start.startswith(matcher.value) for matcher in matchers)
        case _:
            return False
