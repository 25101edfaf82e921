"""The shop of `policies/shop` as a small mesh: four sidecars, two applications, an authority, meshward.

shop/web ──┐ mTLS
           ├──> shop/api (HTTP) ──mTLS──> shop/db (TCP)
ops/admin ─┘
"""

import http
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Any

from authz.decision import Verdict
from authz.mesh_config import PathNormalization
from demo import sidecar, tls, wire
from demo.authority import AuthorityServer
from demo.envoy import Envoy
from demo.part import Part
from demo.process import DemoError, wait_until
from demo.server import MESHWARD, SOCKET, Server
from demo.sidecar import Destination, InboundPort
from demo.upstream import EchoServer, HttpApplication
from identity import SpiffeId, TrustDomain

__all__ = ["POLICIES", "Call", "Caller", "HttpCall", "Outcome", "Shop", "TcpCall"]

POLICIES = Path(__file__).resolve().parents[1] / "policies" / "shop"
"""The policy pack that the shop is served with."""

_TRUST_DOMAIN = TrustDomain("cluster.local")
_HOST = "api.shop.svc.cluster.local:8080"
_RELOADED = 10.0
_MEMBERS = (("shop", "web"), ("shop", "api"), ("shop", "db"), ("ops", "admin"))
"""Whose sidecars there are: namespace and service account."""


class Caller(Enum):
    """Who calls, and which way."""

    WEB = "shop/web"
    WEB_PAST_SIDECAR = "shop/web directly"
    ADMIN = "ops/admin"
    API = "shop/api"
    NOBODY = "nobody (plaintext)"


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request to shop/api. `target` and every header go out as written."""

    method: str
    target: str
    headers: tuple[wire.Header, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.method, self.target, *(f"{name}:{value}" for name, value in self.headers)])


@dataclass(frozen=True, slots=True)
class TcpCall:
    """A connection to shop/db, and the bytes that it begins with."""

    payload: bytes = b"SELECT price FROM items;\n"

    def __str__(self) -> str:
        return "TCP connection to shop/db"


Call = HttpCall | TcpCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a call: as its caller saw it, and as the destination's Envoy logged it.

    `status` is `None` on TCP. `policy` and `rule` are `None` where no rule decided, `revision` where meshward did not
    answer, and `check_us`, how long Envoy waited for it, where Envoy did not measure it.
    """

    verdict: Verdict
    status: int | None
    policy: str | None
    rule: int | None
    reason: str
    revision: str | None
    check_us: int | None


class Shop(Part):
    """The running shop. Everything of it is in `directory`, and ends with `stop` or at the end of a `with`."""

    def __init__(self, directory: Path, *, command: Sequence[str] = MESHWARD) -> None:
        """Start all of it; `command` is meshward's command line.

        Raises:
            DemoError: a part did not come up. Those that did are ended.
        """
        self._parts = ExitStack()
        self._ids = count(1)
        self._socket = directory / "meshward" / SOCKET
        self._directory = directory
        try:
            names = [_spiffe_id(account, namespace) for namespace, account in _MEMBERS]
            # Before the sidecars, which get their certificates from it.
            self.authority = self._parts.enter_context(
                AuthorityServer(_TRUST_DOMAIN, names, directory / "authority", command=command)
            )
            # The sidecars come first, for the policies name a port that is theirs to choose; until the server is there
            # they deny.
            self._start_sidecars()
            self.policies = self._publish(directory / "policies")
            self.server = self._parts.enter_context(Server(self.policies, directory / "meshward", command=command))
        except BaseException:
            self.stop()
            raise

    def ask(self, caller: Caller, call: Call) -> Outcome:
        """Make the call and say what became of it.

        Raises:
            DemoError: the call did not reach the destination, or its Envoy logged nothing.
            OSError: an Envoy did not answer at all.
            ValueError: `caller` has no way to the destination.
        """
        match call:
            case HttpCall():
                return self._ask_api(caller, call)
            case TcpCall():
                return self._ask_db(caller, call)

    def edit(self, file: str, old: str, new: str) -> str:
        """Replace `old`, which occurs once in that file of the served policies, and return the new revision in force.

        Raises:
            TimeoutError: the server did not take it up.
            ValueError: `old` does not occur exactly once.
        """
        before = self._revision()
        path = self.policies / file
        text = path.read_text()
        if text.count(old) != 1:
            raise ValueError(f"`{old}` occurs {text.count(old)} times in {file}")
        # Elsewhere first, then in one step: a server that reads half a file would refuse it, rightly.
        beside = self._directory / file
        beside.write_text(text.replace(old, new))
        beside.replace(path)
        return wait_until(lambda: self._revision_unless(before), "the new revision", seconds=_RELOADED)

    def stop(self) -> None:
        """End everything. Ending it twice is harmless."""
        self._parts.close()

    # Starting

    def _publish(self, directory: Path) -> Path:
        """The served copy of the pack, with the API's port as it is here; what is edited is never the pack itself."""
        shutil.copytree(POLICIES, directory)
        api = directory / "api.yaml"
        port = self._api.listener("inbound").port
        api.write_text(api.read_text().replace('ports: ["8080"]', f'ports: ["{port}"]'))
        return directory

    def _start_sidecars(self) -> None:
        self._db = self._start(
            "db",
            listeners=[sidecar.inbound_tcp(self._inbound("db"))],
            clusters=[
                sidecar.authorizer(self._socket),
                sidecar.application("application", self._parts.enter_context(EchoServer()).endpoint),
            ],
        )
        inbound = sidecar.inbound_http(
            self._inbound("api"),
            workload="shop/api",
            path_normalization=PathNormalization.MERGE_SLASHES,
        )
        self._api = self._start(
            "api",
            listeners=[inbound, sidecar.outbound_tcp("outbound", cluster="db")],
            clusters=[
                sidecar.authorizer(self._socket),
                sidecar.application("application", self._parts.enter_context(HttpApplication()).endpoint),
                sidecar.peer("db", self._destination("db", self._db), tls=_tls("api")),
            ],
        )
        self._clients = {
            caller: self._start(
                account,
                namespace=namespace,
                listeners=[sidecar.outbound_http("outbound", cluster="api")],
                clusters=[
                    sidecar.peer("api", self._destination("api", self._api), tls=_tls(account, namespace)),
                ],
            )
            for caller, namespace, account in [(Caller.WEB, "shop", "web"), (Caller.ADMIN, "ops", "admin")]
        }
        self._clients[Caller.API] = self._api
        files = self.authority.issue(_spiffe_id("web"), self._directory / "web-directly")
        self._past_sidecar = wire.Tls(tls.client_context(files), "api.shop")

    def _start(
        self,
        account: str,
        *,
        listeners: Sequence[sidecar.Json],
        clusters: Sequence[sidecar.Json],
        namespace: str = "shop",
    ) -> Envoy:
        workload = f"{namespace}/{account}"
        secrets = sidecar.secrets(self.authority.secrets)
        configuration = sidecar.bootstrap(workload, listeners=listeners, clusters=[*clusters, secrets])
        return self._parts.enter_context(Envoy(workload, configuration, self._directory / account))

    def _inbound(self, account: str) -> InboundPort:
        return InboundPort(
            name="inbound",
            tls=_tls(account),
            trust_domain=_TRUST_DOMAIN,
            cluster="application",
            access_log=Envoy.access_log(self._directory / account),
        )

    def _destination(self, account: str, envoy: Envoy) -> Destination:
        host = f"{account}.shop.svc.cluster.local"
        return Destination(envoy.listener("inbound"), _spiffe_id(account), f"outbound_.8080_._.{host}")

    # Asking

    def _ask_api(self, caller: Caller, call: HttpCall) -> Outcome:
        name = f"demo-{next(self._ids)}"
        headers = (("Host", _HOST), ("X-Request-Id", name), *call.headers)
        endpoint, context = self._way(caller, self._api)
        answer = wire.request(endpoint, call.method, call.target, headers, tls=context)
        if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            # The caller's own sidecar answers this: the request did not get to the destination, which logs nothing.
            raise DemoError(f"{caller.value} did not reach shop/api: {answer.body.decode(errors='replace')}")
        entry = self._api.wait_for_entry(lambda entry: entry["request_id"] == name)
        verdict = Verdict.ALLOW if answer.status == http.HTTPStatus.OK else Verdict.DENY
        return _outcome(entry, verdict, status=answer.status)

    def _ask_db(self, caller: Caller, call: TcpCall) -> Outcome:
        seen = len(list(self._db.entries()))
        endpoint, context = self._way(caller, self._db)
        answer = wire.exchange(endpoint, call.payload, tls=context)
        entry = self._db.wait_for_entry(lambda _: True, skip=seen)
        return _outcome(entry, Verdict.ALLOW if answer == call.payload else Verdict.DENY, status=None)

    def _way(self, caller: Caller, destination: Envoy) -> tuple[wire.Endpoint, wire.Tls | None]:
        match caller:
            case Caller.NOBODY:
                return destination.listener("inbound"), None
            case Caller.WEB_PAST_SIDECAR:
                return destination.listener("inbound"), self._past_sidecar
            case Caller.WEB | Caller.ADMIN | Caller.API:
                if (destination is self._db) != (caller is Caller.API):
                    raise ValueError(f"the sidecar of {caller.value} leads nowhere but to its own destination")
                return self._clients[caller].listener("outbound"), None

    def _revision(self) -> str | None:
        return self.ask(Caller.NOBODY, HttpCall("GET", "/revision")).revision

    def _revision_unless(self, before: str | None) -> str | None:
        return None if (now := self._revision()) == before else now


def _spiffe_id(account: str, namespace: str = "shop") -> SpiffeId:
    return SpiffeId.for_workload(_TRUST_DOMAIN, namespace=namespace, service_account=account)


def _tls(account: str, namespace: str = "shop") -> tls.TlsSecrets:
    return tls.TlsSecrets(certificate=str(_spiffe_id(account, namespace)), bundle=str(_TRUST_DOMAIN.id))


def _outcome(entry: dict[str, Any], verdict: Verdict, *, status: int | None) -> Outcome:
    decision = entry["decision"] or {}
    rule = decision.get("rule")
    check_us = entry.get("check_us")
    return Outcome(
        verdict=verdict,
        status=status,
        policy=decision.get("policy"),
        rule=None if rule is None else int(rule),
        reason=decision.get("reason") or entry["details"] or "",
        revision=decision.get("revision"),
        check_us=None if check_us is None else int(check_us),
    )
