"""Claim: what a decision costs grows far slower than the rules.

Mixed rules (exact paths, prefixes, suffixes, headers, ranges, negations) for one workload, at several sizes, decided by the
tree and, at the small sizes, by the reference, in the same run.
"""

import random
import statistics
import time
from collections.abc import Callable
from ipaddress import ip_address

from authz import semantics
from authz.attributes import Attributes
from authz.decision import Decision
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.tree import compile_policies

TRUST_DOMAINS = ("cluster.local",)
SIZES = (10, 100, 1_000, 10_000)
REQUESTS = 500


def measure() -> list[dict[str, object]]:
    """For each size: seconds to compile, median and 99th percentile in µs of a decision, and the reference's median."""
    return [_measure(size) for size in SIZES]


def _measure(size: int) -> dict[str, object]:
    policies = (Policy(namespace="shop", name="many", action=Action.ALLOW, rules=tuple(map(_rule, range(size)))),)
    started = time.perf_counter()
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    compiled = time.perf_counter() - started
    requests = [_request(random.Random(seed), size) for seed in range(REQUESTS)]
    tree_us = _microseconds(tree.decide, requests)
    result: dict[str, object] = {
        "rules": size,
        "compile_seconds": round(compiled, 3),
        "tree_p50_us": round(statistics.median(tree_us), 2),
        "tree_p99_us": round(statistics.quantiles(tree_us, n=100)[98], 2),
    }
    if size <= 1_000:
        few = requests[:20]
        reference = _microseconds(lambda a: semantics.decide(policies, a, trust_domains=TRUST_DOMAINS), few)
        result["reference_p50_us"] = round(statistics.median(reference), 1)
    return result


def _microseconds(decide: Callable[[Attributes], Decision], requests: list[Attributes]) -> list[float]:
    for request in requests[:50]:
        decide(request)
    times = []
    for request in requests:
        started = time.perf_counter_ns()
        decide(request)
        times.append((time.perf_counter_ns() - started) / 1000)
    return times


def _rule(number: int) -> Rule:
    principal = f"cluster.local/ns/shop/sa/caller{number % 97}"
    source = Source(principals=(principal,), not_namespaces=("quarantine",) if number % 11 == 0 else ())
    match number % 6:
        case 0 | 1:
            operation = Operation(methods=("GET",), paths=(f"/v1/items{number}",))
        case 2:
            operation = Operation(paths=(f"/v1/things{number}/*",))
        case 3:
            operation = Operation(paths=(f"*/export{number}",))
        case 4:
            operation = Operation(hosts=(f"h{number}.example.com",), not_paths=("/private/*",))
        case _:
            source = Source(ip_blocks=(f"10.{number // 250 % 250}.{number % 250}.0/24",))
            operation = Operation(methods=("POST",))
    conditions = (Condition(key="request.headers[x-tier]", values=(f"t{number % 5}",)),) if number % 7 == 0 else ()
    return Rule(sources=(source,), operations=(operation,), conditions=conditions)


def _request(generator: random.Random, size: int) -> Attributes:
    number = generator.randrange(size)
    path = generator.choice(
        (f"/v1/items{number}", f"/v1/things{number}/x", f"/a/export{number}", "/nothing/of/the/kind", "/private/x")
    )
    return Attributes(
        identities=(f"spiffe://cluster.local/ns/shop/sa/caller{number % 97}",),
        source_ip=ip_address(f"10.{number // 250 % 250}.{number % 250}.7"),
        method=generator.choice(("GET", "POST")),
        path=path,
        host=f"h{number}.example.com",
        headers={"x-tier": (f"t{number % 5}",)},
    )
