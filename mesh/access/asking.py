"""Asking: the formulas of callers and routes before one workload, and requests for which they hold."""

from collections.abc import Iterable, Iterator

from authz.analysis.access import IDENTIFIED, TOKEN, Access, Guarding, LiteralRule
from authz.analysis.circuit import FALSE, TRUE
from authz.analysis.space import Case
from authz.attributes import Protocol
from authz.decision import Decision, Stage, Verdict
from authz.keys import Attribute
from authz.matcher import Exact, IssuedTo, Matcher, Port, Present, matches
from authz.predicates import Clause, LoweredRule, Predicate
from mesh.access.callers import IDENTITY_KEYS, Caller, CallerKind, can_be
from mesh.access.cells import Answer, Before, Seen
from mesh.access.routes import METHOD, PATH, PORT, Route, patterns
from mesh.proving.ground import Ground, Shared

__all__ = ["Asking", "clauses", "predicates"]

_ISSUER = Attribute("request.auth.claims", ("iss",))
_SPOKEN_FOR = Predicate(Attribute("request.auth.principal"), IssuedTo(Present(), Present()))
"""That a token says whom it speaks for. Hardly any does not."""
_WHOLE_PATH = Attribute("request.headers", (":path",))


class Asking:
    """The formulas of one protocol before workloads that are guarded alike, and the rules that they are made of.

    Ask for all literals before the first answer: then what there can be is settled.
    """

    def __init__(self, shared: Shared, new: Guarding, old: Guarding | None = None) -> None:
        self.ground = Ground(shared, new, old=old)
        self._space = self.ground.space
        self._access: Access = self.ground.new
        self._rules = {rule.match: rule.lowered for rule in _all_rules(self._access)}
        before = () if self.ground.old is None else _all_rules(self.ground.old)
        self.rules = tuple(dict.fromkeys((*self._rules.values(), *(rule.lowered for rule in before))))
        """The rules that have a say, in either version."""
        self._shapes = {shape: self._test(PATH, shape) for shape in patterns(self.rules, PATH)}
        read = dict.fromkeys(each for rule in self.rules for each in predicates(rule))
        self._told_apart = [each for each in read if each.attribute.key in IDENTITY_KEYS]
        self._whole_paths = any(each.attribute == _WHOLE_PATH for each in read)

    # Literals ---------------------------------------------------------------------------------------------------------

    def caller(self, caller: Caller) -> int:
        """The literal that holds for what this caller asks."""
        predicate = caller.predicate
        literal = self._space.literal
        return self._asking(caller, -literal(IDENTIFIED) if predicate is None else literal(predicate))

    def callers_like(self, caller: Caller) -> int:
        """The literal that holds for what anybody asks whom no rule tells from this caller."""
        literal, identity = self._space.literal, caller.identity
        if identity is None or not can_be(identity):
            return self.caller(caller)
        held = [literal(IDENTIFIED)]
        for each in self._told_apart:
            if matches(each.matcher, identity):
                if isinstance(each.matcher, Exact):
                    # It decides all the others.
                    return self._asking(caller, literal(each))
                held.append(literal(each))
            else:
                held.append(-literal(each))
        return self._asking(caller, self._space.circuit.all_of(held))

    def _asking(self, caller: Caller, whose: int) -> int:
        literal, held = self._space.literal, [whose]
        if caller.kind is CallerKind.PLAINTEXT:
            held.append(-literal(TOKEN))
        if caller.issuer is not None:
            held += [literal(Predicate(_ISSUER, Exact(caller.issuer))), literal(_SPOKEN_FOR), self.ground.taken]
        # One that shows a token that is not good is denied whoever it is, and that is not worth a word.
        return self._space.circuit.all_of((*held, -self._access.untaken))

    def route(self, route: Route, port: int | None) -> int:
        """The literal that holds for requests of this route; `port` is that of the workload, if it has one only."""
        path = self._other_paths() if route.path is None else self._test(PATH, Exact(route.path))
        return self._of_route(route, path, route.port or port)

    def routes_like(self, route: Route, port: int | None) -> int:
        """The literal that holds for whatever no rule tells from a request of this route."""
        path = self._other_paths() if route.path is None else self._paths_like(route.path)
        return self._of_route(route, path, route.port or port)

    def _of_route(self, route: Route, path: int, port: int | None) -> int:
        held = [] if port is None else [self._test(PORT, Port(port))]
        if route.protocol is Protocol.HTTP:
            methods = self._space.circuit.any_of([self._test(METHOD, Exact(method)) for method in route.methods])
            held += [-methods if route.others else methods, path]
        return self._space.circuit.all_of(held)

    def _other_paths(self) -> int:
        return self._space.circuit.all_of([-shape for shape in self._shapes.values()])

    def _paths_like(self, path: str) -> int:
        # A condition on `:path` reads a path together with its query, and so tells more paths apart.
        if Exact(path) in self._shapes or self._whole_paths:
            return self._test(PATH, Exact(path))
        shapes = self._shapes.items()
        return self._space.circuit.all_of([its if matches(shape, path) else -its for shape, its in shapes])

    def _test(self, attribute: Attribute, matcher: Matcher) -> int:
        return self._space.literal(Predicate(attribute, matcher))

    # Answers ----------------------------------------------------------------------------------------------------------

    def find(self, caller: int, route: int, verdict: Verdict) -> Case | None:
        """A request of that caller on that route for which the verdict is this."""
        allowed = self._access.allowed
        wanted = allowed if verdict is Verdict.ALLOW else -allowed
        return self._space.find(*self.ground.among, caller, route, wanted, simplest=True)

    def before(self, caller: int, route: int) -> Before | None:
        """What the older version answered, if that is not what the newer one answers to each request."""
        new, old = self._access.allowed, None if self.ground.old is None else self.ground.old.allowed
        if old is None:
            return None
        allowed, denied = self.ground.find(caller, route, new, -old), self.ground.find(caller, route, -new, old)
        if allowed is None and denied is None:
            return None
        was = Answer.of(
            allowed=denied is not None or self.ground.possible(caller, route, old),
            denied=allowed is not None or self.ground.possible(caller, route, -old),
        )
        return Before(was, allowed, denied)

    def differing(self, allowed: Seen, denied: Seen) -> Iterator[str]:
        """What tells two requests apart, of all that the rules read which decide them."""
        found: dict[str, None] = {}
        for seen in (allowed, denied):
            for clause in self._clauses(seen.decision):
                if any(
                    self._holds(each, allowed.case) != self._holds(each, denied.case)
                    for each in (*clause.wanted, *clause.unwanted)
                ):
                    found[_words(clause.attribute)] = None
        if denied.decision.stage is Stage.CUSTOM:
            found["an external authorizer"] = None
        yield from found or ("what the rules say together",)

    def _clauses(self, decision: Decision) -> Iterable[Clause]:
        rule = None if decision.match is None else self._rules.get(decision.match)
        return () if rule is None else clauses(rule)

    def _holds(self, predicate: Predicate, case: Case) -> bool:
        literal = self._space.literal(predicate)
        return literal == TRUE or (literal != FALSE and (case.holds[abs(literal)] > 0) == (literal > 0))


def _all_rules(access: Access) -> tuple[LiteralRule, ...]:
    return (*access.custom, *access.deny, *access.allow)


def clauses(rule: LoweredRule) -> Iterator[Clause]:
    """All that a rule asks, wherever it stands in it."""
    for part in (*rule.sources, *rule.operations, rule.conditions):
        yield from part


def predicates(rule: LoweredRule) -> Iterator[Predicate]:
    """What is tried for a rule."""
    for clause in clauses(rule):
        yield from (*clause.wanted, *clause.unwanted)


def _words(attribute: Attribute) -> str:
    if attribute.key.endswith("."):
        return f"{attribute.key}{attribute.argument[0].removeprefix('envoy.filters.')}[{attribute.argument[1]}]"
    return attribute.key + "".join(f"[{name}]" for name in attribute.argument)
