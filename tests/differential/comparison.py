"""Comparison: the same questions to an Envoy with native filters and to one that asks meshward."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from authz import attributes
from authz.decision import Stage, Verdict
from authz.model import Policy
from authz.workload import GATEWAY_LABEL
from demo.envoy import Envoy
from demo.process import wait_until
from demo.sidecar import Json
from demo.wire import Endpoint
from extauthz.token_mode import TokenMode
from tests.differential import emitter
from tests.differential.application import application
from tests.differential.asking import NOT_CONNECTED, Answer, Client, connect_and_talk
from tests.differential.bootstrap import Places, Slot, bootstrap
from tests.differential.cases import Case, Connection, Http, HttpVersion, Mesh, Question, Tcp
from tests.differential.certificates import Certificates
from tests.differential.jwt_emitter import ROOT_NAMESPACE, jwt_authn
from tests.differential.reading import Entry, Seen, by_envoy, by_meshward, with_dry_runs
from tests.integration.serving import Manifests, serving

__all__ = ["MAX_CASES", "Authorizer", "Both", "Comparison", "Serving", "compare", "serving"]

MAX_CASES = 250
"""How many cases one comparison may have: each has addresses of its own, told apart by one octet."""

_LANES = 8
_LOGGED = 20.0
_LAST = "last"
_NO_ROUTE = "route_not_found"


class Authorizer(Protocol):
    """Who is asked: where, and what it decided so far."""

    @property
    def socket(self) -> Path: ...

    def decisions(self) -> list[dict[str, Any]]: ...


class Both(NamedTuple):
    """What each side made of one question."""

    native: Seen
    meshward: Seen

    @property
    def agree(self) -> bool:
        native, meshward = self.native, self.meshward
        if meshward.refusal == _NO_ROUTE:
            # Then ext_authz asks nobody. The request gets nowhere, whatever policies say of it.
            return True
        if native.decided is not None and meshward.decided is not None and native.answer.status is None:
            # Envoy does not say by which rule it lets a connection through, or whether by any.
            native, meshward = map(_without_rule_if_allowed, (native, meshward))
        return native == meshward

    @property
    def kind(self) -> tuple[object, ...]:
        """In what way they differ: differences of one kind may well have one cause."""
        native, meshward = self.native.decided, self.meshward.decided
        first = None
        if native is not None and meshward is not None:
            first = next((name for name in native._fields if getattr(native, name) != getattr(meshward, name)), None)
        return self.native.refusal, self.meshward.refusal, native is None, meshward is None, first


def _without_rule_if_allowed(seen: Seen) -> Seen:
    decided = seen.decided
    if decided is None or decided.verdict is Verdict.DENY:
        return seen
    return seen._replace(decided=decided._replace(stage=Stage.NONE, match=None))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A case and what became of each of its questions, in their order."""

    mesh: Mesh
    case: Case
    results: tuple[Both, ...]

    def differences(self) -> Iterator[tuple["Case", Both]]:
        """Each question on which the sides differ, with the policies, and what they said."""
        for question, both in zip(self.case.questions, self.results, strict=True):
            if not both.agree:
                yield replace(self.case, questions=(question,)), both


Serving = Callable[[Manifests], AbstractContextManager[Authorizer]]


def compare(
    mesh: Mesh, cases: Sequence[Case], *, authorizer: Serving = serving, tokens: TokenMode = TokenMode.VERIFY
) -> list[Comparison]:
    """Put the questions of all `cases`, at most `MAX_CASES`, to both sides, with one Envoy and one `authorizer`.

    `tokens` says how the authorizer was told to come by what tokens say.
    """
    assert len(cases) <= MAX_CASES
    slotted = [_in_slot(case, slot) for slot, case in enumerate(cases)]
    with ExitStack() as parts:
        # Not pytest's own directory: its path is too long for a Unix socket.
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        callers = {question.connection.caller for case in cases for question in case.questions}
        certificates = Certificates((caller for caller in callers if caller is not None), directory / "certificates")
        served = parts.enter_context(authorizer({"mesh.yaml": _manifests(mesh, slotted)}))
        configuration = bootstrap(
            [_slot(case, slot, mesh) for slot, case in enumerate(slotted)],
            mesh,
            Places(
                tls=certificates.server,
                meshward=served.socket,
                application=directory / "application.sock",
                access_log=Envoy.access_log(directory / "envoy"),
            ),
            tokens=tokens,
        )
        envoy = parts.enter_context(Envoy("differential", configuration, directory / "envoy"))
        asking = _Asking(envoy, certificates)
        answers = asyncio.run(asking.ask_all(slotted, directory / "application.sock"))
        entries = asking.entries(slotted, answers)
        decisions = _by_workload(served.decisions())
    return [
        Comparison(mesh, case, _results(slot, case, answers, entries, decisions.get(_workload(slot), [])))
        for slot, case in enumerate(cases)
    ]


# Cases side by side ---------------------------------------------------------------------------------------------------


def _workload(slot: int) -> str:
    return f"shop/s{slot}"


def _in_slot(case: Case, slot: int) -> Case:
    """The case with names and addresses that no other has: policies by their labels, connections by where they go."""
    policies = tuple(_policy_in_slot(policy, slot) for policy in case.policies)
    questions = tuple(
        replace(
            question,
            connection=replace(
                question.connection, destination=_in_slot_address(question.connection.destination, slot)
            ),
        )
        for question in case.questions
    )
    authentications = tuple(
        replace(policy, name=f"s{slot}-{policy.name}", selector={"slot": str(slot)}) for policy in case.authentications
    )
    return Case(policies=policies, questions=questions, authentications=authentications)


def _policy_in_slot(policy: Policy, slot: int) -> Policy:
    rules = tuple(
        replace(
            rule,
            conditions=tuple(
                replace(
                    condition,
                    values=tuple(_in_slot_range(value, slot) for value in condition.values),
                    not_values=tuple(_in_slot_range(value, slot) for value in condition.not_values),
                )
                if condition.key == "destination.ip"
                else condition
                for condition in rule.conditions
            ),
        )
        for rule in policy.rules
    )
    return replace(policy, name=f"s{slot}-{policy.name}", selector={"slot": str(slot)}, rules=rules)


def _in_slot_range(value: str, slot: int) -> str:
    address, slash, length = value.partition("/")
    return _in_slot_address(address, slot) + slash + length


def _in_slot_address(address: str, slot: int) -> str:
    """The address with `slot` for its third octet, of IPv6 the ninth; for those that map IPv4, of what they map."""
    parsed = ip_address(address)
    octet = 2
    if isinstance(parsed, IPv6Address):
        octet = 14 if parsed.ipv4_mapped else 8
    packed = bytearray(parsed.packed)
    packed[octet] = slot
    return str(ip_address(bytes(packed)))


def _slot(case: Case, slot: int, mesh: Mesh) -> Slot:
    http, tcp = (
        emitter.filters(case.policies, protocol=protocol, trust_domains=mesh.trust_domains)
        for protocol in (attributes.Protocol.HTTP, attributes.Protocol.TCP)
    )
    jwt = jwt_authn(case.authentications, gateway=mesh.trusted_proxies is not None)
    return Slot(workload=_workload(slot), http=http, tcp=tcp, jwt=jwt)


def _manifests(mesh: Mesh, cases: Sequence[Case]) -> str:
    documents: list[Json] = [_mesh_document(mesh)]
    for slot, case in enumerate(cases):
        addresses = {question.connection.destination for question in case.questions if isinstance(question, Tcp)}
        labels = {"slot": str(slot)}
        if mesh.trusted_proxies is not None:
            labels[GATEWAY_LABEL] = "gateway"
        documents.append(_pod(slot, labels, sorted(addresses)))
        documents += case.documents()
    return "".join(f"---\n{json.dumps(document)}\n" for document in documents)


def _mesh_document(mesh: Mesh) -> Json:
    own, *aliases = mesh.trust_domains
    return {
        "trustDomain": own,
        "trustDomainAliases": aliases,
        "rootNamespace": ROOT_NAMESPACE,
        "pathNormalization": {"normalization": mesh.normalization.value},
        "defaultConfig": {"gatewayTopology": {"numTrustedProxies": mesh.trusted_proxies or 0}},
    }


def _pod(slot: int, labels: Mapping[str, str], addresses: Sequence[str]) -> Json:
    namespace, name = _workload(slot).split("/")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {"serviceAccountName": name, "containers": [{"name": "c", "image": "x"}]},
        "status": {"podIPs": [{"ip": address} for address in addresses]},
    }


# Asking ---------------------------------------------------------------------------------------------------------------

_Side = str
_Answers = dict[tuple[_Side, str], Answer]
_NATIVE, _MESHWARD = "native", "meshward"


class _Asking:
    """The callers of one Envoy."""

    def __init__(self, envoy: Envoy, certificates: Certificates) -> None:
        self._envoy = envoy
        self._certificates = certificates
        self._listeners: dict[tuple[_Side, type[Question]], Endpoint] = {
            (side, kind): envoy.listener(f"{side}-{name}")
            for side in (_NATIVE, _MESHWARD)
            for kind, name in ((Http, "http"), (Tcp, "tcp"))
        }

    async def ask_all(self, cases: Sequence[Case], socket: Path) -> _Answers:
        """Every question of every case to both sides: several cases at a time, the questions of one in their order.

        The application behind them listens on `socket` meanwhile.
        """
        async with application(socket):
            return await self._ask_all(cases)

    async def _ask_all(self, cases: Sequence[Case]) -> _Answers:
        answers: _Answers = {}
        waiting = iter(enumerate(cases))

        async def lane() -> None:
            for slot, case in waiting:
                for side in (_NATIVE, _MESHWARD):
                    async for question, answer in self._ask_case(slot, case, side):
                        answers[side, question] = answer

        await asyncio.gather(*(lane() for _ in range(_LANES)))
        last = Client(self._listeners[_NATIVE, Http], Connection(), HttpVersion.HTTP_1, self._certificates)
        await last.ask(Http(), slot=0, case=_LAST)
        last.close()
        return answers

    async def _ask_case(self, slot: int, case: Case, side: _Side) -> AsyncIterator[tuple[str, Answer]]:
        clients: dict[tuple[Connection, HttpVersion], Client] = {}
        for number, question in enumerate(case.questions):
            endpoint = self._listeners[side, type(question)]
            name = _name(slot, number)
            if isinstance(question, Tcp):
                talk = connect_and_talk(endpoint, question, self._certificates, slot=slot, case=f"{side}-{name}")
                yield name, await talk
                continue
            key = question.connection, question.version
            if key not in clients:
                clients[key] = Client(endpoint, *key, self._certificates)
            yield name, await clients[key].ask(question, slot=slot, case=f"{side}-{name}")
        for client in clients.values():
            client.close()

    def entries(self, cases: Sequence[Case], answers: _Answers) -> dict[str, Entry]:
        """What the access log has of them, by the name of the question with its side."""
        log: dict[str, Entry] = {}
        connections = {
            f"{side}-{_name(slot, number)}"
            for slot, case in enumerate(cases)
            for number, question in enumerate(case.questions)
            for side in (_NATIVE, _MESHWARD)
            if isinstance(question, Tcp) and answers[side, _name(slot, number)] is not NOT_CONNECTED
        }

        def written() -> bool | None:
            log.clear()
            log.update((entry["case"], entry) for entry in self._envoy.entries())
            # A request is logged before the next one is read, a connection when it is closed.
            return (_LAST in log and connections <= log.keys()) or None

        wait_until(written, "the access log", seconds=_LOGGED)
        return log


def _name(slot: int, number: int) -> str:
    return f"{slot}-{number}"


def _by_workload(decisions: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for decision in decisions:
        found.setdefault(decision.get("workload", ""), []).append(decision)
    return found


def _results(
    slot: int, case: Case, answers: _Answers, entries: dict[str, Entry], decisions: list[Entry]
) -> tuple[Both, ...]:
    names = [_name(slot, number) for number in range(len(case.questions))]
    native, meshward = (
        [read(answers[side, name], entries.get(f"{side}-{name}")) for name in names]
        for side, read in ((_NATIVE, by_envoy), (_MESHWARD, by_meshward))
    )
    return tuple(map(Both, native, with_dry_runs(meshward, decisions)))
