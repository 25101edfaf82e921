"""AuthorizationPolicy: from a document to the model, with the shape checked as Istio's webhook and schema check it.

What the values mean is checked by `parser.validation`. Every check names its row in section 8 of the semantics.
"""

from collections.abc import Mapping

from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.span import Span
from parser.decode import Decoder, is_null
from parser.diagnostics import quoted
from parser.envelope import DRY_RUN, Envelope, check_policy_envelope, read_envelope
from parser.problems import Problems
from parser.targets import TARGETS, decode_targets
from parser.validation import validate
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, described
from parser.yaml_spans import Spans

__all__ = ["GROUP", "KIND", "VERSIONS", "decode_authorization_policy"]

GROUP = "security.istio.io"
KIND = "AuthorizationPolicy"
VERSIONS = ("v1", "v1beta1")

_MAX_RULES = 512
_MAX_SOURCES = 512

# The fields of the document, and what the model calls them.
_SOURCE = {
    "principals": "principals",
    "notPrincipals": "not_principals",
    "requestPrincipals": "request_principals",
    "notRequestPrincipals": "not_request_principals",
    "namespaces": "namespaces",
    "notNamespaces": "not_namespaces",
    "serviceAccounts": "service_accounts",
    "notServiceAccounts": "not_service_accounts",
    "trustDomains": "trust_domains",
    "notTrustDomains": "not_trust_domains",
    "ipBlocks": "ip_blocks",
    "notIpBlocks": "not_ip_blocks",
    "remoteIpBlocks": "remote_ip_blocks",
    "notRemoteIpBlocks": "not_remote_ip_blocks",
}
_OPERATION = {
    "hosts": "hosts",
    "notHosts": "not_hosts",
    "ports": "ports",
    "notPorts": "not_ports",
    "methods": "methods",
    "notMethods": "not_methods",
    "paths": "paths",
    "notPaths": "not_paths",
}
_SPEC = (*TARGETS, "rules", "action", "provider")
_RULE = ("from", "to", "when")
_CONDITION = ("key", "values", "notValues")
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}

# Where a field belongs that stands in another place.
_IN_SOURCE = dict.fromkeys(_SOURCE, "source")
_IN_OPERATION = dict.fromkeys(_OPERATION, "operation")
_IN_CONDITION = dict.fromkeys(_CONDITION, "when")
_IN_RULE = dict.fromkeys(_RULE, "rules")
_BELOW_RULE = _IN_SOURCE | _IN_OPERATION | _IN_CONDITION
_BELOW_SPEC = _BELOW_RULE | _IN_RULE | {"matchLabels": "selector"}
_OUTSIDE_RULE = _BELOW_RULE | dict.fromkeys(_SPEC, "spec") | {"source": "from", "operation": "to"}
_OUTSIDE_SOURCE = _IN_OPERATION | _IN_RULE
_OUTSIDE_OPERATION = _IN_SOURCE | _IN_RULE
_OUTSIDE_CONDITION = _IN_SOURCE | _IN_OPERATION


def decode_authorization_policy(
    node: MappingNode, problems: Problems, *, default_namespace: str = "default"
) -> Policy | None:
    """The policy in a document of this kind and a version in `VERSIONS`; none where something is wrong with it.

    `spans` of the policy has the place of every value of the document.
    """
    before = problems.errors
    decoder = Decoder(problems)
    envelope = read_envelope(node, decoder, default_namespace=default_namespace)
    check_policy_envelope(node, envelope, decoder, dry_run=True)
    policy = _Reader(decoder, envelope).policy(node)
    validate(policy, problems)
    return policy if problems.errors == before else None


class _Reader:
    """Reads the spec of one policy."""

    def __init__(self, decoder: Decoder, envelope: Envelope) -> None:
        self._decoder = decoder
        self._problems = decoder.problems
        self._envelope = envelope

    def policy(self, node: MappingNode) -> Policy:
        spec_node = node.entries.get("spec")
        # What is missing is reported at the name: `spec` may be as long as the file.
        at = self._envelope.span
        spec = self._decoder.fields(spec_node, "spec", _SPEC, elsewhere=_BELOW_SPEC)
        action = self._action(spec.get("action"))
        provider = self._provider(spec.get("provider"), action, at)
        targets = decode_targets(spec, self._decoder)
        rules_node = spec.get("rules")
        rules = self._rules(rules_node)
        # A1, A7: an empty list reads as none.
        if not rules and action in (Action.DENY, Action.CUSTOM) and not self._decoder.broken(rules_node):
            self._problems.error(
                "no-rules",
                f"a {action.value} policy without `rules` never takes effect",
                at if rules_node is None else rules_node.span,
                help="for every request, add an empty rule: `rules: [{}]`",
            )
        return Policy(
            namespace=self._envelope.namespace,
            name=self._envelope.name,
            action=Action.ALLOW if action is None else action,
            selector=targets.selector,
            target_refs=targets.references,
            rules=rules,
            provider=provider,
            dry_run=self._dry_run(action),
            spans=Spans.of(node),
        )

    def _action(self, node: Node | None) -> Action | None:
        """The action; ALLOW where there is none, nothing where it is wrong."""
        if node is None:
            return Action.ALLOW
        name = self._decoder.choice(node, "action", (action.value for action in Action))
        return None if name is None else Action(name)

    def _provider(self, node: Node | None, action: Action | None, at: Span) -> str | None:
        fields = self._decoder.fields(node, "provider", ("name",))
        name = self._decoder.text(fields.get("name"), "provider.name")
        match action:
            case Action.CUSTOM if (
                not name and not self._decoder.broken(node) and not self._decoder.broken(fields.get("name"))
            ):
                # A2
                self._problems.error(
                    "missing-provider",
                    "a CUSTOM policy needs the name of a provider",
                    at if node is None else node.span,
                    help="write `provider: {name: …}`, a name from the mesh's `extensionProviders`",
                )
            case Action.ALLOW | Action.DENY | Action.AUDIT if node is not None:
                # A6
                self._problems.error(
                    "unexpected-provider",
                    f"`provider` is for CUSTOM policies, and this one has the action {action.value}",
                    node.span,
                    help="remove `provider`, or write `action: CUSTOM`",
                )
            case _:
                pass
        return name or None

    def _dry_run(self, action: Action | None) -> bool:
        node = self._envelope.annotations.get(DRY_RUN)
        if node is None:
            return False
        text = self._decoder.text(node, DRY_RUN)
        if action in (Action.AUDIT, Action.CUSTOM):
            # M2
            message = f"`{DRY_RUN}` works for ALLOW and DENY, and this policy has the action {action.value}"
            self._problems.error("dry-run-unsupported", message, node.span, help="remove the annotation")
        if text not in _BOOLEANS and not self._decoder.broken(node):
            # M3
            message = f"{quoted(text)} is neither true nor false"
            self._problems.error("bad-dry-run", message, node.span, help='write "true" or "false"')
        return _BOOLEANS.get(text, False)

    # Rules ---------------------------------------------------------------------------------------------------------

    def _rules(self, node: Node | None) -> tuple[Rule, ...]:
        items = self._decoder.items(node, "rules")
        if node is not None and len(items) > _MAX_RULES:
            # 8.6
            self._problems.error("too-many-rules", f"more than {_MAX_RULES} rules", node.span, help="split the policy")
        return tuple(self._rule(item) for item in items[:_MAX_RULES])

    def _rule(self, node: Node) -> Rule:
        if is_null(node):
            # A8
            self._null("rule", node, "write `{}` for a rule that always matches")
            return Rule()
        fields = self._decoder.fields(node, "rules", _RULE, elsewhere=_OUTSIDE_RULE)
        from_node = fields.get("from")
        from_items = self._decoder.items(from_node, "from")
        if from_node is not None and len(from_items) > _MAX_SOURCES:
            # 8.6
            self._problems.error(
                "too-many-sources", f"more than {_MAX_SOURCES} sources", from_node.span, help="split the rule"
            )
        return Rule(
            sources=tuple(
                Source(**self._lists(item, "from", "source", _SOURCE, _OUTSIDE_SOURCE))
                for item in from_items[:_MAX_SOURCES]
            ),
            operations=tuple(
                Operation(**self._lists(item, "to", "operation", _OPERATION, _OUTSIDE_OPERATION))
                for item in self._decoder.items(fields.get("to"), "to")
            ),
            conditions=tuple(self._condition(item) for item in self._decoder.items(fields.get("when"), "when")),
        )

    def _lists(
        self, node: Node, outer: str, inner: str, names: Mapping[str, str], elsewhere: Mapping[str, str]
    ) -> dict[str, tuple[str, ...]]:
        """The lists of a source or an operation by their names in the model."""
        if is_null(node):
            # A10
            self._null(outer, node, "remove the entry")
            return {}
        outer_fields = self._decoder.fields(node, outer, (inner,), elsewhere=_BELOW_RULE)
        if not isinstance(node, MappingNode):
            return {}
        inner_node = outer_fields.get(inner)
        if inner_node is None:
            # A11; where there are other fields, they are the problem.
            if all(key == inner for key in node.entries):
                self._problems.error(
                    f"missing-{inner}",
                    f"`{outer}` has an entry without `{inner}`",
                    node.span,
                    help=f"add `{inner}`, or remove the entry",
                )
            return {}
        fields = self._decoder.fields(inner_node, inner, names, elsewhere=elsewhere)
        lists = {names[field]: self._decoder.texts(value, field) for field, value in fields.items() if field in names}
        if (
            not any(lists.values())
            and len(fields) == len(lists)
            and not any(map(self._decoder.broken, (inner_node, *fields.values())))
        ):
            # A12
            self._problems.error(
                f"empty-{inner}",
                f"`{inner}` says nothing",
                inner_node.span,
                help=f"add a field to it, or remove the entry: without `{outer}` a rule is for everything",
            )
        return lists

    def _condition(self, node: Node) -> Condition:
        if is_null(node):
            # A5
            self._null("when", node, "remove the entry")
            return Condition(key="")
        fields = self._decoder.fields(node, "when", _CONDITION, elsewhere=_OUTSIDE_CONDITION)
        key_node = fields.get("key")
        key = self._decoder.text(key_node, "key")
        values = self._decoder.texts(fields.get("values"), "values")
        not_values = self._decoder.texts(fields.get("notValues"), "notValues")
        if self._decoder.broken(node):
            return Condition(key=key)
        if not key and not self._decoder.broken(key_node):
            # A28
            at = node if key_node is None else key_node
            self._problems.error(
                "missing-key", "`when` has an entry without `key`", at.span, help="name the attribute to look at"
            )
        if not values and not not_values and not any(map(self._decoder.broken, fields.values())):
            # A29
            what = f"for the key {quoted(key)}" if key else "in `when`"
            self._problems.error(
                "missing-values", f"neither `values` nor `notValues` {what}", node.span, help="add at least one value"
            )
        return Condition(key=key, values=values, not_values=not_values)

    def _null(self, name: str, node: Node, remedy: str) -> None:
        self._problems.error(
            f"null-{name}", f"expected a mapping in `{name}`, got {described(node)}", node.span, help=remedy
        )
