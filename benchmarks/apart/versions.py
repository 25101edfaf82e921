"""Two versions of the same policies, of which a pull request changed one rule: what proofs are measured on."""

from dataclasses import replace

from authz.attributes import Protocol
from authz.model import Action, Operation, Policy, Rule, Source
from authz.predicates import LoweredRule, PredicateTable
from benchmarks.rules import mixed_policies

__all__ = ["lowered_versions", "mixed_versions", "plain_versions", "redundant_versions", "renamed"]


def mixed_versions(size: int) -> tuple[tuple[Policy, ...], tuple[Policy, ...]]:
    """Rules of nine kinds, one of which is for another path in the second version."""
    policies = mixed_policies(size)
    last = max(number for number, policy in enumerate(policies) if policy.action is Action.ALLOW)
    return policies, _changed(policies, last)


def _changed(policies: tuple[Policy, ...], number: int) -> tuple[Policy, ...]:
    policy = policies[number]
    middle = len(policy.rules) // 2
    rule = replace(policy.rules[middle], operations=(Operation(paths=("/quite/new/*",)),))
    rules = (*policy.rules[:middle], rule, *policy.rules[middle + 1 :])
    return (*policies[:number], replace(policy, rules=rules), *policies[number + 1 :])


def renamed(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    """The same, under other names, and all of it in another order."""
    return tuple(
        replace(policy, name=f"now-{policy.name}", rules=tuple(reversed(policy.rules))) for policy in reversed(policies)
    )


def plain_versions(size: int) -> tuple[tuple[Policy, ...], tuple[Policy, ...]]:
    """Rules with a caller, a method, a host and a path, exact, by prefix and by suffix: what a theory of strings can say."""

    def rule(n: int) -> Rule:
        paths = (f"/v1/things{n}/*", f"/v1/items{n}", f"*/export{n}")[n % 3]
        caller = (f"cluster.local/ns/shop/sa/caller{n % 50}", f"*/sa/job{n % 20}")[n % 2]
        host = (f"h{n % 30}.example.com", f"*.t{n % 10}.example.com")[n % 5 == 0]
        return Rule(
            sources=(Source(principals=(caller,)),),
            operations=(Operation(paths=(paths,), methods=(("GET", "POST")[n % 2],), hosts=(host,)),),
        )

    policies = tuple(
        Policy(namespace="shop", name=f"p{start:06}", rules=tuple(map(rule, range(start, min(start + 100, size)))))
        for start in range(0, size, 100)
    )
    return policies, _changed(policies, len(policies) - 1)


def redundant_versions(size: int) -> tuple[tuple[Policy, ...], tuple[Policy, ...]]:
    """The plain rules, and as many again that say a part of what one of them says, which the second version leaves out."""
    policies = plain_versions(size)[0]

    def narrower(rule: Rule) -> Rule:
        (operation,) = rule.operations
        (path,) = operation.paths
        inner = f"{path[:-1]}x/*" if path.endswith("*") else f"*/y{path[1:]}" if path.startswith("*") else path
        return replace(rule, operations=(replace(operation, paths=(inner,)),))

    more = tuple(
        replace(policy, name=f"{policy.name}-more", rules=tuple(map(narrower, policy.rules))) for policy in policies
    )
    return (*policies, *more), policies


def lowered_versions(size: int) -> tuple[list[LoweredRule], list[LoweredRule]]:
    """The redundant ones, as every engine takes them."""
    table = PredicateTable(trust_domains=("cluster.local",))
    old, new = (
        [rule for policy in version for rule in table.lower(policy, Protocol.HTTP)]
        for version in redundant_versions(size)
    )
    return old, new
