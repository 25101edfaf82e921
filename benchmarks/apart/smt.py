"""The same question, whether anything is newly denied, for a solver of the theory of strings; run as `python -m benchmarks.apart.smt SOLVER SIZE SECONDS`.

Each rule is a conjunction over four strings, as a direct encoding of our rules would have it: the path, the caller, the host and the
method. Prints JSON: seconds, and what the solver says: `sat`, `unsat` or `unknown`.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from authz.matcher import Exact, Prefix, SpiffeSuffix, Suffix
from authz.predicates import LoweredRule, Part, Predicate
from benchmarks.apart.versions import lowered_versions

_NAMES = ("source.principal", "request.path", "request.host", "request.method")


def main() -> None:
    """Ask once, and print."""
    solver, size, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    old, new = lowered_versions(size)
    started = time.perf_counter()
    answer = {"z3": _z3, "cvc5": _cvc5}[solver](old, new, seconds)
    print(json.dumps({"seconds": round(time.perf_counter() - started, 3), "answer": answer}))


def _formula(rules: list[LoweredRule], ops: Any, test: Callable[[Predicate], Any]) -> Any:
    def part(clauses: Part) -> Any:
        held = []
        for clause in clauses:
            if clause.wanted:
                held.append(ops.any_of([test(each) for each in clause.wanted]))
            held += [ops.no(test(each)) for each in clause.unwanted]
        return ops.all_of(held)

    return ops.any_of(
        [
            ops.all_of([ops.any_of(list(map(part, parts))) for parts in (rule.sources, rule.operations)])
            for rule in rules
        ]
    )


def _z3(old: list[LoweredRule], new: list[LoweredRule], seconds: float) -> str:
    import z3  # noqa: PLC0415  # each process has one of the two

    class Ops:
        any_of = staticmethod(z3.Or)
        all_of = staticmethod(z3.And)
        no = staticmethod(z3.Not)

    texts = {name: z3.String(name) for name in _NAMES}

    def test(predicate: Predicate) -> Any:
        text = texts[predicate.attribute.key]
        match predicate.matcher:
            case Exact(value):
                return text == z3.StringVal(value)
            case Prefix(value):
                return z3.PrefixOf(z3.StringVal(value), text)
            case Suffix(value) | SpiffeSuffix(value):
                return z3.SuffixOf(z3.StringVal(value), text)
        raise NotImplementedError(predicate)

    solver = z3.Solver()
    solver.set("timeout", int(seconds * 1000))
    solver.add(_formula(old, Ops, test), z3.Not(_formula(new, Ops, test)))
    return str(solver.check())


def _cvc5(old: list[LoweredRule], new: list[LoweredRule], seconds: float) -> str:
    import cvc5  # noqa: PLC0415  # as above
    from cvc5 import Kind  # noqa: PLC0415

    manager = cvc5.TermManager()
    solver = cvc5.Solver(manager)
    solver.setLogic("QF_S")
    solver.setOption("tlimit-per", str(int(seconds * 1000)))
    texts = {name: manager.mkConst(manager.getStringSort(), name) for name in _NAMES}

    def joined(kind: Kind, terms: list[Any], empty: bool) -> Any:  # noqa: FBT001  # which constant an empty one is
        return manager.mkBoolean(empty) if not terms else terms[0] if len(terms) == 1 else manager.mkTerm(kind, *terms)

    class Ops:
        any_of = staticmethod(lambda terms: joined(Kind.OR, list(terms), False))  # noqa: FBT003
        all_of = staticmethod(lambda terms: joined(Kind.AND, list(terms), True))  # noqa: FBT003
        no = staticmethod(lambda term: manager.mkTerm(Kind.NOT, term))

    def test(predicate: Predicate) -> Any:
        text = texts[predicate.attribute.key]
        match predicate.matcher:
            case Exact(value):
                return manager.mkTerm(Kind.EQUAL, text, manager.mkString(value))
            case Prefix(value):
                return manager.mkTerm(Kind.STRING_PREFIX, manager.mkString(value), text)
            case Suffix(value) | SpiffeSuffix(value):
                return manager.mkTerm(Kind.STRING_SUFFIX, manager.mkString(value), text)
        raise NotImplementedError(predicate)

    solver.assertFormula(_formula(old, Ops, test))
    solver.assertFormula(Ops.no(_formula(new, Ops, test)))
    result = solver.checkSat()
    return "sat" if result.isSat() else "unsat" if result.isUnsat() else "unknown"


if __name__ == "__main__":
    main()
