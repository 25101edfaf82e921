"""Aim: no set of rules and no request makes a decision blow up, in time or in memory.

Each set is the worst of its kind that we could think of: rules that lie within each other, rules that nothing leads to,
rules of which all parts but one hold, one rule with all the values. Each is compiled at a tenth of its size and at its
size, so that the memory a rule takes can be compared, and asked what hurts it most. `size` is ten thousand rules, or
values, or more.
"""

import random
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from authz.attributes import Attributes
from authz.model import Condition, Operation, Policy, Rule, Source
from authz.tree import DecisionTree, compile_policies
from benchmarks.row import Better, Row

TRUST_DOMAINS = ("cluster.local",)
SIZE = 10_000
DECISIONS = 301


@dataclass(frozen=True, slots=True)
class Set:
    """A set of rules by its size, and the requests that hurt it, by what they do."""

    name: str
    rules: Callable[[int], Iterator[Rule]]
    requests: Callable[[int], dict[str, Attributes]]

    def policies(self, size: int) -> tuple[Policy, ...]:
        """A policy a rule: those of one policy decide in the order of their numbers as text."""
        return tuple(
            Policy(namespace="shop", name=f"p{number:06}", rules=(rule,))
            for number, rule in enumerate(self.rules(size))
        )


def _path(*values: str, unwanted: tuple[str, ...] = ()) -> Rule:
    return Rule(operations=(Operation(paths=values, not_paths=unwanted),))


def _nested(size: int) -> Iterator[str]:
    return ("/" + "a" * length for length in range(1, size + 1))


def _deep(size: int) -> dict[str, Attributes]:
    return {
        "within all": Attributes(path="/" + "a" * size, host="a" * size, headers={"x-a": ("1",)}),
        "within half": Attributes(path="/" + "a" * (size // 2) + "b", host="b" + "a" * (size // 2)),
        "within none": Attributes(path="/b" + "a" * size, host="a" * size + "b"),
    }


def _claims(count: int, value: str) -> dict[str, object]:
    return {f"c{number}": value for number in range(count)}


def _nest(depth: int) -> dict[str, object]:
    claims: dict[str, object] = {"leaf": "v"}
    for number in reversed(range(depth)):
        claims = {f"c{number}": claims}
    return claims


def _when(key: str, *values: str, unwanted: tuple[str, ...] = ()) -> Condition:
    return Condition(key=key, values=values, not_values=unwanted)


def _partly(size: int) -> Iterator[Rule]:
    """Of four things each rule demands, the request has three, and lacks another one each time."""
    for number in range(size):
        lacking = number % 4
        yield Rule(
            sources=(Source(namespaces=("lacking" if lacking == 0 else "shop",)),),
            operations=(
                Operation(
                    paths=("/lacking/*" if lacking == 1 else "/v1/*",),
                    hosts=("lacking" if lacking == 2 else "*.example.com",),
                    not_methods=(f"M{number}",),
                ),
            ),
            conditions=(_when("request.headers[x-tier]", "lacking" if lacking == 3 else "gold"),),
        )


def _popular(size: int) -> Iterator[Rule]:
    """Every value is shared by hundreds of rules, and only all of them together by few."""
    for number, (namespace, tier, method, host) in enumerate(product(range(10), range(10), range(4), range(25))):
        if number == size:
            return
        yield Rule(
            sources=(Source(namespaces=(f"n{namespace}",)),),
            operations=(Operation(methods=(f"M{method}",), hosts=(f"h{host}",), not_paths=(f"/x{number}",)),),
            conditions=(_when("request.headers[x-tier]", f"t{tier}"),),
        )


def _overlapping(size: int) -> Iterator[Rule]:
    """Each rule has forty of four hundred values of three things: whatever parts the rules has them on many sides."""
    source = random.Random(1)
    for _ in range(size // 10):
        some = [sorted(source.sample(range(400), 40)) for _ in range(3)]
        yield Rule(
            sources=(Source(namespaces=tuple(f"n{k}" for k in some[0])),),
            operations=(Operation(paths=tuple(f"/p{k}" for k in some[1]), hosts=tuple(f"h{k}" for k in some[2])),),
            conditions=(_when("request.headers[x-tier]", "never"),),
        )


def _shapes(size: int) -> Iterator[Rule]:
    """Templates of as many shapes, all of which fit one path."""
    for segments in product(("a", "{*}"), repeat=13):
        if size == 0:
            return
        size -= 1
        yield _path("/" + "/".join(segments) + "/{**}")


_SHOP = ("spiffe://cluster.local/ns/shop/sa/web",)
_ORDINARY = Attributes(
    identities=_SHOP,
    path="/v1/x",
    host="a.example.com",
    method="GET",
    headers={"x-tier": ("gold",)},
    claims={"iss": "i"},
)

SETS: tuple[Set, ...] = (
    Set("prefixes of one path, shortest first", lambda n: map(_path, (f"{p}*" for p in _nested(n))), _deep),
    Set("prefixes of one path, longest first", lambda n: map(_path, (f"{p}*" for p in [*_nested(n)][::-1])), _deep),
    Set(
        "prefixes of one path, each with an exception",
        lambda n: (
            Rule(
                operations=(Operation(paths=(f"{p}*",)),),
                conditions=(_when("request.headers[x-a]", unwanted=("1", p)),),
            )
            for p in [*_nested(n)][::-1]
        ),
        _deep,
    ),
    Set(
        "prefixes of one path with suffixes of one host",
        lambda n: (
            Rule(operations=(Operation(paths=(f"/{'a' * i}*",), hosts=(f"*{'a' * (n - i)}",)),)) for i in range(n)
        ),
        _deep,
    ),
    Set(
        "exceptions for prefixes of one path",
        lambda n: (_path(unwanted=(f"{p}*",)) for p in _nested(n)),
        _deep,
    ),
    Set(
        "as many suffixes",
        lambda n: (_path(f"*/export{i}") for i in range(n)),
        lambda n: {"last": Attributes(path=f"/x/export{n - 1}"), "none": Attributes(path="/x/export")},
    ),
    Set(
        "as many exceptions",
        lambda n: (_path(unwanted=(f"/x{i}",)) for i in range(n)),
        lambda n: {
            "first": Attributes(path="/x0"),
            "last": Attributes(path=f"/x{n - 1}"),
            "none": Attributes(path="/y"),
        },
    ),
    Set(
        "as many exceptions, and all share one that holds",
        lambda n: (_path(unwanted=(f"/x{i}", "/all*")) for i in range(n)),
        lambda _: {"none": Attributes(path="/all")},
    ),
    Set(
        "exceptions for as many headers",
        lambda n: (Rule(conditions=(_when(f"request.headers[x-{i}]", unwanted=("1",)),)) for i in range(n)),
        lambda n: {
            "one": _ORDINARY,
            "all but the last": Attributes(headers={f"x-{i}": ("1",) for i in range(n - 1)}),
        },
    ),
    Set(
        "one rule with all values",
        lambda n: iter(
            [
                _path(
                    *(f"/e{i}" for i in range(n)),
                    *(f"/p{i}/*" for i in range(n)),
                    unwanted=tuple(f"*-{i}" for i in range(n)),
                )
            ]
        ),
        lambda n: {"last": Attributes(path=f"/p{n - 1}/x"), "excepted": Attributes(path=f"/p1/x-{n - 1}")},
    ),
    Set(
        "ten values a rule, each shared by ten rules",
        lambda n: (_path(*(f"/x{(i + k) % n}" for k in range(10))) for i in range(n)),
        lambda n: {"last": Attributes(path=f"/x{n - 1}"), "none": Attributes(path="/y")},
    ),
    Set(
        "rules that hold but for one part",
        _partly,
        lambda _: {"none": _ORDINARY},
    ),
    Set(
        "values that are common, and rare together",
        _popular,
        lambda _: {
            "last": Attributes(
                identities=("spiffe://cluster.local/ns/n9/sa/x",),
                method="M3",
                host="h24",
                headers={"x-tier": ("t9",)},
                path="/",
            )
        },
    ),
    Set(
        "forty of four hundred values, three times",
        _overlapping,
        lambda _: {
            "none": Attributes(
                identities=("spiffe://cluster.local/ns/n7/sa/x",),
                path="/p77",
                host="h177",
                headers={"x-tier": ("gold",)},
            )
        },
    ),
    Set(
        "templates of four thousand shapes",
        lambda n: _shapes(n * 4096 // SIZE),
        lambda _: {"all": Attributes(path="/" + "a/" * 13 + "x"), "none": Attributes(path="/" + "b/" * 20)},
    ),
    Set(
        "sources and operations, a hundred of each a rule",
        lambda n: (
            Rule(
                sources=tuple(Source(namespaces=(f"n{i}-{k}",)) for k in range(100)),
                operations=tuple(Operation(paths=(f"/p{i}/{k}",)) for k in range(100)),
            )
            for i in range(n // 100)
        ),
        lambda n: {
            "last": Attributes(identities=(f"spiffe://td/ns/n{n // 100 - 1}-99/sa/x",), path=f"/p{n // 100 - 1}/99"),
        },
    ),
    Set(
        "a claim two hundred deep",
        lambda n: (
            Rule(
                conditions=(_when("request.auth.claims" + "".join(f"[c{k}]" for k in range(200)) + "[leaf]", f"v{i}"),)
            )
            for i in range(n // 10)
        ),
        lambda _: {"none": Attributes(claims=_nest(200))},
    ),
    Set(
        "two hundred claims a rule",
        lambda n: (
            Rule(conditions=tuple(_when(f"request.auth.claims[c{k}]", "v" if k != i else "w") for k in range(200)))
            for i in range(n // 100)
        ),
        lambda _: {"none": Attributes(claims=_claims(200, "v"))},
    ),
)


def _slowest(result: Any) -> float:
    return float(max(microseconds for one in result for microseconds in one["decision_us"].values()))


def _within(result: Any) -> float:
    return float(sum(max(one["decision_us"].values()) <= _BOUND for one in result))


_BOUND = 20
ROWS = (
    Row("sets made to hurt: the slowest decision", _BOUND, _slowest, "µs"),
    Row("sets made to hurt: how many of them stay within 20 µs", len(SETS), _within, "sets", Better.MORE),
)


def measure() -> list[dict[str, object]]:
    """For each set: seconds to compile, memory at a tenth of the size and at the size, and microseconds of a decision."""
    return [_measure(one) for one in SETS]


def _measure(one: Set) -> dict[str, object]:
    small, _ = _memory(one, SIZE // 10)
    large, tree = _memory(one, SIZE)
    policies = one.policies(SIZE)
    started = time.perf_counter()
    compile_policies(policies, trust_domains=TRUST_DOMAINS)
    seconds = time.perf_counter() - started
    return {
        "set": one.name,
        "compile_seconds": round(seconds, 3),
        "megabytes_at_a_tenth": round(small / 1e6, 2),
        "megabytes": round(large / 1e6, 2),
        "decision_us": {name: _microseconds(tree, request) for name, request in one.requests(SIZE).items()},
    }


def _memory(one: Set, size: int) -> tuple[int, DecisionTree]:
    policies = one.policies(size)
    tracemalloc.start()
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used, tree


def _microseconds(tree: DecisionTree, request: Attributes) -> float:
    times = []
    for _ in range(DECISIONS):
        started = time.perf_counter_ns()
        tree.decide(request)
        times.append((time.perf_counter_ns() - started) / 1000)
    return round(statistics.median(times), 2)
