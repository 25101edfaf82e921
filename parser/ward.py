"""Policies in words: ward text to the models, with a place for every value.

The grammar is in `ward.lark` and says which words may follow which; what they say together is checked here. What the values
mean is checked where it is for YAML, for a ward file gives the same documents as one of YAML.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple, NoReturn

from lark import Lark, Token, Tree, UnexpectedInput

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, Attribute
from authz.model import Action, Condition, Operation, Policy, Rule, Source, TargetRef, field_name
from authz.peer_authentication import MtlsMode, PeerAuthentication
from authz.request_authentication import ClaimToHeader, JwtRule, Presence, RequestAuthentication, TokenHeader
from authz.span import Path
from parser.diagnostics import Diagnostic, PolicySyntaxError, quoted
from parser.envelope import DRY_RUN
from parser.problems import Problems
from parser.resource_document import Resource, node_of
from parser.source import Source as Text
from parser.ward_errors import explain, near_attribute
from parser.ward_text import read_ward, statements
from parser.ward_words import GROUPS
from parser.yaml_nodes import Node
from parser.yaml_spans import Spans

__all__ = ["Said", "parse_ward", "said_in", "ward_documents"]


def parse_ward(text: str, file: str = "<ward>") -> tuple[Resource, ...]:
    """The policies in `text`, as they are said: whether their values mean something is not asked.

    Raises:
        PolicySyntaxError: It is not ward; its diagnostics name every statement that is not.
    """
    problems = Problems()
    # What is no text at all, a half of a pair of surrogates, is found to be no UTF-8.
    found = tuple(said.resource for said in said_in(text.encode(errors="surrogatepass"), file, problems))
    if problems.diagnostics:
        raise PolicySyntaxError(problems.diagnostics)
    return found


def ward_documents(data: bytes, file: str, problems: Problems) -> Iterator[Node]:
    """The documents that the ward in `data` stands for, their values placed where it says them.

    Statements that cannot be read are left out, and `problems` has what is wrong with them.
    """
    for resource, spans in said_in(data, file, problems):
        yield node_of(resource, spans)


class Said(NamedTuple):
    """A policy, and where its values are said."""

    resource: Resource
    spans: Spans


def said_in(data: bytes, file: str, problems: Problems) -> Iterator[Said]:
    """The policies in a file, as they are said; what cannot be read is left out, and `problems` has what is wrong with it."""
    source = read_ward(data, file)
    if isinstance(source, Diagnostic):
        problems.add(source)
        return
    for start, end in statements(source.text):
        try:
            tree = _parser().parse(source.text[start:end])
            for statement in _branches(tree):
                yield _Reader(source, start).read(statement)
        except UnexpectedInput as error:
            problems.add(explain(error, source, start))
        except _RefusedError as error:
            problems.add(error.diagnostic)
        if problems.full:
            return


@cache
def _parser() -> Lark:
    grammar = files("parser").joinpath("ward.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", propagate_positions=True)


class _RefusedError(Exception):
    """A statement says what cannot be."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


# The tree of the grammar ----------------------------------------------------------------------------------------------

_Branch = Tree[Token]


def _branches(tree: _Branch) -> Iterator[_Branch]:
    return (child for child in tree.children if isinstance(child, Tree))


def _all(tree: _Branch, name: str) -> list[_Branch]:
    return [branch for branch in _branches(tree) if branch.data == name]


def _first(tree: _Branch, name: str) -> _Branch | None:
    return next((branch for branch in _branches(tree) if branch.data == name), None)


def _leaves(tree: _Branch, *types: str) -> list[Token]:
    return [child for child in tree.children if isinstance(child, Token) and (child.type in types or not types)]


def _texts(tree: _Branch) -> list[Token]:
    """What is said in `tree` in words of the user's own."""
    return _leaves(tree, "WORD", "STRING", "KEY")


# What a statement says ------------------------------------------------------------------------------------------------


class _Alternative(NamedTuple):
    """One of the sources or operations of a rule, or its conditions: no clauses are in `anyone` and `anything`."""

    said: _Branch
    clauses: list[_Branch]


class _Part(NamedTuple):
    """Of a rule: what stands behind one marker."""

    marker: Token
    alternatives: list[_Alternative]
    open: bool  # whether more clauses may follow


class _Half(NamedTuple):
    """The half of a rule that a marker begins: what of the model it is, and in which fields of it attributes are asked for."""

    inner: str
    any: str
    about: str
    fields: Mapping[str, str]


def _fields(attributes: Mapping[str, Attribute]) -> Mapping[str, str]:
    return {attribute.key: field for field, attribute in attributes.items()}


_HALVES = {
    "from": _Half("source", "anyone", "who calls", _fields(SOURCE_FIELDS)),
    "to": _Half("operation", "anything", "what is asked for", _fields(OPERATION_FIELDS)),
}


class _Reader:
    """Reads one statement of a part of a text, which begins at `offset`."""

    def __init__(self, source: Text, offset: int) -> None:
        self._source = source
        self._offset = offset
        self._positions: dict[Path, tuple[int, int]] = {}

    def read(self, statement: _Branch) -> Said:
        """The policy that a statement says.

        Raises:
            _RefusedError: It says what cannot be.
        """
        self._put((), statement)
        self._put(("spec",), statement)
        spans = Spans(self._source, self._positions)
        match statement.data:
            case "policy":
                return Said(self._policy(statement, spans), spans)
            case "tokens":
                return Said(self._tokens(statement, spans), spans)
            case _:
                return Said(self._mtls(statement, spans), spans)

    # Texts and places ---------------------------------------------------------------------------------------------------

    def _at(self, *said: _Branch | Token) -> tuple[int, int]:
        """From the first to the last of what was said."""
        starts = [each.start_pos if isinstance(each, Token) else each.meta.start_pos for each in said]
        ends = [each.end_pos if isinstance(each, Token) else each.meta.end_pos for each in said]
        return self._offset + min(start or 0 for start in starts), self._offset + max(end or 0 for end in ends)

    def _put(self, path: Path, *said: _Branch | Token) -> None:
        self._positions[path] = self._at(*said)

    def _refuse(self, code: str, message: str, said: _Branch | Token, remedy: str) -> NoReturn:
        raise _RefusedError(Diagnostic(code, message, self._source.span(*self._at(said)), help=remedy))

    def _text(self, token: Token) -> str:
        if token.type != "STRING":
            return str(token)
        try:
            text: str = json.loads(token)
        except json.JSONDecodeError:
            self._refuse("bad-escape", "this text has an escape that there is not", token, _ESCAPES)
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._refuse("bad-escape", "this text has an escape for half of a character", token, _ESCAPES)
        return text

    def _filled(self, token: Token) -> str:
        if not (text := self._text(token)):
            self._refuse("empty-value", "an empty text says nothing", token, "write a value, or leave the word out")
        return text

    def _values(self, tree: _Branch, path: Path, *, may_be_empty: bool = False) -> tuple[str, ...]:
        (values,) = _all(tree, "values")
        found = _texts(values)
        if not found and not may_be_empty:
            # In a document, an empty list asks for nothing; to a reader, nothing is in it.
            self._refuse("empty-list", "nothing is in an empty list", values, "write a value, or leave the clause out")
        self._put(path, tree)
        for index, token in enumerate(found):
            self._put((*path, index), token)
        return tuple(map(self._text, found))

    # What all three have ------------------------------------------------------------------------------------------------

    def _identity(self, statement: _Branch) -> dict[str, str]:
        (identity,) = _all(statement, "identity")
        self._put(("metadata",), identity)
        said = dict(zip(("name", "namespace"), _texts(identity), strict=True))
        for field, token in said.items():
            self._put(("metadata", field), token)
        return {field: self._text(token) for field, token in said.items()}

    def _created(self, statement: _Branch) -> str:
        created = _first(statement, "created")
        if created is None:
            return ""
        (token,) = _texts(created)
        self._put(("metadata", "creationTimestamp"), token)
        return self._filled(token)

    def _selector(self, statement: _Branch) -> dict[str, str] | None:
        selector = _first(statement, "selector")
        if selector is None:
            return None
        path: Path = ("spec", "selector")
        self._put(path, selector)
        labels: dict[str, str] = {}
        for label in _branches(selector):
            key, value = map(self._text, _texts(label))
            if key in labels:
                self._refuse("said-twice", f"the label {quoted(key)} is here twice", label, "keep one of them")
            self._put((*path, "matchLabels", key), label)
            labels[key] = value
        return labels

    def _targets(self, statement: _Branch) -> tuple[TargetRef, ...]:
        targets = _first(statement, "targets")
        if targets is None:
            return ()
        path: Path = ("spec", "targetRefs")
        self._put(path, targets)
        return tuple(self._target(target, (*path, index)) for index, target in enumerate(_branches(targets)))

    def _target(self, target: _Branch, path: Path) -> TargetRef:
        self._put(path, target)
        said = dict(zip(("kind", "name"), _texts(target), strict=True))
        for branch in _branches(target):
            (said["group" if branch.data == "group_of" else "namespace"],) = _texts(branch)
        for field, token in said.items():
            self._put((*path, field), token)
        text = {field: self._text(token) for field, token in said.items()}
        return TargetRef(
            kind=text["kind"],
            name=text["name"],
            group=text.get("group", GROUPS.get(text["kind"], "")),
            namespace=text.get("namespace"),
        )

    # AuthorizationPolicy ------------------------------------------------------------------------------------------------

    def _policy(self, statement: _Branch, spans: Spans) -> Policy:
        rules = _all(statement, "rule")
        (action, provider), *others = map(self._verb, rules)
        for rule, (again, another) in zip(rules[1:], others, strict=True):
            if again != action or another not in (None, provider):
                remedy = f"write `or {action}`, or make it a policy of its own"
                self._refuse(
                    "several-actions", f"a policy does one thing, and this one began with `{action}`", rule, remedy
                )
        if (dry_run := _first(statement, "dry_run")) is not None:
            self._put(("metadata", "annotations", DRY_RUN), dry_run)
        (first_verb,) = _all(rules[0], "verb")
        self._put(("spec", "action"), *_leaves(first_verb))
        if (by := _first(first_verb, "provider")) is not None:
            self._put(("spec", "provider"), by)
        self._put(("spec", "rules"), *rules)
        nothing = [rule for rule in rules if _first(rule, "nothing") is not None]
        if nothing and len(rules) > 1:
            self._refuse("nothing-and-more", "`nothing` stands for a policy without rules", nothing[0], "remove it")
        return Policy(
            **self._identity(statement),
            action=Action(action.upper()),
            selector=self._selector(statement),
            target_refs=self._targets(statement),
            rules=() if nothing else tuple(self._rule(rule, ("spec", "rules", k)) for k, rule in enumerate(rules)),
            provider=provider,
            dry_run=dry_run is not None,
            spans=spans,
        )

    def _verb(self, rule: _Branch) -> tuple[str, str | None]:
        (verb,) = _all(rule, "verb")
        (action,) = _leaves(verb)
        by = _first(verb, "provider")
        return str(action), None if by is None else self._text(_texts(by)[0])

    def _rule(self, rule: _Branch, path: Path) -> Rule:
        self._put(path, rule)
        parts = self._parts(rule)
        when = parts.get("when")
        conditions: list[_Branch] = []
        if when is not None:
            conditions = when.alternatives[0].clauses
            self._put((*path, "when"), when.marker, conditions[-1])
        return Rule(
            sources=tuple(Source(**each) for each in self._alternatives(parts.get("from"), path)),
            operations=tuple(Operation(**each) for each in self._alternatives(parts.get("to"), path)),
            conditions=tuple(self._condition(each, (*path, "when", k)) for k, each in enumerate(conditions)),
        )

    def _parts(self, rule: _Branch) -> dict[str, _Part]:
        """The parts of a rule by their markers, each with all of its clauses."""
        parts: dict[str, _Part] = {}
        current: _Part | None = None
        for part in (*_all(rule, "first"), *_all(rule, "part")):
            body = next(branch for branch in _branches(part) if branch.data != "marker")
            if (marked := _first(part, "marker")) is not None:
                (marker,) = _leaves(marked)
                current = self._begun(marker, body, parts.get(marker))
                parts[marker] = current
            elif current is None or not current.open or body.data != "clause":
                self._unmarked(body)
            else:
                current.alternatives[-1].clauses.append(body)
        return parts

    def _begun(self, marker: Token, body: _Branch, before: _Part | None) -> _Part:
        """The part that `marker` begins, or that it goes on with, as `when` may."""
        if before is not None and marker != "when":
            message = f"`{marker}` is here twice in one rule"
            remedy = f"join the clauses with `and`; alternatives stand in parentheses: `{marker} (… or …)`"
            self._refuse("said-twice", message, marker, remedy)
        if body.data == "clause":
            clauses = [] if before is None else before.alternatives[0].clauses
            return _Part(marker, [_Alternative(body, [*clauses, body])], open=True)
        if marker == "when":
            remedy = "conditions need no parentheses, for all of them must hold; for alternatives, write another rule: `or …`"
            self._refuse("bad-condition", "a condition is about one attribute", body, remedy)
        alternatives = _all(body, "alternative") or [body]
        return _Part(marker, [_Alternative(each, self._clauses(each, marker)) for each in alternatives], open=False)

    def _clauses(self, alternative: _Branch, marker: Token) -> list[_Branch]:
        """The clauses of one of several alternatives, or of the only one."""
        (inner,) = _branches(alternative)
        match inner.data:
            case "clause":
                return [inner]
            case "one":
                return list(_branches(inner))
            case _:
                (word,) = _leaves(inner)
                if word != (meant := _HALVES[marker].any):
                    self._refuse("misplaced-word", f"`{word}` is not {_HALVES[marker].about}", word, f"write `{meant}`")
                return []

    def _unmarked(self, body: _Branch) -> NoReturn:
        remedy = "put it into the parentheses, to each alternative; or begin another part: `and to …`, `and when …`"
        self._refuse("no-marker", "it is not said to which part this belongs", body, remedy)

    def _alternatives(self, part: _Part | None, path: Path) -> Iterator[dict[str, tuple[str, ...]]]:
        """The fields of each source or operation."""
        if part is None:
            return
        half = _HALVES[part.marker]
        ends = (part.alternatives[-1].said, *part.alternatives[-1].clauses[-1:])
        self._put((*path, str(part.marker)), part.marker, *ends)
        for index, (said, clauses) in enumerate(part.alternatives):
            place: Path = (*path, str(part.marker), index, half.inner)
            self._put(place[:-1], said, *clauses)
            self._put(place, said, *clauses)
            fields: dict[str, tuple[str, ...]] = {}
            for each in clauses:
                self._clause(each, half, part.marker, place, fields)
            yield fields

    def _clause(
        self, clause: _Branch, half: _Half, marker: Token, path: Path, fields: dict[str, tuple[str, ...]]
    ) -> None:
        """Put what a clause asks for among the `fields` of its source or operation."""
        (key,) = _texts(clause)
        name = self._text(key)
        field = half.fields.get(name)
        if field is None:
            self._misplaced(key, name, half, marker)
        lists = [(f"not_{field}" if _leaves(clause, "NOT") else field, clause)]
        lists += [(f"not_{field}", but) for but in _all(clause, "but")]
        for list_name, tree in lists:
            if list_name in fields:
                remedy = (
                    "put the values into one list; that a caller must match two lists, only conditions can say: `when`"
                )
                self._refuse("said-twice", f"{quoted(name)} is asked for twice", tree, remedy)
            fields[list_name] = self._values(tree, (*path, field_name(list_name)))

    def _misplaced(self, key: Token, name: str, half: _Half, marker: Token) -> NoReturn:
        other = next((word for word, each in _HALVES.items() if word != marker and name in each.fields), None)
        near = near_attribute(name)
        if other is None and near != name and (near is None or near in half.fields):
            known = ", ".join(f"`{each}`" for each in half.fields)
            remedy = f"known here: {known}" if near is None else f"did you mean `{near}`?"
            self._refuse("unknown-key", f"unknown attribute {quoted(name)}", key, remedy)
        remedy = f"write `and {other or 'when'} {name} …`"
        self._refuse("misplaced-key", f"{quoted(name)} does not say {half.about}", key, remedy)

    def _condition(self, clause: _Branch, path: Path) -> Condition:
        (key,) = _texts(clause)
        self._put(path, clause)
        self._put((*path, "key"), key)
        but = _first(clause, "but")
        first = self._values(
            clause, (*path, "notValues" if _leaves(clause, "NOT") else "values"), may_be_empty=but is None
        )
        if _leaves(clause, "NOT"):
            return Condition(key=self._text(key), not_values=first)
        second = () if but is None else self._values(but, (*path, "notValues"))
        return Condition(key=self._text(key), values=first, not_values=second)

    # RequestAuthentication ----------------------------------------------------------------------------------------------

    def _tokens(self, statement: _Branch, spans: Spans) -> RequestAuthentication:
        issuers = _all(statement, "issuer")
        return RequestAuthentication(
            **self._identity(statement),
            created=self._created(statement),
            selector=self._selector(statement),
            target_refs=self._targets(statement),
            jwt_rules=tuple(self._issuer(each, ("spec", "jwtRules", index)) for index, each in enumerate(issuers)),
            spans=spans,
        )

    def _issuer(self, issuer: _Branch, path: Path) -> JwtRule:
        self._put(path, issuer)
        name = next(iter(_texts(issuer)), None)
        if name is not None:
            self._put((*path, "issuer"), name)
            if not self._text(name):
                self._refuse("empty-value", "an empty issuer is any", name, "write `any issuer`, if that is meant")
        options: dict[str, _Branch] = {}
        for option in _branches(issuer):
            if option.data in options and option.data != "claim":
                self._refuse("said-twice", "this is said twice of one issuer", option, "keep one of them")
            options[option.data] = option
        headers, parameters, cookies = self._places(options.get("found"), path)
        return JwtRule(
            issuer="" if name is None else self._text(name),
            audiences=self._list(options.get("audiences"), (*path, "audiences")),
            jwks_uri=self._word(options.get("keys_at"), (*path, "jwksUri")),
            jwks=self._word(options.get("keys"), (*path, "jwks")),
            from_headers=headers,
            from_params=parameters,
            from_cookies=cookies,
            forward_original_token=self._said(options.get("forward"), (*path, "forwardOriginalToken")),
            output_payload_to_header=self._word(options.get("payload"), (*path, "outputPayloadToHeader")),
            output_claim_to_headers=tuple(
                self._output(each, (*path, "outputClaimToHeaders", index))
                for index, each in enumerate(_all(issuer, "claim"))
            ),
            space_delimited_claims=self._list(options.get("split"), (*path, "spaceDelimitedClaims")),
            timeout=self._timeout(options.get("timeout"), (*path, "timeout")),
            presence=Presence.REQUIRED
            if self._said(options.get("required"), (*path, "presence"))
            else Presence.OPTIONAL,
        )

    def _said(self, option: _Branch | None, path: Path) -> bool:
        if option is not None:
            self._put(path, option)
        return option is not None

    def _list(self, option: _Branch | None, path: Path) -> tuple[str, ...]:
        return () if option is None else self._values(option, path)

    def _word(self, option: _Branch | None, path: Path) -> str:
        if option is None:
            return ""
        tokens = _texts(option)
        self._put(path, *tokens)
        text = "".join(map(self._text, tokens))
        return text or self._filled(tokens[0])

    def _timeout(self, option: _Branch | None, path: Path) -> float:
        if option is None:
            return JwtRule().timeout
        (duration,) = _leaves(option)
        self._put(path, duration)
        return float(duration[:-1])

    def _places(
        self, found: _Branch | None, path: Path
    ) -> tuple[tuple[TokenHeader, ...], tuple[str, ...], tuple[str, ...]]:
        """The headers, the parameters and the cookies in which the token is looked for."""
        headers: list[TokenHeader] = []
        others: dict[str, list[str]] = {"PARAMETER": [], "COOKIE": []}
        for place in () if found is None else _branches(found):
            (kind,) = _leaves(place, "HEADER", *others)
            (name,) = _texts(place)
            if kind.type == "HEADER":
                at: Path = (*path, "fromHeaders", len(headers))
                prefix = _first(place, "prefix")
                headers.append(
                    TokenHeader(name=self._text(name), prefix="" if prefix is None else self._filled(_texts(prefix)[0]))
                )
            else:
                names = others[kind.type]
                at = (*path, "fromParams" if kind.type == "PARAMETER" else "fromCookies", len(names))
                names.append(self._text(name))
            self._put(at, place)
        if found is not None:
            first = "fromHeaders" if headers else "fromParams" if others["PARAMETER"] else "fromCookies"
            self._put((*path, first), found)
        return tuple(headers), tuple(others["PARAMETER"]), tuple(others["COOKIE"])

    def _output(self, output: _Branch, path: Path) -> ClaimToHeader:
        self._put(path, output)
        claim, header = _texts(output)
        self._put((*path, "claim"), claim)
        self._put((*path, "header"), header)
        return ClaimToHeader(header=self._text(header), claim=self._text(claim))

    # PeerAuthentication -------------------------------------------------------------------------------------------------

    def _mtls(self, statement: _Branch, spans: Spans) -> PeerAuthentication:
        (mode,) = _all(statement, "mode")
        self._put(("spec", "mtls"), mode)
        self._put(("spec", "mtls", "mode"), mode)
        return PeerAuthentication(
            **self._identity(statement),
            created=self._created(statement),
            selector=self._selector(statement),
            mode=_mode(mode),
            port_modes=self._ports(_all(statement, "port")),
            spans=spans,
        )

    def _ports(self, ports: Sequence[_Branch]) -> dict[int, MtlsMode]:
        path: Path = ("spec", "portLevelMtls")
        modes: dict[int, MtlsMode] = {}
        if ports:
            self._put(path, *ports)
        for each in ports:
            (number,) = _leaves(each)
            (mode,) = _all(each, "mode")
            if len(number) > _LONGEST_NUMBER:
                self._refuse("bad-port", f"{quoted(number)} is not a port", number, "a number from 1 to 65535")
            port = int(number)
            if port in modes:
                self._refuse("said-twice", f"port {port} is here twice", each, "keep one of them")
            self._put((*path, str(port)), each)
            self._put((*path, str(port), "mode"), mode)
            modes[port] = _mode(mode)
        return modes


_ESCAPES = 'write `\\\\` for a backslash; there are `\\"`, `\\n`, `\\t` and `\\u` with four digits, as in JSON'
_LONGEST_NUMBER = 4000  # Python reads no longer ones


def _mode(mode: _Branch) -> MtlsMode:
    (word,) = _leaves(mode)
    return MtlsMode(word.upper())
