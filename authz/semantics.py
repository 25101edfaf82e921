"""The reference: decides one request against the policies that apply to its destination, in the plainest code there is.

This module is the law of the project. Everything that is faster or cleverer is tested against it, and it is tested against
a real Envoy. It follows the specification's section 0: the machine, its stages, the two halves of a rule, and what happens
to a part that cannot be expressed.
"""

from collections.abc import Mapping, Sequence

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Match, Shadow, Stage, Trigger, Verdict, rule_order
from authz.errors import MalformedKeyError, UnknownKeyError, UnsupportedValueError
from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, Attribute, resolve
from authz.matcher import Matcher, matches
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.values import Scope

__all__ = ["RuleDropped", "RuleReader", "decide", "rule_matches", "triggered"]


def decide(
    policies: Sequence[Policy],
    attributes: Attributes,
    *,
    trust_domains: tuple[str, ...],
    allowed_by: frozenset[str] = frozenset(),
) -> Decision:
    """What Istio and Envoy would decide (semantics 0.3).

    `policies` are those that apply to the destination, in any order. `trust_domains` are the mesh's own and its aliases.
    `allowed_by` are the external authorizers that were asked about this request and let it through, by name.
    """
    stages = {action: [policy for policy in policies if policy.action is action] for action in Action}

    # CUSTOM: whoever did not let it through denies it, and so does who cannot be asked. A dry run is enforced, as in Istio.
    unasked = [policy for policy in stages[Action.CUSTOM] if policy.provider not in allowed_by]
    if (match := _first_match(unasked, attributes, trust_domains)) is not None:
        return Decision(
            verdict=Verdict.DENY,
            stage=Stage.CUSTOM,
            action=Action.CUSTOM,
            match=match,
            reason="a CUSTOM rule matches, and no authorizer has let the request through",
        )

    # AUDIT decides nothing, and its dry run notes nothing.
    audited = [policy for policy in stages[Action.AUDIT] if not policy.dry_run]
    audit = _first_match(audited, attributes, trust_domains) is not None

    enforced = [policy for policy in stages[Action.DENY] if not policy.dry_run]
    shadow = [policy for policy in stages[Action.DENY] if policy.dry_run]
    shadow_deny = None
    if shadow:
        would = _first_match(shadow, attributes, trust_domains)
        shadow_deny = Shadow(Verdict.ALLOW if would is None else Verdict.DENY, would)
    if (match := _first_match(enforced, attributes, trust_domains)) is not None:
        return Decision(
            verdict=Verdict.DENY,
            stage=Stage.DENY,
            action=Action.DENY,
            match=match,
            reason="a DENY rule matches",
            shadow_deny=shadow_deny,
            audit=audit,
        )

    enforced = [policy for policy in stages[Action.ALLOW] if not policy.dry_run]
    shadow = [policy for policy in stages[Action.ALLOW] if policy.dry_run]
    shadow_allow = None
    if shadow:
        would = _first_match(shadow, attributes, trust_domains)
        shadow_allow = Shadow(Verdict.DENY if would is None else Verdict.ALLOW, would)
    if enforced:
        match = _first_match(enforced, attributes, trust_domains)
        return Decision(
            verdict=Verdict.DENY if match is None else Verdict.ALLOW,
            stage=Stage.ALLOW,
            action=Action.ALLOW,
            match=match,
            reason="no ALLOW rule matches" if match is None else "an ALLOW rule matches",
            shadow_deny=shadow_deny,
            shadow_allow=shadow_allow,
            audit=audit,
        )
    return Decision(
        verdict=Verdict.ALLOW,
        stage=Stage.NONE,
        action=None,
        match=None,
        reason="no ALLOW policy applies and no other denies",
        shadow_deny=shadow_deny,
        shadow_allow=shadow_allow,
        audit=audit,
    )


def triggered(
    policies: Sequence[Policy], attributes: Attributes, *, trust_domains: tuple[str, ...]
) -> tuple[Trigger, ...]:
    """The external authorizers that must let this request through, in the order in which they are asked (0.2)."""
    providers = sorted({policy.provider or "" for policy in policies if policy.action is Action.CUSTOM})
    found = []
    for provider in providers:
        own = [p for p in policies if p.action is Action.CUSTOM and (p.provider or "") == provider]
        if (match := _first_match(own, attributes, trust_domains)) is not None:
            found.append(Trigger(provider, match))
    return tuple(found)


def _first_match(policies: Sequence[Policy], attributes: Attributes, trust_domains: tuple[str, ...]) -> Match | None:
    """The matching rule that Envoy reports, whatever the order of the policies (0.6)."""
    matching = [
        (rule_order(policy, index), Match(policy.id, index))
        for policy in policies
        for index, rule in enumerate(policy.rules)
        if rule_matches(rule, policy, attributes, Scope(policy.namespace, trust_domains))
    ]
    return min(matching)[1] if matching else None


class RuleDropped(Exception):  # noqa: N818  # not an error: the rule is as if it had not been written
    """A part cannot be expressed, and the action says that the rule goes with it (0.5). Its text says which part."""


def rule_matches(rule: Rule, policy: Policy, attributes: Attributes, scope: Scope) -> bool:
    """Whether `rule`, one of `policy`, matches; one that is dropped does not."""
    reader = RuleReader(policy.action, attributes, scope)
    try:
        # Every part is looked at before any is combined: what drops the rule drops it wherever it stands.
        sources = [reader.source(source) for source in rule.sources]
        operations = [reader.operation(operation) for operation in rule.operations]
        conditions = [reader.condition(condition) for condition in rule.conditions]
    except RuleDropped:
        return False
    return (not sources or any(sources)) and (not operations or any(operations)) and all(conditions)


class RuleReader:
    """Whether one part of a rule holds for one request. Whatever it is asked may raise `RuleDropped`."""

    def __init__(self, action: Action, attributes: Attributes, scope: Scope) -> None:
        self.action = action
        self.attributes = attributes
        self.scope = scope

    def source(self, source: Source) -> bool:
        """Whether all its fields hold."""
        return self.fields(source, SOURCE_FIELDS)

    def operation(self, operation: Operation) -> bool:
        """Whether all its fields hold."""
        return self.fields(operation, OPERATION_FIELDS)

    def fields(self, part: Source | Operation, fields: Mapping[str, Attribute]) -> bool:
        """Whether all `fields` of `part` hold."""
        held = [
            self.field(attribute, getattr(part, name), getattr(part, f"not_{name}"))
            for name, attribute in fields.items()
        ]
        return all(held)

    def condition(self, condition: Condition) -> bool:
        """Whether it holds; one whose key cannot be expressed asks for nothing, unless it drops the rule."""
        try:
            attribute = resolve(condition.key)
        except UnknownKeyError as error:
            raise RuleDropped(str(error)) from error
        except MalformedKeyError as error:
            if self.action is Action.ALLOW:
                raise RuleDropped(str(error)) from error
            return True
        return self.field(attribute, condition.values, condition.not_values)

    def field(self, attribute: Attribute, values: tuple[str, ...], not_values: tuple[str, ...]) -> bool:
        """OR of the values AND NOT OR of the others; a list that is empty, or was emptied, asks for nothing."""
        wanted = self.matchers(attribute, values)
        unwanted = self.matchers(attribute, not_values)
        present = attribute.read(self.attributes)

        def any_matches(matchers: list[Matcher]) -> bool:
            return any(matches(matcher, value) for matcher in matchers for value in present)

        return (not wanted or any_matches(wanted)) and not any_matches(unwanted)

    def matchers(self, attribute: Attribute, values: tuple[str, ...]) -> list[Matcher]:
        """What the values mean. One that cannot be expressed drops an ALLOW rule, and itself from a rule of another action."""
        found: list[Matcher] = []
        for value in values:
            try:
                found += self.meaning(attribute, value)
            except UnsupportedValueError as error:
                if self.action is Action.ALLOW:
                    raise RuleDropped(str(error)) from error
        return found

    def meaning(self, attribute: Attribute, value: str) -> tuple[Matcher, ...]:
        """What one value means.

        Raises:
            UnsupportedValueError: Nothing, here.
        """
        if attribute.http_only and self.attributes.protocol is Protocol.TCP:
            raise UnsupportedValueError(value, "only known for HTTP")
        return attribute.matchers(value, self.scope)
