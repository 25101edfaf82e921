"""Policy tests: what a `*.authz-test.yaml` says, with the place of what is wrong in it.

`docs/test.md` describes the format. What only the policies can tell, that a workload or a rule is there, is found out in
`mesh.testing`; so what may turn out wrong there comes with its place.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
from math import prod
from typing import NamedTuple

from authz.attributes import Address, Protocol
from authz.decision import Verdict
from authz.mesh_given import MeshGiven
from authz.secrecy import MASK, SECRET_HEADERS
from authz.span import Span, Written
from authz.workload import ServiceRef, Workload
from identity import IdentityError, SpiffeId
from parser.decode import Decoder, is_null
from parser.diagnostics import PolicySyntaxError, quoted
from parser.mesh_given import decode_mesh_given
from parser.problems import Problems, nearest
from parser.request import RequestDocument, RequestError, UnknownFieldError, parse_request
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar, Sequence, described, documents, to_data
from parser.yaml_spans import node_at

__all__ = [
    "ALL",
    "MAX_REQUESTS",
    "REASONS",
    "Caller",
    "Complete",
    "CoverageGate",
    "Expectation",
    "LogCheck",
    "PolicyTest",
    "PolicyTests",
    "Request",
    "RoutesGate",
    "RuleRef",
    "Token",
    "parse_policy_tests",
]

ALL = "all"
"""The word for everyone, or everything, where names are listed."""

MAX_REQUESTS = 1_000_000
"""The most requests that the matrix of one test may come to."""

REASONS: Mapping[str, str] = {
    "allow-rule": "an ALLOW rule matches",
    "default-deny": "no ALLOW rule matches",
    "deny-rule": "a DENY rule matches",
    "no-policy": "no ALLOW policy applies and no other denies",
    "custom": "a CUSTOM rule matches, and its authorizer did not let the request through",
    "jwt": "a token is not good",
    "mtls": "plaintext, where mTLS is demanded",
    "refused-path": "the proxy refuses the path before it asks anybody",
}
"""The words for what a decision can come from, each with what it means."""


class RuleRef(NamedTuple):
    """A rule, as `namespace/name#index`, and where it is written."""

    policy: str
    rule: int
    span: Span

    def __str__(self) -> str:
        return f"{self.policy}#{self.rule}"


@dataclass(frozen=True, slots=True)
class Token:
    """What the token of a caller says, its whole payload; who shows it may be whoever signed it. `span` is its place."""

    payload: Mapping[str, object]
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. Without a service account (namespace and name) and without a SPIFFE ID, it comes over plaintext."""

    name: str
    service_account: tuple[str, str] | None = None
    spiffe: str | None = None
    address: Address | None = None
    remote_address: Address | None = None
    token: Token | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWorkload:
    """A workload that a file declares, the port that is asked at where a request says none, and the service it is asked for."""

    workload: Workload
    port: int | None = None
    service: ServiceRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, as the client writes it; over TCP nothing but the server name of the handshake, and the port."""

    protocol: Protocol = Protocol.HTTP
    method: str | None = None
    path: str | None = None
    host: str | None = None
    scheme: str | None = None
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    port: int | None = None
    sni: str | None = None

    @property
    def key(self) -> object:
        """What is equal for equal requests, and can be looked up by."""
        return (*(getattr(self, name) for name in _FACTS), tuple(self.headers.items()))

    @property
    def label(self) -> str:
        """How cases are named by it: what is written, in one line."""
        said = [
            f"{name}={value}" for name, value in (("host", self.host), ("scheme", self.scheme)) if value is not None
        ]
        said += [
            f"{name}={MASK if name in SECRET_HEADERS else ','.join(lines)}" for name, lines in self.headers.items()
        ]
        said += [f"{name}={value}" for name, value in (("port", self.port), ("sni", self.sni)) if value is not None]
        first = f"{self.method} {self.path}" if self.protocol is Protocol.HTTP else "TCP"
        return " ".join((first, *said))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must come of a request; what is none is not looked at."""

    verdict: Verdict | None = None
    status: int | None = None
    reason: str | None = None
    nearest: RuleRef | None = None
    missing: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """Recorded traffic, and how many of its requests may come to be denied or allowed that were not."""

    path: Written
    newly_denied: int = 0
    newly_allowed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTest:
    """One test: every caller in `callers` asks for each of `requests`.

    Those in `allow` must be let through and all others denied, unless `expect` says what must come of it; one of the two is
    none. A test of recorded traffic has neither, and no requests. `allowed_by` are the external authorizers that let
    everything through. `evasions` are the kinds of ways in which denied requests are written otherwise, `ALL` for all of them
    but those `spared`.
    """

    name: str
    to: Written
    span: Span
    requests: tuple[Request, ...] = ()
    callers: tuple[str, ...] = ()
    allow: frozenset[str] | None = None
    expect: Expectation | None = None
    because: RuleRef | None = None
    evasions: tuple[Written, ...] = ()
    spared: tuple[Written, ...] = ()
    allowed_by: tuple[Written, ...] = ()
    log: LogCheck | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """That the tests name everyone of `callers` whom the workload lets through, over all requests of the file."""

    workload: Written
    callers: tuple[str, ...]


class RoutesGate(NamedTuple):
    """An OpenAPI document, and how many per cent of its routes must be tested."""

    openapi: Written
    minimum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageGate:
    """How many per cent of the policies must be tested; what is none may be anything."""

    policies: float | None = None
    rules: float | None = None
    conditions: float | None = None
    routes: RoutesGate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTests:
    """What one file says. `now` is the time, in seconds since 1970, of all that happens in it; none where it is not given."""

    file: str
    policies: tuple[Written, ...]
    mesh: MeshGiven
    workloads: Mapping[str, NamedWorkload]
    callers: Mapping[str, Caller]
    now: float | None
    tests: tuple[PolicyTest, ...]
    complete: tuple[Complete, ...] = ()
    coverage: CoverageGate | None = None


def parse_policy_tests(data: bytes, file: str) -> PolicyTests:
    """Read the one document of a file of policy tests.

    Raises:
        PolicySyntaxError: It is none, or something in it is wrong; all that is wrong is in its diagnostics.
    """
    problems = Problems()
    found = list(documents(data, file, problems))
    if len(found) != 1 and not problems.errors:
        what = "more than one document" if found else "no document"
        span = found[1].span if found else Span(file, 1, 1, 1, 1)
        problems.error(
            "bad-test", f"{what} in this file", span, help="a file of policy tests has one; docs/test.md shows it"
        )
    tests = _Reader(file, problems).read(found[0]) if found else None
    if problems.errors or tests is None:
        raise PolicySyntaxError(sorted(problems.diagnostics, key=lambda each: (each.span.line, each.span.column)))
    return tests


_FILE = ("policies", "mesh", "workloads", "callers", "now", "tests", "complete", "coverage")
_WORKLOAD = ("namespace", "labels", "serviceAccount", "port", "ip", "service")
_CONNECTION_OF_CALLER = ("serviceAccount", "spiffe", "plaintext", "via")
_CALLER = (*_CONNECTION_OF_CALLER, "ip", "remoteIp", "jwt")
_REQUEST = ("method", "path", "host", "scheme", "headers", "port")
_CONNECTION = ("protocol", "sni", "port")
_TEST = (
    "name",
    "to",
    "request",
    "matrix",
    "connection",
    "from",
    "allow",
    "because",
    "expect",
    "evasions",
    "allowedBy",
    "log",
)
_EXPECT = ("verdict", "status", "reason", "nearest", "missing")
_EXPECT_OF_LOG = ("newly_denied", "newly_allowed")
_COVERAGE = ("policies", "rules", "conditions", "routes")
_CLAIMS_OF_TEXT = ("iss", "sub", "azp", "jti")
_CLAIMS_OF_TIME = ("exp", "nbf", "iat")

_RULE = re.compile(r"([^/#\s]+/[^/#\s]+)#([0-9]{1,6})")
_MAX_PORT = 65535
_NOWHERE = {"namespace": "-"}
_FACTS = ("protocol", "method", "path", "host", "scheme", "port", "sni")


class _Reader:
    """Reads one file, and says all that is wrong with it."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._decoder = Decoder(problems)

    def read(self, node: Node) -> PolicyTests | None:
        before = self._problems.errors
        fields = self._decoder.fields(node, "the file", _FILE)
        if not isinstance(node, MappingNode):
            return None
        callers = self._callers(fields.get("callers"))
        tests = tuple(self._tests(node, fields.get("tests"), callers))
        policies = self._names(fields.get("policies"), "policies")
        if not policies and self._problems.errors == before:
            self._lacks(node, _FILE, "`policies` is missing", "name the manifests: `policies: [../policies]`")
        now = None if "now" not in fields else self._moment(fields["now"], "now")
        self._require_now(callers, now)
        return PolicyTests(
            file=self._file,
            policies=policies,
            mesh=decode_mesh_given(fields.get("mesh"), self._decoder),
            workloads=self._workloads(fields.get("workloads")),
            callers=callers,
            now=now,
            tests=tests,
            complete=tuple(self._complete(fields.get("complete"), callers)),
            coverage=self._coverage(fields.get("coverage")),
        )

    def _wrong(self, node: Node, message: str, help: str) -> None:  # noqa: A002  # the word of Diagnostic
        self._problems.error("bad-test", message, node.span, help=help)

    def _lacks(self, node: Node, known: Collection[str], message: str, help: str) -> None:  # noqa: A002  # as above
        """Say what a mapping lacks, unless a key in it may be what is meant."""
        if isinstance(node, MappingNode) and node.entries.keys() <= set(known):
            self._wrong(node, message, help)

    # Mesh and workloads -----------------------------------------------------------------------------------------------

    def _workloads(self, node: Node | None) -> dict[str, NamedWorkload]:
        found = {}
        for name, value in self._decoder.entries(node, "workloads").items():
            fields = self._decoder.fields(value, f"workloads.{name}", _WORKLOAD)
            if "/" in name:
                self._wrong(
                    value, f"{quoted(name)} is no short name", "a name with a slash is of a workload in the manifests"
                )
            namespace = self._decoder.text(fields.get("namespace"), "namespace")
            if not namespace and isinstance(value, MappingNode):
                self._wrong(value, f"workload {quoted(name)} has no `namespace`", "say in which namespace it is")
            port = None if "port" not in fields else self._port(fields["port"])
            address = self._address(fields.get("ip"), "ip")
            found[name] = NamedWorkload(
                workload=Workload(
                    namespace=namespace,
                    name=name,
                    labels=self._decoder.labels(fields.get("labels"), "labels"),
                    service_account=self._decoder.text(fields.get("serviceAccount"), "serviceAccount") or "default",
                    addresses=() if address is None else (str(address),),
                    ports=() if port is None else (port,),
                    span=value.span,
                ),
                port=port,
                service=self._service(fields.get("service")),
            )
        return found

    def _service(self, node: Node | None) -> ServiceRef | None:
        pair = None if node is None else self._pair(node, "service")
        return None if pair is None else ServiceRef(namespace=pair[0], name=pair[1])

    def _pair(self, node: Node, name: str) -> tuple[str, str] | None:
        """`namespace/name`."""
        text = self._decoder.text(node, name)
        namespace, _, own = text.partition("/")
        if namespace and own and "/" not in own:
            return namespace, own
        if not self._decoder.broken(node):
            self._wrong(
                node, f"{quoted(text)} in `{name}` is not `namespace/name`", "write both, with a slash between them"
            )
        return None

    def _port(self, node: Node) -> int | None:
        number = self._decoder.integer(node, "port")
        if number is None or 0 < number <= _MAX_PORT:
            return number
        self._wrong(node, f"{number} is not a port", f"write a number from 1 to {_MAX_PORT}")
        return None

    def _address(self, node: Node | None, name: str) -> Address | None:
        if node is None:
            return None
        text = self._decoder.text(node, name)
        document = self._document(node, {"source": {"ip": text}, "request": "GET /"}, ("source", "ip"))
        return None if document is None else document.attributes.source_ip

    # Callers ----------------------------------------------------------------------------------------------------------

    def _callers(self, node: Node | None) -> dict[str, Caller]:
        entries = self._decoder.entries(node, "callers")
        read = {name: self._caller(name, value) for name, value in entries.items()}
        if ALL in entries:
            self._wrong(
                entries[ALL], f"no caller can be named `{ALL}`", "it is the word for all of them; choose another"
            )
        return {name: self._connected(name, entries, read) for name in read}

    def _caller(self, name: str, node: Node) -> Caller:
        fields = self._decoder.fields(node, f"callers.{name}", _CALLER)
        given = [key for key in _CONNECTION_OF_CALLER if key in fields]
        if "plaintext" in given and not self._decoder.boolean(fields["plaintext"], "plaintext"):
            given.remove("plaintext")
        if len(given) != 1:
            said = (
                f"says by {' and '.join(f'`{key}`' for key in given)} who it is" if given else "does not say who it is"
            )
            self._lacks(
                node,
                _CALLER,
                f"caller {quoted(name)} {said}",
                "give one of `serviceAccount`, `spiffe`, `via` (as another caller does) and `plaintext: true`",
            )
        return Caller(
            name=name,
            service_account=self._pair(fields["serviceAccount"], "serviceAccount")
            if "serviceAccount" in given
            else None,
            spiffe=self._spiffe(fields["spiffe"]) if "spiffe" in given else None,
            address=self._address(fields.get("ip"), "ip"),
            remote_address=self._address(fields.get("remoteIp"), "remoteIp"),
            token=self._token(fields["jwt"]) if "jwt" in fields else None,
        )

    def _spiffe(self, node: Node) -> str | None:
        text = self._decoder.text(node, "spiffe")
        if self._decoder.broken(node):
            return None
        try:
            return str(SpiffeId.parse(text))
        except IdentityError as error:
            self._wrong(node, str(error), "write `spiffe://trust-domain/ns/…/sa/…`")
            return None

    def _connected(self, name: str, entries: Mapping[str, Node], read: Mapping[str, Caller]) -> Caller:
        """The caller, with the connection of the one that it comes by, as far as it has none of its own."""
        caller, by, passed = read[name], self._via(entries[name]), {name}
        while by is not None:
            via = self._decoder.text(by, "via")
            if via in passed or via not in read:
                if via not in read:
                    self._unknown_name(by, via, "caller", read)
                elif self._via(entries[via]) is not None and not self._decoder.broken(by):
                    self._wrong(by, f"caller {quoted(name)} comes by itself", "end with a caller that says who it is")
                break
            passed.add(via)
            caller = replace(
                caller,
                service_account=read[via].service_account,
                spiffe=read[via].spiffe,
                address=caller.address or read[via].address,
                remote_address=caller.remote_address or read[via].remote_address,
            )
            by = self._via(entries[via])
        return caller

    def _via(self, node: Node) -> Node | None:
        via = node.entries.get("via") if isinstance(node, MappingNode) else None
        return None if is_null(via) else via

    def _unknown_name(self, node: Node, name: str, kind: str, known: Iterable[str]) -> None:
        if self._decoder.broken(node):
            return
        known = tuple(known)
        near = nearest(name, known)
        remedy = (
            f"did you mean `{near}`?" if near else f"known are: {', '.join(f'`{each}`' for each in known) or 'none'}"
        )
        self._problems.error("unknown-name", f"there is no {kind} {quoted(name)}", node.span, help=remedy)

    def _token(self, node: Node) -> Token:
        known = (*_CLAIMS_OF_TEXT, "aud", *_CLAIMS_OF_TIME, "claims")
        fields = self._decoder.fields(node, "jwt", known)
        payload: dict[str, object] = {}
        for name, value in fields.items():
            match name:
                case "aud":
                    audiences = [each.text for each in self._names(value, "aud")]
                    payload["aud"] = audiences if isinstance(value, Sequence) else audiences[0] if audiences else ""
                case "claims":
                    self._claims(value, payload)
                case _ if name in _CLAIMS_OF_TIME:
                    payload[name] = int(self._moment(value, name) or 0)
                case _ if name in _CLAIMS_OF_TEXT:
                    payload[name] = self._decoder.text(value, name)
                case _:
                    pass  # which has been said
        return Token(payload, node.span)

    def _claims(self, node: Node, payload: dict[str, object]) -> None:
        for name, value in self._decoder.entries(node, "claims").items():
            if name in (*_CLAIMS_OF_TEXT, "aud", *_CLAIMS_OF_TIME):
                self._wrong(value, f"`{name}` does not belong in `claims`", f"write `{name}` beside `claims`")
            payload[name] = to_data(value)

    def _moment(self, node: Node, name: str) -> float | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        try:
            moment = datetime.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            self._wrong(node, f"`{name}` is no time: {described(node)}", "write one like 2026-01-31T12:00:00Z")
            return None
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()

    def _require_now(self, callers: Mapping[str, Caller], now: float | None) -> None:
        """What depends on the time must not depend on when it is tested."""
        if now is not None:
            return
        for caller in callers.values():
            if caller.token is not None and not {"exp", "nbf"}.isdisjoint(caller.token.payload):
                message = f"the token of {quoted(caller.name)} is for some time, and `now` is missing"
                help_ = "say when the tests happen: `now: 2026-01-01T00:00:00Z`"
                self._problems.error("bad-test", message, caller.token.span, help=help_)

    # Tests ------------------------------------------------------------------------------------------------------------

    def _tests(self, root: MappingNode, node: Node | None, callers: Mapping[str, Caller]) -> Iterable[PolicyTest]:
        before = self._problems.errors
        items = self._decoder.items(node, "tests")
        if not items and self._problems.errors == before:
            self._wrong(root if node is None else node, "there are no tests", "write at least one below `tests`")
        names: dict[str, Node] = {}
        for item in items:
            fields = self._decoder.fields(item, "tests", _TEST)
            if not isinstance(item, MappingNode):
                continue
            test = self._test(item, fields, callers)
            if test.name in names:
                self._wrong(
                    fields["name"], f"there is a test {quoted(test.name)} before this", "give each its own name"
                )
            elif "name" in fields:
                names[test.name] = item
            yield test

    def _test(self, node: MappingNode, fields: Mapping[str, Node], callers: Mapping[str, Caller]) -> PolicyTest:
        for required in ("name", "to"):
            if required not in fields and not (required == "to" and "log" in fields):
                self._lacks(node, _TEST, f"this test has no `{required}`", _REQUIRED[required])
        name = self._decoder.text(fields.get("name"), "name")
        to = self._written(fields["to"], "to") if "to" in fields else Written("", node.span)
        if "log" in fields:
            return PolicyTest(name=name, to=to, span=node.span, log=self._log(node, fields))
        asking = self._chosen(fields["from"], "from", callers) if "from" in fields else tuple(callers)
        if not callers:
            self._wrong(node, "there are no callers for this test", "name those who ask below `callers` of the file")
        allow = None
        if "allow" in fields:
            allow = frozenset(self._chosen(fields["allow"], "allow", asking, callers))
        if ("allow" in fields) is ("expect" in fields):
            both = "both `allow` and `expect` say" if "allow" in fields else "neither `allow` nor `expect` says"
            help_ = "keep one of them" if "allow" in fields else "write `allow: []` if nobody may"
            self._lacks(node, _TEST, f"{both} what must come of this test", help_)
        evasions, spared = self._evasions(fields.get("evasions"))
        return PolicyTest(
            name=name,
            to=to,
            span=node.span,
            requests=self._requests(node, fields),
            callers=asking,
            allow=allow,
            expect=self._expectation(fields.get("expect")) if "expect" in fields else None,
            because=self._rule(fields["because"], "because") if "because" in fields else None,
            evasions=evasions,
            spared=spared,
            allowed_by=self._names(fields.get("allowedBy"), "allowedBy"),
        )

    def _written(self, node: Node, name: str) -> Written:
        return Written(self._decoder.text(node, name), node.span)

    def _names(self, node: Node | None, name: str) -> tuple[Written, ...]:
        """A text, or a list of them."""
        if isinstance(node, Scalar) and not is_null(node):
            return (self._written(node, name),)
        return tuple(self._written(item, name) for item in self._decoder.items(node, name))

    def _evasions(self, node: Node | None) -> tuple[tuple[Written, ...], tuple[Written, ...]]:
        """The kinds that are asked for, and those that are not among all."""
        if not isinstance(node, MappingNode):
            return self._names(node, "evasions"), ()
        fields = self._decoder.fields(node, "evasions", ("except",))
        if "except" not in fields:
            help_ = f"write `evasions: {ALL}`, or name some: `{{except: […]}}`"
            self._lacks(node, ("except",), "this spares no evasion", help_)
        return (Written(ALL, node.span),), self._names(fields.get("except"), "except")

    def _chosen(
        self, node: Node, name: str, among: Iterable[str], all_of: Iterable[str] | None = None
    ) -> tuple[str, ...]:
        """Callers by their names, or all of them."""
        among = tuple(among)
        known = among if all_of is None else tuple(all_of)
        if isinstance(node, Scalar) and node.value == ALL:
            return among
        items = (node,) if isinstance(node, Scalar) and not is_null(node) else self._decoder.items(node, name)
        chosen = []
        for item in items:
            caller = self._decoder.text(item, name)
            if caller in among:
                chosen.append(caller)
            elif caller in known:
                self._wrong(
                    item, f"caller {quoted(caller)} does not ask in this test", "add it to `from`, or drop it here"
                )
            else:
                self._unknown_name(item, caller, "caller", known)
        if name == "from" and not items and not self._decoder.broken(node):
            self._wrong(node, "there are no callers for this test", "name them, or leave `from` out for all")
        return tuple(dict.fromkeys(chosen))

    def _rule(self, node: Node, name: str) -> RuleRef | None:
        text = self._decoder.text(node, name)
        found = _RULE.fullmatch(text)
        if found is not None:
            return RuleRef(found[1], int(found[2]), node.span)
        if not self._decoder.broken(node):
            help_ = "write `namespace/name#0` for the first rule of that policy"
            self._wrong(node, f"{quoted(text)} in `{name}` names no rule", help_)
        return None

    def _expectation(self, node: Node | None) -> Expectation:
        before = self._problems.errors
        fields = self._decoder.fields(node, "expect", _EXPECT)
        if not fields and self._problems.errors == before and node is not None:
            self._wrong(
                node, "this expects nothing", f"give at least one of {', '.join(f'`{key}`' for key in _EXPECT)}"
            )
        verdicts = {verdict.value.lower(): verdict for verdict in Verdict}
        verdict = self._decoder.choice(fields["verdict"], "verdict", verdicts) if "verdict" in fields else None
        missing = None
        if "missing" in fields:
            missing = tuple(each.text for each in self._names(fields["missing"], "missing"))
        return Expectation(
            verdict=None if verdict is None else verdicts[verdict],
            status=self._decoder.integer(fields["status"], "status") if "status" in fields else None,
            reason=self._decoder.choice(fields["reason"], "reason", REASONS) if "reason" in fields else None,
            nearest=self._rule(fields["nearest"], "nearest") if "nearest" in fields else None,
            missing=missing,
        )

    def _log(self, node: MappingNode, fields: Mapping[str, Node]) -> LogCheck:
        for key in fields:
            if key not in ("name", "to", "log", "expect"):
                self._wrong(node.keys[key], f"`{key}` has no meaning for recorded traffic", "remove it, or `log`")
        path = self._written(fields["log"], "log")
        expect = fields.get("expect")
        if expect is None:
            self._lacks(
                node, _TEST, "this test does not say what may become of the traffic", "write `expect: unchanged`"
            )
        elif isinstance(expect, Scalar):
            self._decoder.choice(expect, "expect", ("unchanged",))
        else:
            counts = self._decoder.fields(expect, "expect", _EXPECT_OF_LOG)
            denied, allowed = (
                self._decoder.integer(counts[key], key) or 0 if key in counts else 0 for key in _EXPECT_OF_LOG
            )
            return LogCheck(path=path, newly_denied=denied, newly_allowed=allowed)
        return LogCheck(path=path)

    # Requests ---------------------------------------------------------------------------------------------------------

    def _requests(self, node: MappingNode, fields: Mapping[str, Node]) -> tuple[Request, ...]:
        before = self._problems.errors
        connection = self._connection(fields.get("connection"))
        if connection.protocol is Protocol.TCP:
            for key in ("request", "matrix"):
                if key in fields:
                    self._wrong(node.keys[key], "a TCP connection has no request", "drop it, or drop `protocol: tcp`")
            return (connection,)
        base = self._base(fields["request"]) if "request" in fields else {}
        axes = self._axes(fields["matrix"]) if "matrix" in fields else {}
        if self._problems.errors > before:
            return ()
        given = {*base, *axes}
        if missing := [key for key in ("method", "path") if key not in given]:
            what = "has no request" if not given else f"has no `{missing[0]}` in its request"
            self._lacks(node, _TEST, f"this test {what}", "write `request: GET /path`, or a `matrix`")
            return ()
        if (count := prod(map(len, axes.values()))) > MAX_REQUESTS:
            self._wrong(fields["matrix"], f"the matrix comes to {count:,} requests", f"the limit is {MAX_REQUESTS:,}")
            return ()
        common = {"sni": connection.sni, "port": connection.port, **base}
        names = tuple(axes)
        return tuple(_request({**common, **dict(zip(names, row, strict=True))}) for row in product(*axes.values()))

    def _connection(self, node: Node | None) -> Request:
        fields = self._decoder.fields(node, "connection", _CONNECTION)
        protocols = {protocol.value: protocol for protocol in Protocol}
        protocol = self._decoder.choice(fields["protocol"], "protocol", protocols) if "protocol" in fields else None
        return Request(
            protocol=Protocol.HTTP if protocol is None else protocols[protocol],
            port=self._port(fields["port"]) if "port" in fields else None,
            sni=self._decoder.text(fields["sni"], "sni") if "sni" in fields else None,
        )

    def _base(self, node: Node) -> dict[str, object]:
        """The facts of a request in its short or its long form."""
        if isinstance(node, Scalar):
            text = self._decoder.text(node, "request")
            if self._decoder.broken(node):
                return {}
            document = self._document(node, {"request": text}, ("request",))
            return {} if document is None else {"method": document.attributes.method, "path": document.attributes.path}
        fields = self._decoder.fields(node, "request", _REQUEST)
        return {key: value for key in fields if key in _REQUEST for value in self._fact(key, fields[key])}

    def _axes(self, node: Node) -> dict[str, list[object]]:
        """What a matrix varies, each with its values."""
        axes = {}
        for key, value in self._decoder.fields(node, "matrix", _REQUEST).items():
            if key not in _REQUEST:
                continue
            items = self._decoder.items(value, key)
            if not items and not self._decoder.broken(value):
                self._wrong(value, f"`{key}` has no values", "list at least one, or drop it from `matrix`")
            axes[key] = [fact for item in items for fact in self._fact(key, item)]
        if not axes and isinstance(node, MappingNode) and not node.entries:
            self._wrong(node, "this matrix varies nothing", "give it lists, such as `method` and `path`")
        return axes

    def _fact(self, key: str, node: Node) -> Iterable[object]:
        """One fact of a request, none where it is wrong."""
        if key == "port":
            return [] if (port := self._port(node)) is None else [port]
        data: dict[str, object] = {"method": "GET", "path": "/", key: to_data(node)}
        document = self._document(node, {"request": data}, ("request", key))
        return [] if document is None else [getattr(document.attributes, key)]

    def _document(self, node: Node, data: dict[str, object], at: tuple[str, ...]) -> RequestDocument | None:
        """`data` read as request documents are, for the one fact in it that is at the path `at`, and written at `node`."""
        try:
            return parse_request({"destination": _NOWHERE, **data})
        except RequestError as error:
            inside = error.path[len(at) :]
            place = node_at(node, inside) or node
            if isinstance(error, UnknownFieldError) and isinstance(place, MappingNode):
                place = place.keys.get(error.name, place)
            self._problems.error("bad-test", error.message, place.span, help=error.help)
            return None

    # The whole --------------------------------------------------------------------------------------------------------

    def _complete(self, node: Node | None, callers: Mapping[str, Caller]) -> Iterable[Complete]:
        for item in (node,) if isinstance(node, MappingNode) else self._decoder.items(node, "complete"):
            fields = self._decoder.fields(item, "complete", ("workload", "callers"))
            if not isinstance(item, MappingNode):
                continue
            if "workload" not in fields:
                self._wrong(item, "`complete` has no `workload`", "say of which workload the tests tell all")
                continue
            chosen = self._chosen(fields["callers"], "callers", callers) if "callers" in fields else tuple(callers)
            yield Complete(self._written(fields["workload"], "workload"), chosen)

    def _coverage(self, node: Node | None) -> CoverageGate | None:
        if node is None:
            return None
        fields = self._decoder.fields(node, "coverage", _COVERAGE)
        routes = None
        if "routes" in fields:
            inner = self._decoder.fields(fields["routes"], "routes", ("openapi", "min"))
            if "openapi" in inner:
                minimum = self._percent(inner["min"], "min") if "min" in inner else None
                routes = RoutesGate(self._written(inner["openapi"], "openapi"), minimum or 0.0)
            elif isinstance(fields["routes"], MappingNode):
                self._wrong(fields["routes"], "`routes` has no `openapi`", "name the OpenAPI document")
        percent: Callable[[str], float | None] = lambda key: self._percent(fields[key], key) if key in fields else None  # noqa: E731
        return CoverageGate(
            policies=percent("policies"), rules=percent("rules"), conditions=percent("conditions"), routes=routes
        )

    def _percent(self, node: Node, name: str) -> float | None:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100:
            return float(value)
        self._wrong(node, f"`{name}` is no percentage: {described(node)}", "write a number from 0 to 100")
        return None


_REQUIRED = {"name": "give it one: failures are reported under it", "to": "say which workload is asked"}


def _request(facts: Mapping[str, object]) -> Request:
    given: dict[str, object] = {key: value for key, value in facts.items() if value is not None}
    return Request(**given)  # type: ignore[arg-type]  # each was read as the fact of its name
