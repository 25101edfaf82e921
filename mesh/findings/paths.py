"""Paths: lists of those that are denied, where a path can be written in more ways than the list has."""

from collections.abc import Iterator, Sequence

from authz.findings.codes import PATHS_NOT_LISTED, UNMERGED_SLASHES
from authz.findings.finding import Finding, named
from authz.findings.paths import denied_paths
from authz.findings.reading import Clause, ReadRule
from authz.findings.width import asks_for_nothing
from authz.matcher import Exact, Prefix
from authz.mesh_config import PathNormalization
from authz.model import Action, Policy
from mesh.findings.surroundings import Surroundings

__all__ = ["find_about_paths"]

_PATH = "request.path"
_UNMERGED = (PathNormalization.NONE, PathNormalization.BASE)


def find_about_paths(policy: Policy, rules: Sequence[ReadRule], mesh: Surroundings) -> Iterator[Finding]:
    """What slips past the paths that `policy` keeps out, unless others say which are let in."""
    if policy.dry_run:
        return
    kept_out = next(
        (
            (clause, name, value.text)
            for rule in rules
            for clause, name, values in denied_paths(rule)
            for value in values
            if isinstance(value.matchers[0], Exact | Prefix) and value.text.startswith("/") and value.text != "/*"
        ),
        None,
    )
    if kept_out is None:
        return
    clause, name, text = kept_out
    allowing = mesh.allowing(policy)
    path = clause.path if clause.wanted and policy.action is Action.DENY else clause.not_path
    if policy.action is Action.DENY and not allowing:
        first = text.rstrip("/*")
        yield Finding(
            code=PATHS_NOT_LISTED,
            policy=policy,
            path=path,
            message=f"`{name}` denies what it lists, and no ALLOW policy lists what may be asked: {named(_shouted(first))} and "
            f"{named(f'{first};x')} pass, which some servers take for the same",
            help="add an ALLOW policy with the paths that are meant to be open",
        )
    if mesh.given is not None and mesh.config.path_normalization in _UNMERGED and not _lists_all(allowing):
        option = mesh.config.path_normalization.value
        yield Finding(
            code=UNMERGED_SLASHES,
            policy=policy,
            path=path,
            message=f"{named(f'/{text}')} slips past {named(text)} in `{name}`: this mesh does not merge slashes, for its `pathNormalization` "
            f"is {option}",
            help="set `pathNormalization: {normalization: MERGE_SLASHES}` in the mesh configuration, or "
            "DECODE_AND_MERGE_SLASHES where servers decode `%2F`",
        )


def _shouted(path: str) -> str:
    return path.upper() if path.upper() != path else path.lower()


def _lists_all(allowing: Sequence[Sequence[ReadRule]]) -> bool:
    """Whether all that is allowed is allowed by path."""
    return bool(allowing) and all(_by_path(rule) for rules in allowing for rule in rules)


def _by_path(rule: ReadRule) -> bool:
    return bool(rule.operations) and all(any(map(_names_paths, part.clauses)) for part in rule.operations)


def _names_paths(clause: Clause) -> bool:
    return clause.attribute.key == _PATH and bool(clause.wanted) and not asks_for_nothing(clause)
