"""Policies in words: every value of the three models as ward, so that reading it gives the same value.

The layout is canonical: one text for one value, in lines of at most `WIDTH` characters as far as words allow.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS
from authz.model import Condition, Operation, Policy, Rule, Source, TargetRef, field_name
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import JwtRule, Presence, RequestAuthentication
from authz.span import Path
from parser.remarks import Remark, Side
from parser.resource_document import Resource, fields_of, seconds
from parser.ward_words import GROUPS

__all__ = ["WIDTH", "clause", "print_condition", "print_issuer", "print_part", "print_values", "print_ward"]

WIDTH = 100
"""Characters in a line."""

_STEP = 2
_FURTHER = 2 * _STEP
_NAME = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_./:]*")
_WORD = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_]*")
_KEY = re.compile(r'[A-Za-z][-A-Za-z0-9_]*(?:\.[-A-Za-z0-9_]+)+(?:\[[^\[\]"\s]+\])*')


def print_ward(resource: Resource, remarks: Iterable[Remark] = ()) -> str:
    """The policy in words, with `remarks` as comments beside what they are about."""
    return "".join(f"{text}\n" for text in _commented(tuple(_lines(resource)), remarks))


def print_part(part: Source | Operation) -> str:
    """What a source or an operation asks for, in one line."""
    return " and ".join(each.text for each in _part(part, ()))


def print_condition(condition: Condition) -> str:
    """What a condition asks for, in one line."""
    return clause(condition.key, condition.values, condition.not_values)


def print_issuer(rule: JwtRule) -> str:
    """What a RequestAuthentication says of the tokens of one issuer, in as many lines as it says things."""
    return "".join(f"{' ' * (line.indent - _STEP)}{line.text}\n" for line in _issuer(rule, "accept", ()))


def print_values(values: Iterable[str]) -> str:
    """Values with commas between them."""
    return ", ".join(map(_value, values))


def clause(key: str, wanted: Sequence[str], unwanted: Sequence[str] = ()) -> str:
    """That the attribute `key` has one of `wanted` and none of `unwanted`; an empty one of the two asks for nothing."""
    return _asked(key, wanted, unwanted, ((), ())).text


# Lines, and what stands in them ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, and the paths of what it says."""

    indent: int
    text: str
    paths: tuple[Path, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether it is no longer than a line may be."""
        return self.indent + len(self.text) <= WIDTH


@dataclass(frozen=True, slots=True)
class _Words:
    """What is said in one line, however long."""

    text: str
    paths: tuple[Path, ...]

    def lines(self, indent: int, lead: str) -> Iterator[_Line]:
        yield _Line(indent, lead + self.text, self.paths)


@dataclass(frozen=True, slots=True)
class _Clause:
    """Lists of values, each behind the words that say what is asked of them, and with its path."""

    lists: Sequence[tuple[str, Sequence[str], Path]]
    paths: tuple[Path, ...]

    @property
    def text(self) -> str:
        """In one line."""
        return " ".join(f"{words} [{print_values(values)}]" for words, values, _ in self.lists)

    def lines(self, indent: int, lead: str) -> Iterator[_Line]:
        """In one line if it fits, else with a line for each value."""
        line = _Line(indent, lead + self.text, self.paths)
        if line.fits:
            yield line
            return
        for words, values, path in self.lists:
            yield _Line(indent, f"{lead}{words} [", self.paths)
            for number, value in enumerate(values):
                comma = "," if number + 1 < len(values) else ""
                yield _Line(indent + _STEP, _value(value) + comma, ((*path, number),))
            lead = "] "
        yield _Line(indent, "]", self.paths)


@dataclass(frozen=True, slots=True)
class _Group:
    """Several in parentheses, with a word between them."""

    pieces: Sequence["_Words | _Clause | _Group"]
    word: str
    paths: tuple[Path, ...]

    @property
    def text(self) -> str:
        """In one line."""
        return "(" + f" {self.word} ".join(piece.text for piece in self.pieces) + ")"

    def lines(self, indent: int, lead: str) -> Iterator[_Line]:
        """In one line if it fits, else with a line for each, or several."""
        line = _Line(indent, lead + self.text, _paths((self,)))
        if line.fits:
            yield line
            return
        yield _Line(indent, f"{lead}(", self.paths)
        yield from _one_by_one(self.pieces, self.word, indent + _STEP)
        yield _Line(indent, ")", self.paths)


_Piece = _Words | _Clause | _Group


def _asked(
    key: str, wanted: Sequence[str], unwanted: Sequence[str], paths: tuple[Path, Path], *others: Path
) -> _Clause:
    """What is asked of one attribute; the paths are those of the two lists, and of what they are all there is in."""
    name = key if _KEY.fullmatch(key) else _quoted(key)
    if unwanted and not wanted:
        return _Clause(((f"not {name} in", unwanted, paths[1]),), (*paths, *others))
    but = (("but not in", unwanted, paths[1]),) if unwanted else ()
    return _Clause(((f"{name} in", wanted, paths[0]), *but), (*paths, *others))


def _paths(pieces: Sequence[_Piece]) -> tuple[Path, ...]:
    return tuple(
        path
        for piece in pieces
        for path in (*piece.paths, *(_paths(piece.pieces) if isinstance(piece, _Group) else ()))
    )


def _joined(pieces: Sequence[_Piece], word: str, indent: int, lead: str, path: Path) -> Iterator[_Line]:
    """The pieces with `word` between them: in one line if they fit, else each in its own. `path` is that of them all."""
    line = _Line(indent, lead + f" {word} ".join(piece.text for piece in pieces), (path, *_paths(pieces)))
    if line.fits:
        yield line
    elif len(pieces) == 1:
        yield from pieces[0].lines(indent, lead)
    else:
        yield _Line(indent, lead.rstrip(), (path,))
        yield from _one_by_one(pieces, word, indent + _STEP)


def _one_by_one(pieces: Sequence[_Piece], word: str, indent: int) -> Iterator[_Line]:
    lead = ""
    for piece in pieces:
        yield from piece.lines(indent, lead)
        lead = f"{word} "


# Texts ----------------------------------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    """`text` as JSON has it, but with an escape for whatever does not show itself, and for nothing else."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    shown = character.isprintable() and character not in '"\\'
    return character if shown else json.dumps(character)[1:-1]


def _value(text: str) -> str:
    return text if _WORD.fullmatch(text) else _quoted(text)


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else _quoted(text)


# The first lines ------------------------------------------------------------------------------------------------------


def _lines(resource: Resource) -> Iterator[_Line]:
    match resource:
        case Policy():
            yield from _head("policy", resource)
            yield from _rules(resource)
        case RequestAuthentication():
            yield from _head("tokens", resource)
            yield from _issuers(resource)
        case PeerAuthentication():
            yield from _head("mtls", resource)
            yield from _modes(resource)


def _head(word: str, resource: Resource) -> Iterator[_Line]:
    """Which policy it is, and for whom."""
    first = f"{word} {_name(resource.name)} in {_name(resource.namespace)}"
    if not isinstance(resource, Policy) and resource.created:
        first += f" created {_name(resource.created)}"
    paths: tuple[Path, ...] = ((), *(("metadata", field) for field in ("name", "namespace", "creationTimestamp")))
    parts = [part for part in (_selector(resource.selector), _targets(resource)) if part is not None]
    whole = _Line(
        0,
        " ".join([first, *(lead + f" {word} ".join(each.text for each in pieces) for lead, word, pieces, _ in parts)]),
        (*paths, *(path for _, _, pieces, whole in parts for path in (whole, *_paths(pieces)))),
    )
    if whole.fits:
        yield whole
        return
    yield _Line(0, first, paths)
    for lead, joiner, pieces, path in parts:
        yield from _joined(pieces, joiner, _FURTHER, lead, path)


class _Attached(NamedTuple):
    """What a policy is for: the word before it, the word between its pieces, and the path of all of them."""

    lead: str
    word: str
    pieces: Sequence[_Piece]
    path: Path


def _selector(labels: Mapping[str, str] | None) -> _Attached | None:
    if labels is None:
        return None
    path: Path = ("spec", "selector")
    if not labels:
        return _Attached("for ", "and", [_Words("all", (path,))], path)
    pieces = [_Words(f"{_label(key)}={_name(value)}", ((*path, "matchLabels", key),)) for key, value in labels.items()]
    return _Attached("for ", "and", pieces, path)


def _label(key: str) -> str:
    # `for all` is for everything.
    return _quoted(key) if key == "all" else _name(key)


def _targets(resource: Resource) -> _Attached | None:
    if isinstance(resource, PeerAuthentication) or not resource.target_refs:
        return None
    path: Path = ("spec", "targetRefs")
    pieces = [_Words(_target(reference), ((*path, index),)) for index, reference in enumerate(resource.target_refs)]
    return _Attached("at ", "or", pieces, path)


def _target(reference: TargetRef) -> str:
    text = f"{_name(reference.kind)} {_name(reference.name)}"
    if reference.group != GROUPS.get(reference.kind, ""):
        text += f" of {_name(reference.group)}"
    return text if reference.namespace is None else f"{text} in {_name(reference.namespace)}"


# AuthorizationPolicy --------------------------------------------------------------------------------------------------


def _rules(policy: Policy) -> Iterator[_Line]:
    verb = policy.action.value.lower()
    by = "" if policy.provider is None else f" by {_name(policy.provider)}"
    begin = f"{'dry-run ' if policy.dry_run else ''}{verb}{by}"
    said: tuple[Path, ...] = (("metadata", "annotations"), ("spec", "action"), ("spec", "provider"))
    if not policy.rules:
        yield _Line(_STEP, f"{begin} nothing", said)
    for index, rule in enumerate(policy.rules):
        path: Path = ("spec", "rules", index)
        yield from _rule(rule, begin, path, (*said, path))
        begin, said = f"or {verb}", ()


def _rule(rule: Rule, begin: str, path: Path, said: tuple[Path, ...]) -> Iterator[_Line]:
    sources = [_part(each, (*path, "from", index, "source")) for index, each in enumerate(rule.sources)]
    operations = [_part(each, (*path, "to", index, "operation")) for index, each in enumerate(rule.operations)]
    halves = (("from", sources), ("to", operations))
    parts = [(marker, _either(pieces, (*path, marker))) for marker, pieces in halves if pieces]
    if rule.conditions:
        parts.append(("when", [_condition(each, (*path, "when", k)) for k, each in enumerate(rule.conditions)]))
    if not parts:
        yield _Line(_STEP, f"{begin} everything", said)
        return
    lead = ""
    for marker, pieces in parts:
        first, *others = _joined(pieces, "and", _FURTHER, f"{lead}{marker} ", (*path, marker))
        if not lead:
            # A rule reads as a sentence, so what it does stands before its first part where there is room.
            sentence = _Line(_STEP, f"{begin} {first.text}", (*said, *first.paths))
            if others or not sentence.fits:
                yield _Line(_STEP, begin, said)
            else:
                first = sentence
        yield first
        yield from others
        lead = "and "


def _part(part: Source | Operation, path: Path) -> Sequence[_Piece]:
    """What `part` asks for, a piece for each attribute; if nothing, then a word for that."""
    attributes = SOURCE_FIELDS if isinstance(part, Source) else OPERATION_FIELDS
    clauses = [
        _asked(
            attributes[field].key,
            wanted,
            unwanted,
            ((*path, field_name(field)), (*path, field_name(f"not_{field}"))),
        )
        for field, wanted, unwanted in fields_of(part)
    ]
    return clauses or [_Words("anyone" if isinstance(part, Source) else "anything", (path,))]


def _either(alternatives: Sequence[Sequence[_Piece]], path: Path) -> Sequence[_Piece]:
    if len(alternatives) == 1:
        return alternatives[0]
    pieces = [
        each[0] if len(each) == 1 else _Group(each, "and", ((*path, index),)) for index, each in enumerate(alternatives)
    ]
    return [_Group(pieces, "or", (path,))]


def _condition(condition: Condition, path: Path) -> _Piece:
    return _asked(
        condition.key, condition.values, condition.not_values, ((*path, "values"), (*path, "notValues")), path
    )


# RequestAuthentication ------------------------------------------------------------------------------------------------


def _issuers(policy: RequestAuthentication) -> Iterator[_Line]:
    begin = "accept"
    for index, rule in enumerate(policy.jwt_rules):
        yield from _issuer(rule, begin, ("spec", "jwtRules", index))
        begin = "or accept"


def _issuer(rule: JwtRule, begin: str, path: Path) -> Iterator[_Line]:
    whose = f"issuer {_name(rule.issuer)}" if rule.issuer else "any issuer"
    yield _Line(_STEP, f"{begin} {whose}", (path,))
    yield from _taken(rule, path)
    yield from _passed_on(rule, path)


def _taken(rule: JwtRule, path: Path) -> Iterator[_Line]:
    """Which tokens are taken, and where they are looked for."""
    if rule.audiences:
        yield from _named("audience in", rule.audiences, (*path, "audiences")).lines(_FURTHER, "")
    if rule.jwks_uri:
        yield _Line(_FURTHER, f"keys at {_name(rule.jwks_uri)}", ((*path, "jwksUri"),))
    if rule.jwks:
        # Texts that stand side by side are one, so each line of the original has its own.
        first, *others = map(_quoted, rule.jwks.splitlines(keepends=True))
        yield _Line(_FURTHER, f"keys {first}", ((*path, "jwks"),))
        yield from (_Line(_FURTHER + _STEP, each) for each in others)
    if places := _places(rule, path):
        # Of the lists of headers, parameters and cookies, the first that there is.
        whole = places[0].paths[0][:-1]
        piece = _Group(places, "or", (whole,)) if len(places) > 1 else places[0]
        yield from piece.lines(_FURTHER, "found in ")
    if rule.timeout != JwtRule().timeout:
        yield _Line(_FURTHER, f"timeout {seconds(rule.timeout)}", ((*path, "timeout"),))
    if rule.presence is Presence.REQUIRED:
        yield _Line(_FURTHER, "token required", ((*path, "presence"),))


def _named(words: str, values: Sequence[str], path: Path) -> _Clause:
    return _Clause(((words, values, path),), (path,))


def _passed_on(rule: JwtRule, path: Path) -> Iterator[_Line]:
    """What becomes of a token that was taken."""
    if rule.forward_original_token:
        yield _Line(_FURTHER, "forward token", ((*path, "forwardOriginalToken"),))
    if rule.output_payload_to_header:
        text = f"payload to header {_name(rule.output_payload_to_header)}"
        yield _Line(_FURTHER, text, ((*path, "outputPayloadToHeader"),))
    for index, output in enumerate(rule.output_claim_to_headers):
        text = f"claim {_name(output.claim)} to header {_name(output.header)}"
        yield _Line(_FURTHER, text, ((*path, "outputClaimToHeaders", index),))
    if rule.space_delimited_claims:
        split = _named("split claims", rule.space_delimited_claims, (*path, "spaceDelimitedClaims"))
        yield from split.lines(_FURTHER, "")


def _places(rule: JwtRule, path: Path) -> list[_Words]:
    """Where the token is looked for."""
    places: list[_Words] = []
    for index, header in enumerate(rule.from_headers):
        after = f" after {_quoted(header.prefix)}" if header.prefix else ""
        places.append(_Words(f"header {_name(header.name)}{after}", ((*path, "fromHeaders", index),)))
    for word, field, names in (
        ("parameter", "fromParams", rule.from_params),
        ("cookie", "fromCookies", rule.from_cookies),
    ):
        places += [_Words(f"{word} {_name(name)}", ((*path, field, index),)) for index, name in enumerate(names)]
    return places


# PeerAuthentication ---------------------------------------------------------------------------------------------------


def _modes(policy: PeerAuthentication) -> Iterator[_Line]:
    yield _Line(_STEP, policy.mode.value.lower(), (("spec", "mtls"),))
    for port, mode in policy.port_modes.items():
        yield _Line(_STEP, f"but port {port} {mode.value.lower()}", (("spec", "portLevelMtls", str(port)),))


# Comments -------------------------------------------------------------------------------------------------------------


def _commented(lines: Sequence[_Line], remarks: Iterable[Remark]) -> Iterator[str]:
    """The lines as text, and each remark at the line that says what it is about, or what that is part of."""
    first: dict[Path, int] = {}
    last: dict[Path, int] = {}
    for number, line in enumerate(lines):
        for path in line.paths:
            for length in range(len(path) + 1):
                first.setdefault(path[:length], number)
                last[path[:length]] = number
    last[()] = len(lines) - 1
    before: dict[int, list[str]] = {}
    beside: dict[int, str] = {}
    after: dict[int, list[str]] = {}
    for side, path, text in remarks:
        while path not in first:
            path = path[:-1]  # noqa: PLW2901  # the next wider one
        number, end = first[path], last[path]
        margin = " " * lines[number].indent if path else ""
        if side is Side.BESIDE and number not in beside:
            beside[number] = text
        elif side is Side.AFTER:
            # As far in as what follows, or further: else it would be read as something about that.
            following = lines[end + 1].indent if end + 1 < len(lines) else 0
            _put(after.setdefault(end, []), max(margin, " " * following) + text if text else "", blank=not path)
        else:
            # An empty line is kept where it parts comments above the policy from each other, or from it.
            _put(
                before.setdefault(number, []),
                margin + text if text else "",
                blank=not number and bool(before.get(number)),
            )
    for number, line in enumerate(lines):
        yield from before.get(number, ())
        yield " " * line.indent + line.text + (f"  {beside[number]}" if number in beside else "")
        yield from after.get(number, ())


def _put(comments: list[str], text: str, *, blank: bool) -> None:
    """Add a comment, or an empty line where there may be a `blank` one, but no two of them."""
    if text or (blank and comments[-1:] != [""]):
        comments.append(text)
