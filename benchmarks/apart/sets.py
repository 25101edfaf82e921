"""Sets of rules and requests that every engine can express: paths, and in the mixed set a caller and a method with them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from authz.attributes import Attributes
from authz.model import Condition, Operation, Policy, Rule

__all__ = ["CALLER", "SETS", "Asked", "Wanted", "asked", "attributes", "near_misses", "policies", "wanted"]

CALLER = "x-caller"
"""The header that says who calls: all engines read it without certificates."""

PATHS = {"exact path": "/v1/items{}", "path prefix": "/v1/things{}/*", "path suffix": "*/export{}"}
SETS = (*PATHS, "mixed")
CALLERS = 97


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule: a pattern of paths, with a star at most at one end; `None` is anything."""

    path: str
    caller: str | None
    method: str | None


class Asked(NamedTuple):
    """A request."""

    path: str
    caller: str
    method: str


def wanted(name: str, number: int) -> Wanted:
    """The rule of that number."""
    if name != "mixed":
        return Wanted(PATHS[name].format(number), None, None)
    pattern = list(PATHS.values())[number % len(PATHS)].format(number)
    return Wanted(pattern, f"caller{number % CALLERS}", ("GET", "POST")[number % 2])


def asked(name: str, size: int, count: int, seed: int) -> Iterator[Asked]:
    """In turn one that meets the first rule, the last, one drawn by lot, and none. No two are the same."""
    source = random.Random(seed)
    for _ in range(count // 4):
        for number in (0, size - 1, source.randrange(size)):
            rule, noise = wanted(name, number), f"{source.getrandbits(40):010x}"
            path = f"/{noise}{rule.path[1:]}" if rule.path.startswith("*") else rule.path.replace("*", noise)
            yield Asked(path, rule.caller or f"caller{number % CALLERS}", rule.method or "GET")
        yield Asked(f"/v2/{source.getrandbits(40):010x}/x", f"caller{source.randrange(CALLERS)}", "GET")


def near_misses(name: str, size: int) -> list[Asked]:
    """Requests of the rules that would come next: all but the number is right, and nothing lets them through."""
    wants = [wanted(name, number) for number in range(size, size + 12)]
    return [
        Asked(
            want.path.replace("*", "/x" if want.path.startswith("*") else "x"), want.caller or "a", want.method or "GET"
        )
        for want in wants
    ]


def policies(name: str, size: int) -> tuple[Policy, ...]:
    """The rules as meshward has them, in policies of a hundred."""
    rules = [_rule(wanted(name, number)) for number in range(size)]
    return tuple(
        Policy(namespace="shop", name=f"p{start:06}", rules=tuple(rules[start : start + 100]))
        for start in range(0, size, 100)
    )


def _rule(rule: Wanted) -> Rule:
    methods = () if rule.method is None else (rule.method,)
    key = f"request.headers[{CALLER}]"
    conditions = () if rule.caller is None else (Condition(key=key, values=(rule.caller,)),)
    return Rule(operations=(Operation(paths=(rule.path,), methods=methods),), conditions=conditions)


def attributes(request: Asked) -> Attributes:
    """The request as meshward has it."""
    return Attributes(method=request.method, path=request.path, headers={CALLER: (request.caller,)})
