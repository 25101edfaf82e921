"""Values of lists: those that say what another has said, those that no request has, and stars that are letters."""

from collections.abc import Iterator

from authz.findings.codes import LITERAL_STAR, REDUNDANT_VALUE, UNMATCHABLE_VALUE
from authz.findings.containment import covers
from authz.findings.finding import Drop, Finding, named
from authz.findings.reading import Clause, ReadRule, Value
from authz.findings.wider import WiderIndex
from authz.matcher import Exact, IssuedTo, Matcher, Prefix, SpiffeSuffix, Suffix
from authz.mesh_config import MeshConfig, PathNormalization
from authz.normalization import RefusedPathError, normalize_path

__all__ = ["find_odd_values"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


def find_odd_values(rule: ReadRule, config: MeshConfig | None) -> Iterator[Finding]:
    """What is odd about single values of `rule`; of the mesh configuration nothing is taken for granted where there is none."""
    for clause in rule.clauses:
        for name, values in ((clause.name, clause.wanted), (clause.not_name, clause.unwanted)):
            yield from _redundant(rule, name, values)
            for value in values:
                found = _unmatchable(clause, value, config)
                if found is not None:
                    why, remedy = found
                    yield Finding(
                        code=UNMATCHABLE_VALUE,
                        policy=rule.policy,
                        path=value.path,
                        message=f"no request matches {named(value.text)} in `{name}`: {why}",
                        help=remedy,
                    )
                elif (instead := _literal_star(clause, value)) is not None:
                    yield Finding(
                        code=LITERAL_STAR,
                        policy=rule.policy,
                        path=value.path,
                        message=f"the star inside {named(value.text)} in `{name}` is compared as a letter: it is a wildcard only at one end",
                        help=instead,
                    )


# Said already -------------------------------------------------------------------------------------------------------------


def _redundant(rule: ReadRule, name: str, values: tuple[Value, ...]) -> Iterator[Finding]:
    if len(values) < 2:
        return
    index: WiderIndex[tuple[int, Value, Matcher]] = WiderIndex()
    for number, value in enumerate(values):
        # What stands for several is as wide as the first, for the others differ only in their trust domain.
        index.add(None, value.matchers[0], (number, value, value.matchers[0]))
    for number, value in enumerate(values):
        by = next(
            (
                other
                for place, other, matcher in index.asking_for_more(None, value.matchers[0])
                if covers(matcher, value.matchers[0])
                and _covers(other, value)
                # Of two that say the same, the first stays.
                and (place < number or not _covers(value, other))
            ),
            None,
        )
        if by is not None:
            yield Finding(
                code=REDUNDANT_VALUE,
                policy=rule.policy,
                path=value.path,
                message=f"{named(value.text)} is in `{name}` twice"
                if by.text == value.text
                else f"{named(by.text)} in `{name}` covers {named(value.text)}, too",
                help="remove it: it changes nothing",
                fix=(Drop(value.path),),
            )


def _covers(wide: Value, narrow: Value) -> bool:
    return all(any(covers(one, other) for one in wide.matchers) for other in narrow.matchers)


# Never had ----------------------------------------------------------------------------------------------------------------


def _unmatchable(clause: Clause, value: Value, config: MeshConfig | None) -> tuple[str, str] | None:
    """Why no request has what a value says, and what to write instead."""
    match clause.attribute.key:
        case "request.path":
            return _no_path(value, config)
        case "request.method" if value.text not in _METHODS and value.text.upper() in _METHODS:
            return "methods are compared by letter, and this one is upper case", f"write `{value.text.upper()}`"
        case _:
            return None


def _no_path(value: Value, config: MeshConfig | None) -> tuple[str, str] | None:
    text = value.text
    if "?" in text or "#" in text:
        return (
            "a path is compared without what follows `?` or `#`",
            "look at a query by `request.headers[:path]` in `when`",
        )
    beginning = not isinstance(value.matchers[0], Suffix)
    # What OPTIONS asks of the whole server has a star for its path, and is the one that begins with no slash.
    if beginning and text != "*" and not text.startswith("/"):
        return "every path begins with `/`", f"write {named(f'/{text}')}"
    option = None if config is None else config.path_normalization
    if option in (None, PathNormalization.NONE):
        return None
    match value.matchers[0]:
        case Exact(path):
            return _not_normal(path, option)
        case Prefix(path) if "%" not in path and "//" in path and option is not PathNormalization.BASE:
            return "this mesh merges slashes before it looks at a path", f"write `{_merged(path)}*`"
        case _:
            return None


def _not_normal(path: str, option: PathNormalization | None) -> tuple[str, str] | None:
    if option is None:
        return None
    try:
        normal = normalize_path(path, option)
    except RefusedPathError:
        return None
    if normal == path or path.endswith("//"):
        return None
    return "this mesh normalizes paths before it looks at them", f"write `{normal}`"


def _merged(path: str) -> str:
    while "//" in path:
        path = path.replace("//", "/")
    return path


# Stars --------------------------------------------------------------------------------------------------------------------


def _literal_star(clause: Clause, value: Value) -> str | None:
    """What to do about a star that is no wildcard; nothing where there is none."""
    if not any("*" in literal for matcher in value.matchers for literal in _literals(matcher)):
        return None
    if clause.attribute.key == "request.path" and value.text.startswith("/"):
        template = "/".join("{*}" if segment == "*" else segment for segment in value.text.split("/"))
        if template.endswith("/{*}"):
            template = f"{template[:-3]}{{**}}"
        if "*" not in template.replace("{*}", "").replace("{**}", ""):
            return f"write `{template}`: `{{*}}` is one segment, and `{{**}}` any number of them"
    return "leave one star, at the start or at the end"


def _literals(matcher: Matcher) -> Iterator[str]:
    match matcher:
        case Exact(text) | Prefix(text) | Suffix(text) | SpiffeSuffix(text):
            yield text
        case IssuedTo(issuer, subject):
            yield from _literals(issuer)
            yield from _literals(subject)
        case _:
            pass
