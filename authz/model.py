"""The model: what AuthorizationPolicy documents say, in Istio's words.

Values are kept as the user wrote them; `authz.keys` gives them their meaning. An empty tuple is a list that was absent or
empty, which Istio does not tell apart (spec: Istio decodes both to nil). Spans never take part in equality.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter

from authz.span import Path, Span

__all__ = ["Action", "Condition", "Operation", "Policy", "Rule", "Source", "TargetRef", "field_name"]


class Action(Enum):
    """What a policy does with the requests that one of its rules matches."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who calls: every field given must hold."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is asked for: every field given must hold."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


_OF_SOURCE = attrgetter(*Source.__dataclass_fields__)
_OF_OPERATION = attrgetter(*Operation.__dataclass_fields__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of `when`: the attribute named `key` has one of `values` and none of `not_values`."""

    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Matches when one of `sources`, one of `operations` and all of `conditions` do; an empty part asks for nothing."""

    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRef:
    """The gateway or service that a policy attaches to, instead of selecting workloads by label."""

    kind: str
    name: str
    group: str = ""
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One AuthorizationPolicy.

    `selector` is `None` where the policy has none; an empty one selects every workload, too. `spans` leads from the path of
    a value in the document to its place.
    """

    namespace: str
    name: str
    action: Action = Action.ALLOW
    selector: Mapping[str, str] | None = None
    target_refs: tuple[TargetRef, ...] = ()
    rules: tuple[Rule, ...] = ()
    provider: str | None = None
    dry_run: bool = False
    spans: Mapping[Path, Span] = field(default_factory=dict, compare=False, repr=False)

    @property
    def size(self) -> int:
        """How many values its rules have, and one more for each rule, which may be without."""
        return len(self.rules) + sum(
            sum(sum(map(len, _OF_SOURCE(source))) for source in rule.sources)
            + sum(sum(map(len, _OF_OPERATION(operation))) for operation in rule.operations)
            + sum(len(condition.values) + len(condition.not_values) for condition in rule.conditions)
            for rule in self.rules
        )

    @property
    def id(self) -> str:
        """`namespace/name`, as people and every output of meshward name a policy."""
        return f"{self.namespace}/{self.name}"

    def span(self, *path: str | int) -> Span | None:
        """The place of the value at `path`, or of the nearest enclosing value that has one."""
        for length in range(len(path), -1, -1):
            if (found := self.spans.get(path[:length])) is not None:
                return found
        return None


def field_name(field: str) -> str:
    """What documents call a field of the model: `not_ip_blocks` is `notIpBlocks`."""
    first, *others = field.split("_")
    return first + "".join(map(str.capitalize, others))
