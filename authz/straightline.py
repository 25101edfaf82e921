"""Straightline: the branches of a tree's root as one function without loops, calls and choices that can be spared.

Which attributes the root looks at and by which structures is known when the tree is made, and no request changes it.
Walking it as data costs more than all the look-ups; so the walk is written down once, as Python: a line for each
look-up there is.

The text is made of fixed lines and running numbers. Nothing that a policy says stands in it; what it needs is bound to
names.
"""

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from operator import itemgetter
from types import CodeType
from typing import cast

from authz.attributes import Attributes
from authz.dispatch import UNBOUND, Best, Branch, Item, Node, enter, place, search
from authz.facts import Known
from authz.index import Index

__all__ = ["Walk", "straightline"]

Walk = Callable[[Attributes, Best, Known], None]
"""As `dispatch.enter` from the root."""

_MANY = 8
"""Of so many values of one attribute each is looked up as it comes. Of more, what they lead to is gone to once."""

_BEGIN = """\
def walk(attributes, best, known):
    bound = UNBOUND
"""
_REST = """\
    if bound > first_rest:
        bound = enter(rest, attributes, best, known, bound)
"""
_BRANCH = """\
    if bound > first{n}:
        values = read{n}(attributes, argument{n})
        if len(values) > MANY:
            bound = search(sorted(find{n}(values), key=place), attributes, best, known, bound)
            values = ()
        for value in values:
"""
_EXACT = """\
            if (held := exact{n}(value)) is not None:
                bound = search(held, attributes, best, known, bound)
"""
_TEXT = """\
            if isinstance(value, str):
"""
_PREFIXES = """\
                if (entry := prefixes{n}(value[:prefix{n}])) is not None:
                    held, rung = entry
                    while rung is not None:
                        length, table, rung = rung
                        if (entry := table.get(value[:length])) is not None:
                            held, rung = entry
                    if held:
                        bound = search(held, attributes, best, known, bound)
"""
_SUFFIXES = """\
                if (entry := suffixes{n}(value[-suffix{n}:])) is not None:
                    held, rung = entry
                    while rung is not None:
                        length, table, rung = rung
                        if (entry := table.get(value[-length:])) is not None:
                            held, rung = entry
                    if held:
                        bound = search(held, attributes, best, known, bound)
"""
_NETWORKS = """\
            if isinstance(value, IPv{version}Address):
                bits = int(value)
                if (entry := networks{version}_{n}(bits >> shift{version}_{n})) is not None:
                    held, rung = entry
                    while rung is not None:
                        length, table, rung = rung
                        if (entry := table.get(bits >> {width} - length)) is not None:
                            held, rung = entry
                    if held:
                        bound = search(held, attributes, best, known, bound)
"""
_PROBE = """\
            if held := probe{n}_{m}(value):
                held = held if len(held) == 1 else sorted(held, key=place)
                bound = search(held, attributes, best, known, bound)
"""


def straightline(root: Node) -> Walk:
    """The walk from `root`. What hangs on its branches is searched as data, as are its families, lanes and blocks."""
    names: dict[str, object] = {
        "IPv4Address": IPv4Address,
        "IPv6Address": IPv6Address,
        "MANY": _MANY,
        "UNBOUND": UNBOUND,
        "enter": enter,
        "place": place,
        "search": search,
    }
    parts = [(branch.first, _branch(branch, number, names)) for number, branch in enumerate(root.branches)]
    firsts = [place(lane) for lane in (*root.lanes, *(lane for block in root.blocks for lane in block.lanes))]
    firsts += [family.first for family in root.families]
    if firsts:
        names["first_rest"] = first = min(firsts)
        names["rest"] = Node(first, (), root.families, root.lanes, root.blocks)
        parts.append((first, _REST))
    # What may decide before others comes before them: where it does, those are not even read.
    text = _BEGIN + "".join(text for _, text in sorted(parts, key=itemgetter(0)))
    exec(_code(text), names)  # noqa: S102  # our own lines, see above
    # A function that its own names know ends by a collection alone, and a server keeps the collector from looking at trees.
    return cast(Walk, names.pop("walk"))


def _branch(branch: Branch, number: int, names: dict[str, object]) -> str:
    """The lines for one branch; what they speak of is bound in `names`."""
    index = Index({fact.predicate.matcher: items for fact, items in branch.children.items()}, within=_together)
    sense = branch.sense
    n = str(number)
    names |= {f"first{n}": branch.first, f"read{n}": sense.read, f"argument{n}": sense.argument, f"find{n}": index.find}
    lines = [_BRANCH]
    if index.exact:
        names[f"exact{n}"] = index.exact.get
        lines.append(_EXACT)
    if index.prefixes is not None or index.suffixes is not None:
        lines.append(_TEXT)
    for rung, lookups, length, template in (
        (index.prefixes, "prefixes", "prefix", _PREFIXES),
        (index.suffixes, "suffixes", "suffix", _SUFFIXES),
    ):
        if rung is not None:
            names[f"{length}{n}"], table, _ = rung
            names[f"{lookups}{n}"] = table.get
            lines.append(template)
    for version, width, rung in (("4", 32, index.v4), ("6", 128, index.v6)):
        if rung is not None:
            bits, table, _ = rung
            names[f"shift{version}_{n}"] = width - bits
            names[f"networks{version}_{n}"] = table.get
            lines.append(_NETWORKS.replace("{version}", version).replace("{width}", str(width)))
    for m, probe in enumerate(index.probes):
        names[f"probe{n}_{m}"] = probe
        lines.append(_PROBE.replace("{m}", str(m)))
    return "".join(lines).replace("{n}", n)


def _together(inner: tuple[Item, ...], outer: tuple[Item, ...]) -> tuple[Item, ...]:
    """What hangs on a prefix within another one, in its order."""
    return tuple(sorted(inner + outer, key=place))


@lru_cache(maxsize=256)
def _code(text: str) -> CodeType:
    """Compiling takes a millisecond, and trees that look at their attributes in the same ways have the same text."""
    return compile(text, "<decision tree>", "exec")
