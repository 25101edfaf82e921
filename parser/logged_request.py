"""The request document as the decision log writes it, read sooner than any other.

Like the reader of what is usual in `parser.request` it leaves whatever is unusual to that of all documents, and where it answers,
it answers the same. A decision log has every fact there is, and millions of lines.
"""

from collections.abc import Mapping
from functools import lru_cache

from authz.attributes import Address, Attributes, Protocol
from parser.request import Destination, RequestDocument, _address, _canonical, _header_name, read_any

__all__ = ["parse_logged_request"]

_HTTP = Protocol.HTTP
_NOTHING: Mapping[str, tuple[str, ...]] = {}


def parse_logged_request(data: Mapping[str, object]) -> RequestDocument:
    """Read a request document from plain data, as `parse_request` does.

    Raises:
        RequestError: It is not one.
    """
    return _read_logged(data) or read_any(data)


def _read_logged(data: Mapping[str, object]) -> RequestDocument | None:
    """An HTTP request to a named workload with all that there is about it; else none.

    Fields are counted rather than looked up among those that are known: if there are more than were read, one is unusual.
    """
    given = data.get
    workload, destination, source, connection, request, jwt = (
        given("workload"),
        given("destination"),
        given("source"),
        given("connection"),
        given("request"),
        given("jwt"),
    )
    if type(workload) is not str or len(data) != 5 + (jwt is not None):
        return None
    if type(destination) is not dict or type(source) is not dict or type(connection) is not dict:
        return None
    if connection.get("protocol") != "http":
        return None
    sni = connection.get("sni")
    if len(connection) != 1 + (sni is not None) or not (sni is None or type(sni) is str):
        return None
    where = _where(workload, destination)
    who = _who(source)
    what = _what(request)
    if where is None or who is None or what is None:
        return None
    claims = None
    if jwt is not None and (type(jwt) is not dict or len(jwt) != 1 or type(claims := jwt.get("claims")) is not dict):
        return None
    method, path, host, scheme, headers = what
    identities, source_ip, remote_ip = who
    return RequestDocument(
        destination=where[0],
        attributes=Attributes(
            protocol=_HTTP,
            identities=identities,
            source_ip=source_ip,
            remote_ip=remote_ip,
            destination_ip=where[1],
            destination_port=where[2],
            sni=sni,
            method=method,
            path=path,
            host=host,
            scheme=scheme,
            headers=headers,
            claims=claims,
        ),
    )


def _where(workload: str, given: Mapping[str, object]) -> tuple[Destination, Address | None, int] | None:
    ip, port, principal = given.get("ip"), given.get("port"), given.get("principal")
    if type(ip) is not str or type(port) is not int or not 0 <= port <= 65535:
        return None
    if len(given) != 2 + (principal is not None):
        return None
    try:
        address = _address(ip)
    except ValueError:
        return None
    if not (principal is None or type(principal) is str):
        return None
    return _destination(workload, principal, ip), address, port


# The same few answer all the requests of a log.
@lru_cache(maxsize=16_384)
def _destination(workload: str, principal: str | None, ip: str) -> Destination:
    return Destination(workload=workload, principal=principal, address=_canonical(ip))


def _who(given: Mapping[str, object]) -> tuple[tuple[str, ...], Address, Address] | None:
    ip, remote, principal = given.get("ip"), given.get("remoteIp"), given.get("principal")
    if type(ip) is not str or type(remote) is not str or len(given) != 2 + (principal is not None):
        return None
    identities: tuple[str, ...] = ()
    if principal is not None:
        if type(principal) is not str or principal[:9] != "spiffe://":
            return None
        identities = (principal,)
    try:
        return identities, _address(ip), _address(remote)
    except ValueError:
        return None


def _what(given: object) -> tuple[str, str, str, str | None, Mapping[str, tuple[str, ...]]] | None:
    if type(given) is not dict:
        return None
    method, path, host = given.get("method"), given.get("path"), given.get("host")
    scheme, lines = given.get("scheme"), given.get("headers")
    if type(method) is not str or type(path) is not str or type(host) is not str:
        return None
    if not (scheme is None or type(scheme) is str) or len(given) != 3 + (scheme is not None) + (lines is not None):
        return None
    if lines is None:
        return method, path, host, scheme, _NOTHING
    headers = _headers(lines)
    return None if headers is None else (method, path, host, scheme, headers)


def _headers(lines: object) -> dict[str, tuple[str, ...]] | None:
    if type(lines) is not dict:
        return None
    headers: dict[str, tuple[str, ...]] = {}
    for name, values in lines.items():
        if (lower := _header_name(name)) is None or type(values) is not list:
            return None
        for value in values:
            if type(value) is not str:
                return None
        headers[lower] = tuple(values)
    return headers if len(headers) == len(lines) else None
