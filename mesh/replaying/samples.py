"""Samples: a recorded request as a request document that every verb takes, with no more in it than its decision rests on."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from authz.attributes import Attributes, Protocol
from mesh.replaying.masking import Masking
from mesh.snapshot import Guard
from parser.request import Destination

__all__ = ["LookedAt", "looked_at", "sample"]


class LookedAt(NamedTuple):
    """What policies look at beside what each request has: headers, by their lower-case names, and claims."""

    headers: frozenset[str]
    claims: frozenset[str]


def looked_at(guards: Iterable[Guard]) -> LookedAt:
    """What any of the policies of these guards looks at."""
    headers, claims = set[str](), set[str]()
    for guard in guards:
        headers.update(name for name in guard.tree.headers if not name.startswith(":"))
        claims.update(guard.tree.claims)
    return LookedAt(frozenset(headers), frozenset(claims))


def sample(
    destination: Destination,
    attributes: Attributes,
    *,
    wanted: LookedAt,
    masking: Masking,
) -> dict[str, object]:
    """The request as plain data, its claims as those of a token that was found to be good. Secrets are masked."""
    text, claims = masking.text, attributes.claims
    service = destination.service
    document = _given(
        workload=_readable(destination.workload, text),
        destination=_given(
            namespace=_readable(destination.namespace, text),
            labels=None if destination.labels is None else dict(destination.labels),
            principal=_readable(destination.principal, text),
            ip=destination.address or _address(attributes.destination_ip),
            port=attributes.destination_port,
            **({} if service is None else {_SERVICE[service.external]: f"{service.namespace}/{service.name}"}),
        )
        or None,
        source=_given(
            # A document has one name of the caller's, the one that Envoy tries first.
            principal=_readable(attributes.identities[0], text) if attributes.identities else None,
            ip=_address(attributes.source_ip),
            remoteIp=None if attributes.remote_ip == attributes.source_ip else _address(attributes.remote_ip),
        )
        or None,
        connection=_given(
            protocol=None if attributes.protocol is Protocol.HTTP else attributes.protocol.value,
            sni=_readable(attributes.sni, text),
        )
        or None,
    )
    if attributes.protocol is Protocol.TCP:
        return document
    names = wanted.headers if claims is not None else wanted.headers | _TOKENS
    headers = masking.headers({name: lines for name, lines in attributes.headers.items() if name in names})
    document["request"] = _given(
        method=_readable(attributes.method, text),
        path=_readable(attributes.path, masking.path),
        host=_readable(attributes.host, masking.host),
        scheme=_readable(attributes.scheme, text),
        headers={name: [_text(line) for line in lines] for name, lines in headers.items()} or None,
    )
    if claims is not None:
        kept = {name: value for name, value in claims.items() if name in wanted.claims}
        document["jwt"] = {"claims": masking.claims(kept)}
    return document


_SERVICE = {False: "service", True: "serviceEntry"}
# Where tokens are unless a rule says otherwise: a request that had one, though not a good one, is not one that had none.
_TOKENS = frozenset({"authorization"})


def _given(**facts: object) -> dict[str, object]:
    return {name: value for name, value in facts.items() if value is not None}


def _address(address: object) -> str | None:
    return None if address is None else str(address)


def _readable(text: str | None, masked: Callable[[str], str]) -> str | None:
    return None if text is None else _text(masked(text))


def _text(text: str) -> str:
    """Text as JSON can hold it: bytes that are no UTF-8 are written out."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
