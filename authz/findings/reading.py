"""Rules as they are written: what each list asks of its attribute, with the place of every value."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from authz.findings.finding import shortened
from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, Attribute, resolve
from authz.matcher import Matcher
from authz.model import Condition, Operation, Policy, Rule, Source, field_name
from authz.span import Path
from authz.values import Scope

__all__ = ["Clause", "Part", "ReadRule", "Value", "read_rules"]

_SOURCES: Mapping[str, Attribute] = SOURCE_FIELDS
_OPERATIONS: Mapping[str, Attribute] = OPERATION_FIELDS


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a list, what it means, and where it is written."""

    text: str
    matchers: tuple[Matcher, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class Clause:
    """What is asked of one attribute: one of `wanted`, if there are any, and none of `unwanted`.

    `name` and `not_name` are what documents call the two lists.
    """

    attribute: Attribute
    name: str
    not_name: str
    wanted: tuple[Value, ...]
    unwanted: tuple[Value, ...]
    path: Path
    not_path: Path


@dataclass(frozen=True, slots=True)
class Part:
    """A source or an operation: clauses that must all hold."""

    clauses: tuple[Clause, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class ReadRule:
    """A rule of a policy. Without sources it is for everyone, without operations for everything."""

    policy: Policy
    index: int
    sources: tuple[Part, ...]
    operations: tuple[Part, ...]
    conditions: tuple[Clause, ...]
    path: Path = field(default=())

    @property
    def id(self) -> str:
        """`namespace/name#index`, as people and every output of meshward name a rule."""
        return f"{self.policy.id}#{self.index}"

    @property
    def parts(self) -> Iterator[Part]:
        """Its sources and its operations."""
        yield from self.sources
        yield from self.operations

    @property
    def clauses(self) -> Iterator[Clause]:
        """Everything that it asks."""
        for part in self.parts:
            yield from part.clauses
        yield from self.conditions


def read_rules(policy: Policy, trust_domains: tuple[str, ...]) -> tuple[ReadRule, ...]:
    """The rules of `policy`, which must be one in which no error was found."""
    reader = _Reader(Scope(policy.namespace, trust_domains))
    return tuple(reader.rule(policy, index, rule) for index, rule in enumerate(policy.rules))


class _Reader:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def rule(self, policy: Policy, index: int, rule: Rule) -> ReadRule:
        path: Path = ("spec", "rules", index)
        return ReadRule(
            policy=policy,
            index=index,
            sources=tuple(
                self._part(source, _SOURCES, (*path, "from", number), "source")
                for number, source in enumerate(rule.sources)
            ),
            operations=tuple(
                self._part(operation, _OPERATIONS, (*path, "to", number), "operation")
                for number, operation in enumerate(rule.operations)
            ),
            conditions=tuple(
                self._condition(condition, (*path, "when", number)) for number, condition in enumerate(rule.conditions)
            ),
            path=path,
        )

    def _part(self, part: Source | Operation, fields: Mapping[str, Attribute], path: Path, inner: str) -> Part:
        return Part(tuple(self._fields(part, fields, (*path, inner))), path)

    def _fields(self, part: Source | Operation, fields: Mapping[str, Attribute], path: Path) -> Iterable[Clause]:
        for name, attribute in fields.items():
            wanted: Sequence[str] = getattr(part, name)
            unwanted: Sequence[str] = getattr(part, f"not_{name}")
            if wanted or unwanted:
                yield self._clause(attribute, (field_name(name), field_name(f"not_{name}")), wanted, unwanted, path)

    def _condition(self, condition: Condition, path: Path) -> Clause:
        names = ("values", "notValues")
        clause = self._clause(resolve(condition.key), names, condition.values, condition.not_values, path)
        key = shortened(condition.key)
        return replace(clause, name=key, not_name=key)

    def _clause(
        self, attribute: Attribute, names: tuple[str, str], wanted: Sequence[str], unwanted: Sequence[str], path: Path
    ) -> Clause:
        name, not_name = names
        return Clause(
            attribute,
            name,
            not_name,
            self._values(attribute, wanted, (*path, name)),
            self._values(attribute, unwanted, (*path, not_name)),
            (*path, name),
            (*path, not_name),
        )

    def _values(self, attribute: Attribute, texts: Sequence[str], path: Path) -> tuple[Value, ...]:
        return tuple(
            Value(text, attribute.matchers(text, self._scope), (*path, index)) for index, text in enumerate(texts)
        )
