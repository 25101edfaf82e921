"""External authorizers in a mesh configuration, checked as Istio checks them when it loads and when it uses them.

The rules are those of semantics 6.1 and 8.7; each names itself. Providers of other things, such as traces, are left alone.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from authz.extension_provider import BodyCheck, ExtensionProvider, GrpcProvider, HttpProvider
from parser.decode import Decoder
from parser.diagnostics import quoted
from parser.duration import NANOSECONDS, parse_duration
from parser.misspelt import check_key
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar

__all__ = ["STATUS_CODES", "decode_extension_providers"]

STATUS_CODES = frozenset(
    {
        *(100, 200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 307, 308),
        *(400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421),
        *(422, 423, 424, 426, 428, 429, 431, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511),
    }
)
"""What Envoy's `StatusCode` has, but for its 0: Istio takes that, and Envoy then refuses the listener."""

_HTTP = "envoyExtAuthzHttp"
_GRPC = "envoyExtAuthzGrpc"
_BOTH = (
    "service",
    "port",
    "timeout",
    "failOpen",
    "clearRouteCache",
    "statusOnError",
    "includeRequestBodyInCheck",
)
_FIELDS = {
    _GRPC: _BOTH,
    _HTTP: (
        *_BOTH,
        "pathPrefix",
        "includeHeadersInCheck",
        "includeRequestHeadersInCheck",
        "includeAdditionalHeadersInCheck",
        "headersToUpstreamOnAllow",
        "headersToDownstreamOnAllow",
        "headersToDownstreamOnDeny",
    ),
}
_BODY = ("maxRequestBytes", "allowPartialMessage", "packAsBytes")
_MAX_PORT = 65535
_MAX_BYTES = 2**32 - 1
_LONGEST_HOST = 255

_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_HOST_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_HOST_LABEL}\.)*(?![0-9]+\Z){_HOST_LABEL}")
_PATH = re.compile(r"(?:[^%\x00-\x20\x7f]|%[0-9A-Fa-f]{2})*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADERS = re.compile(r"[\x00\r\n]")


def decode_extension_providers(node: Node | None, decoder: Decoder) -> tuple[ExtensionProvider, ...]:
    """The external authorizers among `extensionProviders`."""
    reader = _Reader(decoder)
    found = [reader.provider(entry) for entry in decoder.items(node, "extensionProviders") if not decoder.problems.full]
    providers = tuple(provider for provider in found if provider is not None)
    _check_pairs(providers, decoder)
    return providers


def _check_pairs(providers: Sequence[ExtensionProvider], decoder: Decoder) -> None:
    """Semantics 6.3: where several may be asked for one request, Envoy knows by a prefix whose rules matched.

    After `istio-ext-authz-auth-ns[…]` the authorizer `auth-ns` would be asked, too, and so would `auth-n`.
    """
    names = {provider.name for provider in providers}
    for provider in providers:
        for ending in ("-ns", "-n"):
            other = provider.name.removesuffix(ending)
            if other != provider.name and other in names and provider.span is not None:
                # 10.2
                message = f"Envoy cannot tell rules for {quoted(other)} from rules for {quoted(provider.name)}"
                decoder.problems.error("confusable-providers", message, provider.span, help="rename one of the two")


class _Reader:
    """Reads one provider after the other."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._problems = decoder.problems
        self._names: dict[str, Node] = {}
        self._ours: set[str] = set()

    def provider(self, node: Node) -> ExtensionProvider | None:
        """The authorizer of one entry; none where it is a provider of something else, or wrong."""
        entries = self._decoder.entries(node, "extensionProviders")
        if isinstance(node, MappingNode):
            for key, written in node.keys.items():
                check_key(key, written, _FIELDS, "extensionProviders", self._decoder)
        kinds = [kind for kind in _FIELDS if kind in entries]
        name = self._name(node, entries.get("name"), ours=bool(kinds))
        if len(kinds) > 1:
            self._problems.error(
                "two-providers",
                f"`{_HTTP}` and `{_GRPC}` in one provider",
                entries[kinds[1]].span,
                help="make two of it, each with a name",
            )
        if not kinds:
            return None
        before = self._problems.errors
        provider = self._authorizer(name, kinds[0], entries[kinds[0]], at=entries.get("name", node))
        return provider if self._problems.errors == before else None

    def _name(self, entry: Node, node: Node | None, *, ours: bool) -> str:
        name = self._decoder.text(node, "name")
        first = self._names.setdefault(name, entry) if name else entry
        if first is not entry and (ours or name in self._ours) and node is not None:
            self._problems.error(
                "duplicate-provider",
                f"{quoted(name)} is the name of another provider, too",
                node.span,
                help="rename one of them",
            )
        if not ours:
            return name
        self._ours.add(name)
        if not name and not self._decoder.broken(node):
            at = entry if node is None else node
            self._problems.error("missing-name", "a provider needs a `name`", at.span, help="policies name it")
        elif node is not None and not _DNS_LABEL.fullmatch(name) and not self._decoder.broken(node):
            self._problems.error(
                "bad-name",
                f"{quoted(name)} is not a name of a provider",
                node.span,
                help="use lower-case letters, digits and `-`, at most 63",
            )
        return name

    def _authorizer(self, name: str, kind: str, node: Node, *, at: Node) -> ExtensionProvider | None:
        fields = self._decoder.fields(node, kind, _FIELDS[kind])
        if not isinstance(node, MappingNode):
            return None
        service = self._service(node, fields.get("service"))
        port = self._port(node, fields.get("port"))
        timeout = self._timeout(fields.get("timeout"))
        fail_open = self._decoder.boolean(fields.get("failOpen"), "failOpen")
        self._decoder.boolean(fields.get("clearRouteCache"), "clearRouteCache")  # which Istio does not use
        status = self._status(fields.get("statusOnError"))
        body = self._body(fields.get("includeRequestBodyInCheck"))
        if kind == _GRPC:
            return GrpcProvider(
                name=name,
                service=service,
                port=port,
                timeout=timeout,
                fail_open=fail_open,
                status_on_error=status,
                body=body,
                span=at.span,
            )
        # The older field counts only where the newer one is empty.
        newer, older = (
            self._headers(fields.get(field), field)
            for field in ("includeRequestHeadersInCheck", "includeHeadersInCheck")
        )
        return HttpProvider(
            name=name,
            service=service,
            port=port,
            timeout=timeout,
            fail_open=fail_open,
            status_on_error=status,
            body=body,
            span=at.span,
            path_prefix=self._path_prefix(fields.get("pathPrefix")),
            include_request_headers=newer or older,
            include_additional_headers=self._additional(fields.get("includeAdditionalHeadersInCheck")),
            headers_to_upstream_on_allow=self._headers(
                fields.get("headersToUpstreamOnAllow"), "headersToUpstreamOnAllow"
            ),
            headers_to_downstream_on_allow=self._headers(
                fields.get("headersToDownstreamOnAllow"), "headersToDownstreamOnAllow"
            ),
            headers_to_downstream_on_deny=self._headers(
                fields.get("headersToDownstreamOnDeny"), "headersToDownstreamOnDeny"
            ),
        )

    # What both kinds have --------------------------------------------------------------------------------------------

    def _service(self, around: Node, node: Node | None) -> str:
        text = self._decoder.text(node, "service")
        if not self._decoder.broken(node) and not _is_service(text):
            at = around if node is None else node
            message = f"{quoted(text)} is not a service" if text else "an authorizer needs a `service`"
            self._problems.error(
                "bad-service", message, at.span, help="write `host` or `namespace/host`, the host in full"
            )
        return text

    def _port(self, around: Node, node: Node | None) -> int:
        if node is None:
            message = "an authorizer needs a `port`"
            self._problems.error("bad-port", message, around.span, help="write the port of its service")
            return 0
        port = self._decoder.number(node, "port")
        if port is not None and not 1 <= port <= _MAX_PORT:
            remedy = f"write a number from 1 to {_MAX_PORT}"
            self._problems.error("bad-port", f"{port} is not a port", node.span, help=remedy)
        return port or 0

    def _timeout(self, node: Node | None) -> float:
        default = GrpcProvider(name="", service="", port=0).timeout
        if node is None:
            return default
        remedy = "write how long to wait, as `500ms` or `5s`"
        value = node.value if isinstance(node, Scalar) else None
        if not isinstance(value, str):
            self._decoder.expected("a duration", "timeout", node, help=remedy)
            return default
        nanoseconds = parse_duration(value)
        # Istio passes any on: below zero Envoy refuses the listener, and at zero it waits without end.
        if nanoseconds is None or nanoseconds <= 0:
            message = (
                f"{quoted(value)} is not a duration" if nanoseconds is None else f"{quoted(value)} is no time to wait"
            )
            self._problems.error("bad-duration", message, node.span, help=remedy)
            return default
        return nanoseconds / NANOSECONDS

    def _status(self, node: Node | None) -> int:
        default = GrpcProvider(name="", service="", port=0).status_on_error
        text = self._decoder.text(node, "statusOnError")
        if node is None or not text or self._decoder.broken(node):
            return default
        status = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
        if status not in STATUS_CODES:
            message = f"{quoted(text)} is not an HTTP status that Envoy answers with"
            self._problems.error("bad-status", message, node.span, help='write one as "403" or "503"')
        return status

    def _body(self, node: Node | None) -> BodyCheck | None:
        if node is None:
            return None
        name = "includeRequestBodyInCheck"
        fields = self._decoder.fields(node, name, _BODY)
        written = fields.get("maxRequestBytes")
        most = None if written is None else self._decoder.number(written, "maxRequestBytes")
        # Without a size Istio passes on zero, which Envoy refuses with the whole listener.
        if not self._decoder.broken(node) and not self._decoder.broken(written) and not 0 < (most or 0) <= _MAX_BYTES:
            at = node if written is None else written
            message = "`maxRequestBytes` is missing" if written is None else f"{most} is not a number of bytes"
            remedy = f"write how much of a body the authorizer gets, from 1 to {_MAX_BYTES}"
            self._problems.error("bad-size", message, at.span, help=remedy)
        return BodyCheck(
            max_request_bytes=most or 0,
            allow_partial_message=self._decoder.boolean(fields.get("allowPartialMessage"), "allowPartialMessage"),
            pack_as_bytes=self._decoder.boolean(fields.get("packAsBytes"), "packAsBytes"),
        )

    # What only HTTP has ----------------------------------------------------------------------------------------------

    def _path_prefix(self, node: Node | None) -> str:
        text = self._decoder.text(node, "pathPrefix")
        if node is None or not text or self._decoder.broken(node):
            return text
        if not text.startswith("/") or not _PATH.fullmatch(text):
            message = f"{quoted(text)} is not the beginning of a path"
            self._problems.error("bad-path-prefix", message, node.span, help="begin it with `/`, and escape the rest")
        return text

    def _headers(self, node: Node | None, name: str) -> tuple[str, ...]:
        texts = self._decoder.texts(node, name)
        for item, text in zip(self._decoder.items(node, name), texts, strict=False):
            if not text and not self._decoder.broken(item):
                remedy = "write a name, or remove the entry"
                self._problems.error("empty-value", f"empty value in `{name}`", item.span, help=remedy)
            if text == "*":
                # Semantics 6.1
                message = f"a lone `*` in `{name}` makes Istio deny what it should ask about"
                self._problems.error("lone-wildcard", message, item.span, help="write `prefix*` or `*suffix`")
        return texts

    def _additional(self, node: Node | None) -> dict[str, str]:
        name = "includeAdditionalHeadersInCheck"
        headers = self._decoder.labels(node, name)
        for key, value in headers.items():
            if not _HEADER.fullmatch(key) or _NOT_IN_HEADERS.search(value):
                at = node.keys[key] if isinstance(node, MappingNode) else node
                if at is not None:
                    message = f"{quoted(f'{key}: {value}')} is not a header"
                    self._problems.error(
                        "bad-header", message, at.span, help="write `name: value`, without line breaks"
                    )
        return headers


def _is_service(text: str) -> bool:
    namespace, slash, host = text.rpartition("/")
    if slash and not _DNS_LABEL.fullmatch(namespace):
        return False
    return (len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None) or (not slash and _is_address(host))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
