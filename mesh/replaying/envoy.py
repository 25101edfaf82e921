"""Envoy's access log as JSON lines, in the words of `docs/replay.md`, which are Istio's where Istio has one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

import orjson

from authz.attributes import Address, Attributes, Protocol
from authz.decision import Stage, Verdict
from authz.remote_address import remote_address
from authz.values import ascii_lower
from authz.workload import ProxyKind
from mesh.replaying.decisions import recorded_in
from mesh.replaying.reading import Defaults, NoRecordError, Reading
from mesh.replaying.record import Lacking, Record, Recorded
from mesh.replaying.stream import Pieces
from parser.request import Destination, RequestDocument

__all__ = ["NAMES", "Entries", "read_access_log"]

NAMES: Mapping[str, tuple[str, ...]] = {
    "workload": ("workload",),
    "method": ("method",),
    "path": ("path",),
    "host": ("authority", "host"),
    "scheme": ("scheme",),
    "peer": ("downstream_peer_uri_san", "peer"),
    "own": ("downstream_local_uri_san",),
    "direct": ("downstream_direct_remote_address",),
    "remote": ("downstream_remote_address",),
    "local": ("downstream_local_address",),
    "sni": ("requested_server_name", "sni"),
    "forwarded": ("x_forwarded_for",),
    "code": ("response_code", "status"),
    "details": ("response_code_details", "details"),
    "flags": ("response_flags", "flags"),
    "verdict": ("verdict",),
    "stage": ("stage",),
    "policy": ("policy",),
    "rule": ("rule",),
    "reason": ("reason",),
}
"""The facts that one value of an entry gives, and the keys under which it may stand there, the first that is there first."""

_KEPT = 16_384
_MOST_LAYOUTS = 256
_ABSENT = (None, "-", "")
_RBAC = re.compile(
    r"rbac_access_denied_matched_policy\[(?:(?:istio-ext-authz-.*?-)?ns\[([^\]]*)\]-policy\[([^\]]*)\]-rule\[([0-9]+)\]|.*)\]?"
)
# What Envoy's router says of requests that all filters before it have let through. Of whatever else, nobody knows.
_ROUTED = (
    "via_upstream",
    "upstream_",
    "route_not_found",
    "cluster_not_found",
    "direct_response",
    "no_healthy_upstream",
    "maintenance_mode",
    "response_timeout",
    "stream_idle_timeout",
    "per_try_timeout",
    "downstream_remote_disconnect",
)


class _Facts(NamedTuple):
    """What is read of one entry, in the order of `NAMES`."""

    workload: object
    method: object
    path: object
    host: object
    scheme: object
    peer: object
    own: object
    direct: object
    remote: object
    local: object
    sni: object
    forwarded: object
    code: object
    details: object
    flags: object
    verdict: object
    stage: object
    policy: object
    rule: object
    reason: object


def read_access_log(stream: Pieces, reading: Reading, entries: "Entries") -> Iterator[Record]:
    """The records of an access log. Entries that say the same give the same record."""
    for lines in reading.batches(stream):
        for line in lines:
            reading.line += 1
            if not line or line.isspace() or (data := reading.decoded(line)) is None:
                continue
            try:
                record = entries.record(data)
            except NoRecordError as error:
                reading.skip(error)
            else:
                yield record


class Entries:
    """Reads entries, of which there are many with the same keys, and often the same values."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._layouts: dict[tuple[str, ...], tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._known: dict[tuple[object, ...], Record] = {}

    def record(self, data: object) -> Record:
        """The record of one entry.

        Raises:
            NoRecordError: It is none.
        """
        if type(data) is not dict:
            raise NoRecordError("no entry of an access log: a line is one JSON object")
        keys = tuple(data)
        if (known_layout := self._layouts.get(keys)) is None:
            known_layout = keys, tuple([_first(data, names) for names in NAMES.values()])
            if len(self._layouts) < _MOST_LAYOUTS:
                self._layouts[keys] = known_layout
        # The keys of an earlier entry, which thousands then have in common.
        keys, layout = known_layout
        given = data.get
        values = [given(name) for name in layout]
        for peer in _PEERS:
            values[peer] = _without_port(values[peer])
        facts = _Facts(*values)
        try:
            said = (keys, facts, *(_parts(data.get(name), names) for name, names in _BESIDE))
            known = self._known.get(said)
        except TypeError:  # there is a mapping where a text should be
            return _record(facts, data, self._defaults)
        if known is None:
            known = _record(facts, data, self._defaults)
            if len(self._known) < _KEPT:
                self._known[said] = known
        return known


_DECISION = ("verdict", "stage", "policy", "rule", "reason")
_BESIDE: Sequence[tuple[str, Sequence[str] | None]] = (("headers", None), ("jwt", None), ("decision", _DECISION))


def _parts(value: object, names: Sequence[str] | None) -> object:
    """What a mapping says, all of it or under these names, as something that can be looked up."""
    if type(value) is not dict:
        return value
    # As text, for true and 1 are equal, and not the same.
    return orjson.dumps(value if names is None else [value.get(name) for name in names])


def _first(data: Mapping[str, object], names: Sequence[str]) -> str:
    return next((name for name in names if name in data), names[0])


def _record(facts: _Facts, data: Mapping[str, object], defaults: Defaults) -> Record:
    method, path = _text(facts.method, "method"), _text(facts.path, "path")
    source_ip, _ = _address(facts.direct, "downstream_direct_remote_address")
    remote_ip, _ = _address(facts.remote, "downstream_remote_address")
    local_ip, port = _address(facts.local, "downstream_local_address")
    peer, sni = _text(facts.peer, "downstream_peer_uri_san"), _text(facts.sni, "requested_server_name")
    # A certificate may have several names; policies look at each, and Envoy writes them one after the other.
    identities = tuple(peer.split(",")) if peer is not None else ()
    if not identities and defaults.principal is not None:
        identities = (defaults.principal,)
    is_http = method is not None or path is not None
    headers, logged = _headers(data.get("headers")) if is_http else ({}, frozenset[str]())
    claims = _claims(data.get("jwt")) if is_http else None
    if is_http and (method is None or path is None):
        raise NoRecordError(f"no `{'method' if method is None else 'path'}`", help="an entry of a request has both")
    forwarded = _text(facts.forwarded, "x_forwarded_for")
    if source_ip is None:
        source_ip, remote_ip = remote_ip, None
    if forwarded is not None:
        headers.setdefault("x-forwarded-for", (forwarded,))
        if remote_ip is None:
            remote_ip = remote_address((forwarded,), source_ip, ProxyKind.SIDECAR, trusted_proxies=0)
    destination = Destination(
        workload=_text(facts.workload, "workload") or defaults.workload,
        principal=_text(facts.own, "downstream_local_uri_san"),
        address=None if local_ip is None else str(local_ip),
    )
    if destination.workload is None and destination.principal is None and destination.address is None:
        raise NoRecordError(
            "no destination",
            help="log `workload`, `downstream_local_uri_san` or `downstream_local_address`, or name it with --workload",
        )
    attributes = Attributes(
        protocol=Protocol.HTTP if is_http else Protocol.TCP,
        identities=identities,
        source_ip=source_ip,
        remote_ip=remote_ip or source_ip,
        destination_ip=local_ip,
        destination_port=port,
        sni=sni,
        method=method,
        path=path,
        host=_text(facts.host, "authority"),
        scheme=_text(facts.scheme, "scheme"),
        headers=headers,
        claims=claims,
    )
    recorded = _recorded(facts, data.get("decision"))
    lacking = None
    if is_http:
        refused = recorded is not None and recorded.stage is Stage.JWT
        lacking = Lacking(logged=logged | headers.keys(), claims="jwt" not in data, refused_token=refused)
    return Record(
        document=RequestDocument(destination=destination, attributes=attributes), recorded=recorded, lacking=lacking
    )


def _text(value: object, name: str) -> str | None:
    if value in _ABSENT:
        return None
    if isinstance(value, str):
        return value
    raise NoRecordError(f"`{name}` is no text")


# Where the other end of a connection stands among the facts. Its port is another for each connection, and nobody asks for it.
_PEERS = tuple(position for position, name in enumerate(NAMES) if name in ("direct", "remote"))


def _without_port(value: object) -> object:
    if type(value) is not str:
        return value
    host, _, port = value.rpartition(":")
    # `10.1.2.3:80` or `[::1]:80`; all else is left as it is.
    return host.strip("[]") if port.isdigit() and (host[-1:] == "]" or ":" not in host) else value


def _address(value: object, name: str) -> tuple[Address | None, int | None]:
    text = _text(value, name)
    if text is None:
        return None, None
    host, colon, port = text.rpartition(":")
    # `10.1.2.3:80`, `[::1]:80`, and what has no port.
    if not colon or (":" in host and not host.startswith("[")):
        host, port = text, ""
    address = _ip(host.strip("[]"))
    if address is None or not (port == "" or (port.isascii() and port.isdigit() and int(port) <= 65535)):
        raise NoRecordError(f"`{name}` is no IP address with its port")
    return address, int(port) if port else None


# Recorded traffic comes from few addresses.
@lru_cache(maxsize=16_384)
def _ip(text: str) -> Address | None:
    try:
        return IPv6Address(text) if ":" in text else IPv4Address(text)
    except ValueError:
        return None


def _headers(value: object) -> tuple[dict[str, tuple[str, ...]], frozenset[str]]:
    """The headers that are there, and all that would have been written down."""
    if value is None:
        return {}, frozenset()
    if not isinstance(value, dict):
        raise NoRecordError("`headers` is no mapping")
    headers: dict[str, tuple[str, ...]] = {}
    for name, line in value.items():
        if line is None or line == "-":
            continue
        lines = line if isinstance(line, list) else [line]
        if not all(isinstance(each, str) for each in lines):
            raise NoRecordError("a value of `headers` is no text")
        headers[ascii_lower(name)] = tuple(lines)
    return headers, frozenset(map(ascii_lower, value))


def _claims(value: object) -> Mapping[str, object] | None:
    if value in _ABSENT:
        return None
    if isinstance(value, dict):
        return value
    raise NoRecordError("`jwt` is no mapping", help="log `%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:payload)%`")


def _recorded(facts: _Facts, decision: object) -> Recorded | None:
    """What meshward's own answer said, where that is logged, else what Envoy says of how the request ended."""
    if decision not in _ABSENT:
        return recorded_in(decision)
    said = {name: getattr(facts, name) for name in _DECISION}
    if facts.verdict not in _ABSENT:
        return recorded_in(said)
    details, flags = facts.details, facts.flags
    if isinstance(details, str) and details not in _ABSENT:
        if (rbac := _RBAC.match(details)) is not None:
            namespace, name, rule = rbac.groups()
            if namespace is None:
                return Recorded(Verdict.DENY, reason="no ALLOW rule matches")
            return Recorded(Verdict.DENY, f"{namespace}/{name}", int(rule))
        if details.startswith("ext_authz_denied"):
            recorded = recorded_in({**said, "verdict": Verdict.DENY.value})
            # Who says no more than that is the authorizer of a CUSTOM policy, and not meshward.
            return recorded if recorded.reason is not None else recorded._replace(stage=Stage.CUSTOM)
        if details.startswith("jwt_authn_access_denied"):
            return Recorded(Verdict.DENY, reason=_JWT_DENIED, stage=Stage.JWT)
        if details.startswith(_ROUTED):
            return recorded_in({**said, "verdict": Verdict.ALLOW.value})
        return None
    # Without details nobody knows whose a 401 or a 403 is; whatever else there is came from behind the policies, or from before.
    return Recorded(Verdict.DENY) if isinstance(flags, str) and "UAEX" in flags else None


_JWT_DENIED = "the token is not good"
