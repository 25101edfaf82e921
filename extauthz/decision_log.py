"""The decision log: one line of JSON for each decision, the request in the words of the request document."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import BinaryIO

import orjson

from authz.attributes import Attributes, Protocol
from authz.record import record
from authz.secrecy import MASK, SECRET_HEADERS
from extauthz.wire import Destination

__all__ = ["Consulted", "DecisionLog", "request_document"]

_DEEPEST = 16
"""How deep claims are nested that are written down; who signs tokens may nest them deeper than this process can follow."""


class DecisionLog:
    """Writes decisions to `out` as they are made.

    It names no header and no claim that no policy looks at, no query string, and no value of a header that carries a secret.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(
        self,
        request: Mapping[str, object],
        decision: Mapping[str, object],
        *,
        duration_us: float,
        shadow: orjson.Fragment | None = None,
    ) -> None:
        """One decision, made just now in `duration_us`: the request and the decision as documents.

        `shadow` is what the version beside it decides, where that is something else.

        Raises:
            OSError: It could not be written.
        """
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **request,
            "decision": decision,
            **({} if shadow is None else {"shadow": shadow}),
            "duration_us": round(duration_us, 1),
        }
        self._out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self._out.flush()


@record
class Consulted:
    """What policies look at: headers, by their lower-case names, and claims."""

    headers: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()

    def __or__(self, other: "Consulted") -> "Consulted":
        """What either looks at."""
        return Consulted(headers=self.headers | other.headers, claims=self.claims | other.claims)


def request_document(destination: Destination, attributes: Attributes, consulted: Consulted) -> dict[str, object]:
    """The request as a request document, as far as it may be written down, and as far as policies look at it."""
    document = _given(
        workload=destination.workload,
        destination=_given(
            principal=destination.principal,
            ip=_text(attributes.destination_ip),
            port=attributes.destination_port,
        ),
        source=_given(
            principal=attributes.identities[0] if attributes.identities else None,
            ip=_text(attributes.source_ip),
            remoteIp=_text(attributes.remote_ip),
        ),
        connection=_given(protocol=attributes.protocol.value, sni=attributes.sni),
    )
    if attributes.protocol is Protocol.HTTP:
        headers = {
            name: [MASK] * len(values) if name in SECRET_HEADERS else [_readable(value) for value in values]
            for name, values in attributes.headers.items()
            if name in consulted.headers
        }
        document["request"] = _given(
            method=attributes.method,
            path=None if attributes.path is None else _readable(attributes.path.partition("?")[0]),
            host=None if attributes.host is None else _readable(attributes.host),
            scheme=attributes.scheme,
            headers=headers or None,
        )
        if attributes.claims is not None and consulted.claims:
            claims = {name: value for name, value in attributes.claims.items() if name in consulted.claims}
            document["jwt"] = {"claims": _comparable(claims)}
    return document


def _comparable(value: object, depth: int = _DEEPEST) -> object:
    """Of claims what a policy can be about: texts, lists of them, and what these are in. Others are no part of any decision."""
    match value:
        case str():
            return _readable(value)
        case list() | tuple():
            return [_readable(item) for item in value if isinstance(item, str)]
        case Mapping() if depth:
            return {_readable(name): _comparable(inner, depth - 1) for name, inner in value.items()}
        case _:
            return None


def _given(**facts: object) -> dict[str, object]:
    return {name: value for name, value in facts.items() if value is not None}


def _readable(text: str) -> str:
    """Text as JSON can hold it: bytes that are no UTF-8 are written out."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
