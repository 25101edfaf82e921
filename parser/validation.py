"""Validation: whether the values in a policy mean something, as Istio's webhook sees it.

It reads the model and its spans, so it serves every syntax a policy can be written in. Every check names its row in section
8.3 of the semantics; those that name 10.2 are for what Istio takes and nobody can mean.
"""

import re
from collections.abc import Callable, Mapping
from itertools import takewhile

from authz.errors import MalformedKeyError, UnknownKeyError, UnsupportedValueError
from authz.keys import KEYS, OPERATION_FIELDS, SOURCE_FIELDS, Argument, Attribute, key_of, resolve
from authz.matcher import SPIFFE
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.span import Path, Span
from authz.values import Scope
from parser.diagnostics import Diagnostic, Severity, quoted
from parser.edits import Addition
from parser.problems import Problems, nearest

__all__ = ["validate"]

_MAX_SERVICE_ACCOUNTS = 16
_LONGEST_SERVICE_ACCOUNT = 320

# A3, A4: what Istio lets no CUSTOM policy look at: who calls.
_NOT_FOR_CUSTOM = frozenset(
    name
    for name in KEYS
    if name.startswith("request.auth.")
    or name in ("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain")
)

# A37: the fields of a source that a TCP proxy can look at, as Istio counts them: trust domains are not among them.
_TCP_SOURCE = ("principals", "namespaces", "service_accounts", "ip_blocks", "remote_ip_blocks")

# A33-A35: keys of the past.
_RETIRED = (
    ("destination.namespace", "a policy is for the namespace it is in; remove the condition"),
    ("destination.labels", "write the labels in `selector`"),
    ("destination.name", "write the labels of the workload in `selector`"),
    ("destination.user", "write the labels of the workload in `selector`"),
)

_AUTH = "request.auth."
_PORT = re.compile(r":[0-9]+\Z")
_NOT_TEXT = re.compile(r"(?i:true|false)|[-+]?[0-9]+(?:\.[0-9]+)?")


def validate(policy: Policy, problems: Problems) -> None:
    """Say what is wrong with the values of `policy`. Places that already have an error get no second one."""
    _Validator(policy, problems).run()


class _Validator:
    """The checks on one policy."""

    def __init__(self, policy: Policy, problems: Problems) -> None:
        self._policy = policy
        self._problems = problems
        # Values are wrong or right whatever the mesh calls itself.
        self._scope = Scope(policy.namespace, ("cluster.local",))

    def run(self) -> None:
        for index, rule in enumerate(self._policy.rules):
            path: Path = ("spec", "rules", index)
            for number, source in enumerate(rule.sources):
                self._source(source, (*path, "from", number, "source"))
            for number, operation in enumerate(rule.operations):
                self._operation(operation, (*path, "to", number, "operation"))
            for number, condition in enumerate(rule.conditions):
                self._condition(condition, (*path, "when", number))
            if self._policy.action is Action.DENY and _only_http(rule):
                # A37
                self._problems.warning(
                    "denies-all-tcp",
                    "this rule looks only at HTTP, so on TCP ports it denies everything",
                    self._span(path),
                    help="name the HTTP ports in `ports`",
                )
            if self._policy.action is Action.ALLOW:
                self._tokens(rule, path)

    def _source(self, source: Source, path: Path) -> None:
        for field, name, attribute in _SOURCE_LISTS:
            values: tuple[str, ...] = getattr(source, field)
            if not values:
                continue
            place = (*path, name)
            if self._policy.action is Action.CUSTOM and attribute.key in _NOT_FOR_CUSTOM:
                # A3
                self._not_for_custom(name, place)
            self._values(values, place, name, attribute)
            if attribute.key == "source.trustDomain":
                for index, value in enumerate(values):
                    if "/" in value:
                        # A23, which Istio checks here and not in `when`.
                        message = f"{quoted(value)} in `{name}` is not a trust domain: it has a slash"
                        self._error("bad-value", message, (*place, index), _REMEDIES[attribute.key])
            if attribute.key == "source.principal":
                self._schemes(values, place, name)
        accounts = source.service_accounts or source.not_service_accounts
        if accounts and (source.principals or source.not_principals or source.namespaces or source.not_namespaces):
            # A13
            name = "serviceAccounts" if source.service_accounts else "notServiceAccounts"
            self._error(
                "conflicting-fields",
                f"`{name}` cannot stand beside principals or namespaces",
                (*path, name),
                "name the service accounts as `namespace/name`, and remove the other field",
            )

    def _operation(self, operation: Operation, path: Path) -> None:
        for field, name, attribute in _OPERATION_LISTS:
            values: tuple[str, ...] = getattr(operation, field)
            if values:
                self._values(values, (*path, name), name, attribute)
                if attribute.key == "request.host":
                    self._hosts(values, (*path, name), name)

    def _condition(self, condition: Condition, path: Path) -> None:
        if not condition.key:
            return
        attribute = self._key(condition.key, (*path, "key"))
        if attribute is None:
            return
        if self._policy.action is Action.CUSTOM and attribute.key in _NOT_FOR_CUSTOM:
            # A4
            self._not_for_custom(condition.key, (*path, "key"))
        for field, values in (("values", condition.values), ("notValues", condition.not_values)):
            self._values(values, (*path, field), condition.key, attribute)
            if attribute.key == "source.principal":
                self._schemes(values, (*path, field), condition.key)
            elif attribute.key == "request.auth.claims":
                self._claims(values, (*path, field), condition.key)

    def _key(self, key: str, path: Path) -> Attribute | None:
        for retired, remedy in _RETIRED:
            if key == retired or (retired == "destination.labels" and key.startswith(retired)):
                # A33-A35
                self._error("retired-key", f"the key {quoted(key)} is retired", path, remedy)
                return None
        try:
            return resolve(key)
        except MalformedKeyError:
            # A31
            found = key_of(key)
            form = f"{found.name}{found.argument.value}" if found is not None else "name[name]"
            self._error(
                "malformed-key", f"the key {quoted(key)} lacks its name in brackets", path, f"write it as `{form}`"
            )
        except UnknownKeyError:
            # A36
            self._error("unknown-key", f"unknown key {quoted(key)}", path, _near_key(key))
        return None

    def _values(self, values: tuple[str, ...], path: Path, name: str, attribute: Attribute) -> None:
        """The values of one list."""
        if attribute.key == "source.serviceAccount" and len(values) > _MAX_SERVICE_ACCOUNTS:
            # A16
            self._error(
                "too-many-values",
                f"more than {_MAX_SERVICE_ACCOUNTS} values in `{name}`",
                path,
                "split the rule, or use namespaces",
            )
        check = _CHECKS.get(attribute.key)
        for index, value in enumerate(values):
            if self._problems.full:
                return
            if not value:
                # A15
                self._error(
                    "empty-value", f"empty value in `{name}`", (*path, index), "write a value, or remove the entry"
                )
                continue
            reason = None if check is None else check(value)
            if reason is None:
                try:
                    attribute.matchers(value, self._scope)
                except UnsupportedValueError as error:
                    # A14, A18, A20, A24, A25, A27
                    reason = error.reason
                else:
                    continue
            self._error(
                "bad-value", f"{quoted(value)} in `{name}` is {reason}", (*path, index), _REMEDIES.get(attribute.key)
            )

    # 10.2 ------------------------------------------------------------------------------------------------------------

    def _schemes(self, values: tuple[str, ...], path: Path, name: str) -> None:
        for index, value in enumerate(values):
            if self._problems.full:
                return
            if value.startswith(SPIFFE):
                bare = value.removeprefix(SPIFFE)
                message = f"{quoted(value)} in `{name}` matches nobody: identities are compared without `{SPIFFE}`"
                self._error("spiffe-scheme", message, (*path, index), f"write {quoted(bare)}" if bare else None)

    def _hosts(self, values: tuple[str, ...], path: Path, name: str) -> None:
        """The port is part of what is compared (2.3), and clients may write it or not."""
        with_port = {value.rpartition(":")[0] for value in values if ":" in value}
        prefixes = {value[:-1] for value in values if value.endswith("*")}
        lengths = sorted(set(map(len, prefixes)))
        for index, value in enumerate(values):
            if self._problems.full:
                return
            if not value or value.endswith("*") or _PORT.search(value) or value in with_port:
                continue
            # Shortest first, so that this takes no longer than the host is long.
            fitting = takewhile(len(value).__ge__, lengths)
            if any(value[:length] in prefixes for length in fitting):
                continue
            # Of a suffix only a port does, for a second star would be a letter.
            suffix = value.startswith("*")
            self._warning(
                "host-without-port",
                f"{quoted(value)} in `{name}` does not match the host with a port behind it",
                (*path, index),
                f"add {quoted(value + ':8080')} for each port in use" if suffix else f"add {quoted(value + ':*')}",
                # Only where it keeps out more than before.
                None if suffix or (self._policy.action is Action.ALLOW) == (name == "hosts") else f"{value}:*",
            )

    def _claims(self, values: tuple[str, ...], path: Path, name: str) -> None:
        for index, value in enumerate(values):
            if self._problems.full:
                return
            if _NOT_TEXT.fullmatch(value):
                message = f"{quoted(value)} in {quoted(name)} matches only text, never a number or a boolean in a token"
                self._warning("claim-not-text", message, (*path, index), "have the issuer write the claim as text")

    def _tokens(self, rule: Rule, path: Path) -> None:
        """What a token must not say, of requests that need have none: those without a token pass, too."""
        required = any(each.values and each.key.startswith(_AUTH) for each in rule.conditions)
        if not required:
            for number, source in enumerate(rule.sources):
                unwanted = source.not_request_principals
                if unwanted and "*" not in unwanted and not source.request_principals:
                    self._no_token((*path, "from", number, "source", "notRequestPrincipals"), "notRequestPrincipals")
        if required or (rule.sources and all(source.request_principals for source in rule.sources)):
            return
        for number, condition in enumerate(rule.conditions):
            # A star says that there must be no token at all, and means it.
            if condition.key.startswith(_AUTH) and condition.not_values and "*" not in condition.not_values:
                self._no_token((*path, "when", number, "notValues"), condition.key)

    def _no_token(self, path: Path, name: str) -> None:
        self._warning(
            "token-not-required",
            f"what {quoted(name)} excludes passes without a token, for this rule asks for none",
            path,
            'ask for one in the same rule: `requestPrincipals: ["*"]`',
        )

    def _warning(self, code: str, message: str, path: Path, remedy: str, missing: str | None = None) -> None:
        span = self._span(path)
        if not self._problems.error_at(span):
            fix = () if missing is None else (Addition(span, missing),)
            self._problems.add(
                Diagnostic(code, message, span, help=remedy, severity=Severity.WARNING, fix=fix),
            )

    def _not_for_custom(self, name: str, path: Path) -> None:
        self._error(
            "not-for-custom",
            f"a CUSTOM policy cannot look at {quoted(name)}, which says who calls",
            path,
            "leave it to the external authorizer, or to an ALLOW or DENY policy beside this one",
        )

    def _error(self, code: str, message: str, path: Path, remedy: str | None) -> None:
        span = self._span(path)
        if not self._problems.error_at(span):
            self._problems.error(code, message, span, help=remedy)

    def _span(self, path: Path) -> Span:
        return self._policy.span(*path) or Span("", 1, 1, 1, 1)


# The lists of the model: the field, what documents call it, and what it looks at --------------------------------------


def _lists(fields: Mapping[str, Attribute]) -> tuple[tuple[str, str, Attribute], ...]:
    return tuple(
        (prefix + field, _camel(prefix + field), attribute)
        for field, attribute in fields.items()
        for prefix in ("", "not_")
    )


def _camel(field: str) -> str:
    first, *others = field.split("_")
    return first + "".join(map(str.capitalize, others))


_SOURCE_LISTS = _lists(SOURCE_FIELDS)
_OPERATION_LISTS = _lists(OPERATION_FIELDS)

# What is wrong with a value, beyond what its meaning needs ------------------------------------------------------------


def _service_account(value: str) -> str | None:
    if "*" in value:
        return "not a service account: no wildcards here"  # A17
    if len(value) > _LONGEST_SERVICE_ACCOUNT:
        return f"longer than {_LONGEST_SERVICE_ACCOUNT} characters"  # A19
    return None


def _trust_domain(value: str) -> str | None:
    if value.count("*") > 1:
        return "not a trust domain: at most one `*`"  # A21
    if "*" in value[1:-1]:
        return "not a trust domain: a `*` stands at its start or end"  # A22
    return None


def _path(value: str) -> str | None:
    rest = value.replace("{**}", "").replace("{*}", "")
    if "{" in rest or "}" in rest:
        return "not a path: a brace stands only in `{*}` and `{**}`"  # A26
    if "{" in value.partition("{**}")[2]:
        return "not a path template: `{**}` is its last operator"  # A25
    return None


_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "source.serviceAccount": _service_account,
    "source.trustDomain": _trust_domain,
    "request.path": _path,
}

_REMEDIES = {
    "source.serviceAccount": "write `name` or `namespace/name`",
    "source.trustDomain": "write `example.org`, `*.example.org` or `*`",
    "source.ip": "write `192.0.2.7` or `192.0.2.0/24`",
    "remote.ip": "write `192.0.2.7` or `192.0.2.0/24`",
    "destination.ip": "write `192.0.2.7` or `192.0.2.0/24`",
    "destination.port": "list the ports one by one",
    "request.path": "write `/items/{*}` for one segment, `/items/{**}` for any number, or `/items/*` for a prefix",
}


def _near_key(key: str) -> str | None:
    """What to do about a key that there is not."""
    for field, attribute in OPERATION_FIELDS.items():
        if attribute.key == key:
            return f"write it as `{field}` of an operation in `to`"
    name, bracket, argument = key.partition("[")
    near = nearest(name, (known for known in KEYS if key_of(known) is not None))
    if near is None:
        return None
    takes = KEYS[near].argument is not Argument.NONE
    suggestion = near + bracket + argument if takes and bracket else near + KEYS[near].argument.value
    return f"did you mean {quoted(suggestion)}?"


def _only_http(rule: Rule) -> bool:
    """Whether Istio takes the rule for one that leaves nothing of itself on TCP."""
    if rule.operations:
        return not any(operation.ports or operation.not_ports for operation in rule.operations)
    return bool(rule.sources) and not any(
        getattr(source, prefix + field) for source in rule.sources for field in _TCP_SOURCE for prefix in ("", "not_")
    )
