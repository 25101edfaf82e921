"""Routes: what may be asked of one workload, as far as its policies tell requests apart by method, path and port."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from authz.attributes import Protocol
from authz.keys import Attribute
from authz.matcher import TEMPLATE_OPERATORS, Exact, Exists, Matcher, Prefix, Present, Suffix, Template, matches
from authz.predicates import LoweredRule, Part, Predicate

__all__ = ["METHOD", "PATH", "PORT", "Route", "patterns", "routes"]

METHOD = Attribute("request.method")
PATH = Attribute("request.path")
PORT = Attribute("destination.port")

_FILLERS = ("x", "y", "z", "any", "some", "qq7")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A way to ask: one of `methods`, or one that is none of them if `others`, for `path`, or one that no policy names if it is `None`.

    A route over TCP has neither. `port` is given where the workload has several, and policies may tell them apart.
    """

    protocol: Protocol = Protocol.HTTP
    methods: tuple[str, ...] = ()
    others: bool = False
    path: str | None = None
    port: int | None = None

    @property
    def name(self) -> str:
        """The route as people write it."""
        port = "" if self.port is None else f" on port {self.port}"
        if self.protocol is Protocol.TCP:
            return f"TCP{port}"
        rest = "other" if self.methods else "any"
        return f"{rest if self.others else ','.join(self.methods)} {self.path or '(other paths)'}{port}"


def patterns(rules: Iterable[LoweredRule], attribute: Attribute) -> list[Matcher]:
    """How rules tell the values of an attribute apart, those aside that hold for every value."""
    found: dict[Matcher, None] = {}
    for rule in rules:
        for part in (*rule.operations, rule.conditions):
            for clause in part:
                if clause.attribute == attribute:
                    found.update((each.matcher, None) for each in (*clause.wanted, *clause.unwanted))
    return [each for each in found if not isinstance(each, (Present, Exists)) and each not in (Prefix("/"), Prefix(""))]


def routes(rules: Sequence[LoweredRule], protocol: Protocol, ports: Sequence[int | None]) -> list[Route]:
    """The routes over one protocol, in the order of their paths; what no policy names stands last."""
    if protocol is Protocol.TCP:
        return [Route(protocol=protocol, port=port) for port in ports]
    shapes = patterns(rules, PATH)
    paths: set[str] = {_concrete(shape, shapes) for shape in shapes}
    return [
        route
        for path in (*sorted(paths), None)
        for port in ports
        for route in _by_method(path, port, _methods(rules, path, shapes))
    ]


def _by_method(path: str | None, port: int | None, methods: Sequence[str]) -> Iterable[Route]:
    for method in methods:
        yield Route(methods=(method,), path=path, port=port)
    yield Route(methods=tuple(methods), others=True, path=path, port=port)


def _methods(rules: Iterable[LoweredRule], path: str | None, shapes: Sequence[Matcher]) -> list[str]:
    """The methods that are named where a path is looked at, too, or none is."""
    found: dict[str, None] = {}
    for rule in rules:
        for part in rule.operations:
            if _reaches(part, path, shapes):
                named = (
                    each
                    for clause in part
                    if clause.attribute == METHOD
                    for each in _all(clause.wanted, clause.unwanted)
                )
                found.update((each.matcher.value, None) for each in named if isinstance(each.matcher, Exact))
    return sorted(found)


def _all(*predicates: tuple[Predicate, ...]) -> Iterable[Predicate]:
    return (each for some in predicates for each in some)


def _reaches(part: Part, path: str | None, shapes: Sequence[Matcher]) -> bool:
    for clause in part:
        if clause.attribute == PATH and clause.wanted:
            wanted = [each.matcher for each in clause.wanted]
            if path is None:
                return not all(each in shapes for each in wanted)
            return any(matches(each, path) for each in wanted)
    return True


def _concrete(shape: Matcher, shapes: Sequence[Matcher]) -> str:
    """A path that a pattern holds for, and that no other names letter by letter if there is one."""
    made = [_filled(shape, filler) for filler in _FILLERS]
    fewest = [sum(matches(other, path) for other in shapes) for path in made]
    return made[fewest.index(min(fewest))]


def _filled(shape: Matcher, filler: str) -> str:
    match shape:
        case Prefix(text):
            return f"{text or '/'}{filler}"
        case Suffix(text):
            return f"/{filler}{text}"
        case Template(text):
            for operator in TEMPLATE_OPERATORS:
                text = text.replace(operator, filler)
            return text
        case Exact(text):
            return text
        case _:
            raise AssertionError(shape)
