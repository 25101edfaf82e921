"""Ports: those that no workload has, and those that carry something else than the rule thinks."""

from collections.abc import Iterator, Sequence

from authz.findings.codes import DENIES_TCP_PORT, UNKNOWN_PORT
from authz.findings.finding import Finding, named
from authz.findings.reading import Part, ReadRule, Value
from authz.matcher import Port
from authz.model import Action, Policy
from authz.workload import ProxyKind, Workload
from mesh.findings.surroundings import Surroundings

__all__ = ["find_about_ports"]

_PORT = "destination.port"


def find_about_ports(policy: Policy, rules: Sequence[ReadRule], mesh: Surroundings) -> Iterator[Finding]:
    """What is odd about the ports that the rules of `policy` name, for the workloads that it is for."""
    # Behind a waypoint, ports are those of the service.
    if any(target.kind != "Gateway" for target in policy.target_refs):
        return
    asked = [(rule, value) for rule in rules for value in _named(rule)]
    if not asked:
        return
    workloads = mesh.workloads(policy)
    # Of gateways it depends on how they are installed whether the port of the Service is theirs, too.
    if not workloads or any(workload.proxy is not ProxyKind.SIDECAR for workload in workloads):
        return
    declared = all(workload.ports for workload in workloads)
    has = {port for workload in workloads for port in workload.ports}
    for rule, value in asked:
        number = _number(value)
        if declared and number not in has:
            yield _unknown(rule, value, number, has | {0}, _leads_to(number, workloads, mesh))
    if policy.action is Action.DENY:
        opaque = _opaque(workloads, mesh)
        for rule in rules:
            yield from _denying(rule, opaque)


def _named(rule: ReadRule) -> Iterator[Value]:
    for clause in rule.clauses:
        if clause.attribute.key == _PORT:
            yield from clause.wanted


def _number(value: Value) -> int:
    (matcher,) = value.matchers
    return matcher.number if isinstance(matcher, Port) else 0


def _unknown(rule: ReadRule, value: Value, number: int, has: set[int], leads_to: int | None) -> Finding:
    known = ", ".join(f"`{port}`" for port in sorted(has - {0})[:5])
    return Finding(
        code=UNKNOWN_PORT,
        policy=rule.policy,
        path=value.path,
        message=f"no workload of this policy has the port `{number}`"
        + ("" if leads_to is None else f": it is the one of the Service, and leads to `{leads_to}`"),
        help=f"write `{leads_to}`: a policy sees the port of the workload"
        if leads_to is not None
        else f"known here: {known}",
    )


def _leads_to(number: int, workloads: Sequence[Workload], mesh: Surroundings) -> int | None:
    """The port of the workloads that a port of one of their services leads to."""
    for workload in workloads:
        for service in mesh.services(workload):
            for port in service.ports:
                if port.number == number and port.target not in (None, number):
                    return port.target
    return None


def _opaque(workloads: Sequence[Workload], mesh: Surroundings) -> dict[int, str]:
    """The ports of the workloads that carry no HTTP, by what a service says of them, and no other denies."""
    opaque: dict[int, str] = {}
    readable: set[int] = set()
    for workload in workloads:
        for service in mesh.services(workload):
            for port in service.ports:
                if port.target is None:
                    continue
                if port.opaque:
                    opaque.setdefault(port.target, f"{service.namespace}/{service.name}")
                else:
                    readable.add(port.target)
    return {port: service for port, service in opaque.items() if port not in readable}


def _denying(rule: ReadRule, opaque: dict[int, str]) -> Iterator[Finding]:
    """Operations that look at HTTP on a port without it: on TCP a DENY rule is left with the rest."""
    for part in rule.operations:
        if not _only_http_and_ports(part, rule):
            continue
        for clause in part.clauses:
            for value in clause.wanted if clause.attribute.key == _PORT else ():
                if (service := opaque.get(_number(value))) is not None:
                    yield Finding(
                        code=DENIES_TCP_PORT,
                        policy=rule.policy,
                        path=value.path,
                        message=f"port {named(value.text)} carries no HTTP, says the Service `{service}`: there this rule denies "
                        "everything, for of what it asks only the port is left",
                        help="leave the port out, or name the port of the Service `http-…` or set its `appProtocol`",
                    )


def _only_http_and_ports(part: Part, rule: ReadRule) -> bool:
    """Whether what a rule asks for is on TCP the port, and nothing besides."""
    asked = (*part.clauses, *rule.conditions, *(clause for source in rule.sources for clause in source.clauses))
    others = [clause for clause in asked if clause.attribute.key != _PORT]
    return bool(others) and all(clause.attribute.http_only for clause in others)
