"""A decision tree as a picture is made of it: twigs with a few words each, however it is drawn then."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from authz.attributes import Issued, ListItem, Value
from authz.dispatch import Block, Branch, Family, Group, Item, Lane, Node
from authz.facts import Condition, Fact, Loose, Test
from authz.keys import Attribute
from authz.matcher import (
    Cidr,
    Exact,
    Exists,
    InList,
    IssuedTo,
    Matcher,
    Namespace,
    Port,
    Prefix,
    Present,
    ServiceAccount,
    SpiffeSuffix,
    Suffix,
    Template,
    TrustDomainPattern,
)
from authz.model import Action
from authz.trail import Entered, Found, Looked, Met, Outcome, Sifted, Step, Trail, Tried
from mesh.snapshot import Snapshot

__all__ = ["Kind", "Mark", "Twig", "document_of_twig", "picture"]

_FAN = 8
"""So many things that hang together are shown before the rest is counted; half as many a level further down."""
_LEAST = 2
_TRIED = 24
"""So many of them are shown that a request came to, besides those that led it to what decides."""
_RULES = 250
"""So many rules make a picture, besides those on the way of a request."""
_LISTED = 4
_DEMANDS = 8
_LONG = 72
_SPIFFE = "spiffe://"


class Kind(Enum):
    """What a twig stands for."""

    ROOT = "root"
    LOOK = "look-up"
    FACT = "fact"
    ALLOW = "allow"
    DENY = "deny"
    OTHER = "other rule"
    NODE = "rules"
    FOLD = "fold"


class Mark(Enum):
    """What a request had to do with it; `NONE` where none is followed."""

    NONE = ""
    LEADS = "leads to what decides"
    TAKEN = "taken"
    DEAD_END = "nowhere"
    FAILED = "failed"
    HELD = "held"
    DECIDES = "decides"
    UNSEEN = "not looked at"


@dataclass(frozen=True, slots=True)
class Twig:
    """A node of the picture: its words, what is to be said beside them, what a request made of it, and what hangs on it."""

    kind: Kind
    text: str
    note: str = ""
    mark: Mark = Mark.NONE
    twigs: tuple["Twig", ...] = ()


def picture(title: str, root: Node, snapshot: Snapshot, trail: Trail | None = None) -> Twig:
    """The tree from `root`, with the way that a request took through it."""
    artist = _Artist(snapshot, trail)
    title = _printable(title)
    steps = None if trail is None else trail.entered.steps
    twigs = tuple(artist.node(root, steps, depth=0))
    if trail is None:
        return Twig(Kind.ROOT, title, "" if twigs else "no rule stands before it", twigs=twigs)
    return Twig(Kind.ROOT, title, f"{trail.decision.verdict.value}: {trail.decision.reason}", _way(twigs), twigs)


def document_of_twig(twig: Twig) -> dict[str, Any]:
    """The picture as plain data."""
    return {
        "kind": twig.kind.value,
        "text": twig.text,
        "note": twig.note or None,
        "mark": twig.mark.value or None,
        "children": list(map(document_of_twig, twig.twigs)),
    }


Steps = Sequence[Step] | None
"""What a request did at some place; none where it has not been there, or there is no request."""

P = TypeVar("P")
S = TypeVar("S")


class _Artist:
    """Makes twigs of nodes, and of what a request did there."""

    def __init__(self, snapshot: Snapshot, trail: Trail | None) -> None:
        self._snapshot = snapshot
        self._policies = {policy.id: policy for policy in snapshot.policies}
        self._deciding = set() if trail is None else set(map(id, trail.deciding))
        self._unseen = Mark.NONE if trail is None else Mark.UNSEEN
        self._left = _RULES

    def node(self, node: Node, steps: Steps, *, depth: int) -> Iterator[Twig]:
        """What is in a node, in the order in which it is looked at."""
        went = {id(step.part): step for step in steps or ()}
        branches: list[tuple[Branch, Step | None]] = [(branch, went.get(id(branch))) for branch in node.branches]
        yield from self._fan(branches, partial(self.branch, depth=depth), depth, "look-up")
        for family in node.families:
            yield self.family(family, went.get(id(family)), depth=depth)
        yield from self.items(node.lanes, steps, depth=depth)
        for block in node.blocks:
            yield self.block(block, went.get(id(block)), depth=depth)

    def branch(self, branch: Branch, step: Step | None, *, depth: int) -> Twig:
        """A look-up, and what it may find."""
        looked = step if isinstance(step, Looked) else None
        found = {} if looked is None else {each.fact: each for each in looked.found}
        facts = [((fact, items), found.get(fact)) for fact, items in branch.children.items()]
        twigs = self._fan(facts, lambda part, step: self.fact(*part, step, depth=depth + 1), depth, "value")
        name = _attribute(branch.sense.attribute)
        if looked is None:
            return Twig(Kind.LOOK, name, "", self._unseen, twigs)
        leads = "" if found else ", which leads nowhere"
        return Twig(Kind.LOOK, name, f"is {_values(looked.values)}{leads}", _way(twigs, found), twigs)

    def fact(self, fact: Fact, items: Sequence[Item], found: Found | None, *, depth: int) -> Twig:
        """A value that a look-up may find, and what hangs on it."""
        twigs = tuple(self.items(items, None if found is None else found.steps, depth=depth))
        return Twig(Kind.FACT, _matcher(fact.predicate.matcher), "", _way(twigs) if found else self._unseen, twigs)

    def family(self, family: Family, step: Step | None, *, depth: int) -> Twig:
        """Look-ups by those names that a request has."""
        met = step if isinstance(step, Met) else None
        looked = {} if met is None else {id(each.part): each for each in met.looked}
        branches = list(chain.from_iterable(family.members.values()))
        pairs = [(branch, looked.get(id(branch))) for branch in branches]
        twigs = self._fan(pairs, partial(self.branch, depth=depth + 1), depth, "name")
        text = f"{branches[0].sense.attribute.key}: {_count(len(family.members), 'name')}"
        if met is None:
            return Twig(Kind.LOOK, text, "", self._unseen, twigs)
        return Twig(
            Kind.LOOK,
            text,
            f"has {_some(list(map(_text, met.names))) or 'none of them'}",
            _way(twigs, met.names),
            twigs,
        )

    def items(self, items: Sequence[Item], steps: Steps, *, depth: int) -> Iterator[Twig]:
        """What hangs on a fact, or the rules of a node to which nothing leads."""
        went = {id(step.part): step for step in steps or ()}
        pairs: list[tuple[Item, Step | None]] = [(item, went.get(id(item))) for item in items]
        yield from self._fan(pairs, partial(self.item, depth=depth), depth, "rule")

    def item(self, item: Item, step: Step | None, *, depth: int) -> Twig:
        """A rule, or a node of many."""
        if isinstance(item, Lane):
            return self.lane(item, step)
        steps = step.steps if isinstance(step, Entered) else None
        twigs = tuple(self.node(item, steps, depth=depth + 1))
        return Twig(Kind.NODE, "and then", "", self._unseen if steps is None else _way(twigs), twigs)

    def lane(self, lane: Lane, step: Step | None) -> Twig:
        """One way for a rule to hold, with what is still to be tried of it."""
        self._left -= 1
        kind, text = self._rule(lane)
        demands = [*map(_test, lane.tests), *map(_condition, lane.conditions)]
        if (more := len(demands) - _DEMANDS) > 0:
            demands[_DEMANDS:] = [f"{more:,} more"]
        note = f"if {' and '.join(demands)}" if demands else ""
        if not isinstance(step, Tried):
            return Twig(kind, text, note, self._unseen)
        match step.outcome:
            case Outcome.HELD:
                return Twig(kind, text, note, Mark.DECIDES if id(lane) in self._deciding else Mark.HELD)
            case Outcome.LATE:
                return Twig(kind, text, "comes too late: an earlier rule has matched", Mark.UNSEEN)
            case Outcome.FAILED:
                return Twig(kind, text, f"fails: {_failed(step)}", Mark.FAILED)

    def block(self, block: Block, step: Step | None, *, depth: int) -> Twig:
        """Rules that are looked at together, an attribute after the other."""
        sifted = step if isinstance(step, Sifted) else None
        if sifted is None:
            looks = [Twig(Kind.LOOK, _attribute(each.sense.attribute), "", self._unseen) for each in block.steps]
        else:
            looks = [
                Twig(Kind.LOOK, _attribute(sense.attribute), f"is {_values(values)}: {_count(left, 'rule')} left", mark)
                for sense, values, left in sifted.left
                for mark in [Mark.TAKEN if left else Mark.DEAD_END]
            ]
        tried: dict[int, Tried] = {} if sifted is None else {id(each.part): each for each in sifted.tried}
        pairs = [(lane, tried.get(id(lane))) for lane in block.lanes]
        twigs = (*looks, *self._fan(pairs, self.lane, depth, "rule"))
        text = f"{_count(len(block.lanes), 'rule')} at once"
        return Twig(Kind.NODE, text, "", self._unseen if sifted is None else _way(twigs), twigs)

    def _rule(self, lane: Lane) -> tuple[Kind, str]:
        match = lane.decision.match
        if match is None:
            return Kind.OTHER, lane.decision.reason
        policy = self._policies[match.policy]
        span = self._snapshot.place(match)
        where = f" ({_printable(span.file)}:{span.line})" if span else ""
        dry = "dry-run " if policy.dry_run else ""
        return _KINDS.get(policy.action, Kind.OTHER) if not dry else Kind.OTHER, (
            f"{dry}{policy.action.value} {match.policy}#{match.rule}{where}"
        )

    def _fan(
        self, pairs: Sequence[tuple[P, S | None]], drawn: Callable[[P, S | None], Twig], depth: int, what: str
    ) -> tuple[Twig, ...]:
        """What hangs together: all of it where that is little, what a request came to in any case, and how many more."""
        room = max(_LEAST, _FAN >> depth) if self._left > 0 else 0
        room = len(pairs) if len(pairs) == room + 1 else room  # to say "1 more" takes as much room as to show it
        shown: dict[int, Twig] = {}
        tried = 0
        for position, (part, step) in enumerate(pairs):
            if step is not None:
                twig = drawn(part, step)
                tried += 1
                if tried <= _TRIED or twig.mark in (Mark.DECIDES, Mark.LEADS):
                    shown[position] = twig
        for position, (part, step) in enumerate(pairs):
            if len(shown) >= room:
                break
            if step is None:
                shown[position] = drawn(part, None)
        twigs = [shown[position] for position in sorted(shown)]
        if more := len(pairs) - len(shown):
            twigs.append(Twig(Kind.FOLD, f"… {_count(more, f'more {what}')}", "", self._unseen))
        return tuple(twigs)


def _way(twigs: Iterable[Twig], found: object = True) -> Mark:  # noqa: FBT002  # whatever was found
    if any(twig.mark in (Mark.DECIDES, Mark.LEADS) for twig in twigs):
        return Mark.LEADS
    return Mark.TAKEN if found else Mark.DEAD_END


_KINDS = {Action.ALLOW: Kind.ALLOW, Action.DENY: Kind.DENY}


# In words -------------------------------------------------------------------------------------------------------------


def _attribute(attribute: Attribute) -> str:
    # The one key that ends with a dot names its filter before the brackets.
    if attribute.key.endswith("."):
        name, inner = attribute.argument
        return _printable(f"experimental.{name}[{inner}]")
    return attribute.key + "".join(f"[{_printable(name)}]" for name in attribute.argument)


def _test(test: Test) -> str:
    facts = sorted(_matcher(fact.predicate.matcher) for fact in test.among)
    return f"{_attribute(test.sense.attribute)} {'' if test.wanted else 'not '}{_any(facts)}"


def _condition(condition: Condition | None) -> str:
    match condition:
        case Loose():
            matchers = sorted(map(_matcher, condition.matchers))
            return f"{_attribute(condition.sense.attribute)} {'' if condition.wanted else 'not '}{_any(matchers)}"
        case Group():
            return f"one of its {_count(_size(condition.root), 'other way')} holds"
        case _:
            return "another condition"


def _failed(tried: Tried) -> str:
    match tried.failed:
        case Test():
            return f"{_test(tried.failed)}, and it is {_values(tried.values)}"
        case failed:
            return _condition(failed)


def _size(node: Node) -> int:
    """How many lanes are in a node, those that hang in several places counted once."""
    seen: set[int] = set()

    def numbers(item: Item) -> Iterator[int]:
        if id(item) in seen:
            return
        seen.add(id(item))
        if isinstance(item, Lane):
            yield item.number
            return
        families = [branch for family in item.families for some in family.members.values() for branch in some]
        for branch in (*item.branches, *families):
            for each in chain.from_iterable(branch.children.values()):
                yield from numbers(each)
        yield from (lane.number for lane in item.lanes)
        yield from (lane.number for block in item.blocks for lane in block.lanes)

    return len(set(numbers(node)))


def _matcher(matcher: Matcher) -> str:  # noqa: C901, PLR0912  # one case a matcher
    match matcher:
        case Exact(value):
            return _text(value)
        case Prefix(value):
            return f"prefix {_text(value)}*"
        case Suffix(value):
            return f"suffix *{_text(value)}"
        case Present():
            return "any but empty"
        case Exists():
            return "any"
        case SpiffeSuffix(value):
            return f"suffix *{_text(value)}"
        case Namespace(pieces):
            return _text("*".join(pieces))
        case ServiceAccount(namespace, name):
            return _text(f"{namespace}/{name}")
        case TrustDomainPattern(prefix, suffix):
            return _text(f"{prefix}*{suffix}")
        case Template(value):
            return f"template {_text(value)}"
        case Cidr(network):
            return f"in {network}"
        case Port(number):
            return str(number)
        case IssuedTo(issuer, subject):
            return f"issued by {_matcher(issuer)} to {_matcher(subject)}"
        case InList(inner):
            return f"element {_matcher(inner)}"


def _value(value: Value) -> str:
    match value:
        case str():
            return _text(value) or '""'
        case Issued(issuer, subject):
            return _text(f"{issuer}/{subject}")
        case ListItem(text):
            return f"[{_text(text)}]"
        case _:
            return str(value)


def _values(values: Sequence[Value]) -> str:
    return _some(list(map(_value, values))) or "absent"


def _text(text: str) -> str:
    """As policies write it, short, and with nothing in it that a terminal would take for more than a letter."""
    text = _printable(text.removeprefix(_SPIFFE))
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _any(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"one of {_some(words)}"


def _some(words: Sequence[str]) -> str:
    more = len(words) - _LISTED
    return ", ".join(words[:_LISTED]) + (f" and {more:,} more" if more > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
