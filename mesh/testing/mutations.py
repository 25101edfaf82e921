"""Mutations: ways to write a request otherwise that the application behind the proxy understands, or may understand, the same.

Each is a function from a request as its client writes it to others, by somebody who has read the policies. `GAPS` are the
ones that a policy need not survive, because Envoy and Istio mean what they then do: what `lint` is to warn of.

The mutations of tokens are attacks on what verifies them, and not on policies: `tests/attacks/test_jwt_attacks.py`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, resolve
from authz.mesh_config import PathNormalization
from authz.model import Policy
from authz.values import ascii_lower
from mesh.testing.sent import FORWARDED_FOR, Sent

__all__ = ["GAPS", "KINDS", "MUTATIONS", "Gap", "Known", "Mutation"]


@dataclass(frozen=True, slots=True)
class Known:
    """What the policies give away: the paths, hosts and addresses that they name, and the headers with their values."""

    paths: tuple[str, ...]
    hosts: tuple[str, ...]
    addresses: tuple[str, ...]
    headers: tuple[tuple[str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, policies: Iterable[Policy]) -> "Known":
        """What `policies` say."""
        found: dict[tuple[str, str], list[str]] = {}
        for policy in policies:
            for rule in policy.rules:
                for part, fields in [
                    *((source, SOURCE_FIELDS) for source in rule.sources),
                    *((operation, OPERATION_FIELDS) for operation in rule.operations),
                ]:
                    for name, attribute in fields.items():
                        values = (*getattr(part, name), *getattr(part, f"not_{name}"))
                        found.setdefault((attribute.key, ""), []).extend(values)
                for condition in rule.conditions:
                    if condition.key.startswith(("request.headers[", "remote.ip")):
                        attribute = resolve(condition.key)
                        values = (*condition.values, *condition.not_values)
                        found.setdefault((attribute.key, "".join(attribute.argument)), []).extend(values)
        return cls(
            paths=_distinct(found.get(("request.path", ""), ())),
            hosts=_distinct(value.strip("*") for value in found.get(("request.host", ""), ())),
            addresses=_distinct(str(ip_network(value, strict=False)[0]) for value in found.get(("remote.ip", ""), ())),
            headers=tuple(
                (name, _distinct(value.strip("*") for value in values))
                for (key, name), values in sorted(found.items())
                if key == "request.headers" and not name.startswith(":") and name != FORWARDED_FOR
            ),
        )

    @property
    def folders(self) -> tuple[tuple[str, ...], ...]:
        """Folders to step back from: the segments of those that a policy speaks of, and one that none does."""
        named = (value.rstrip("*").split("{", 1)[0].strip("/") for value in self.paths if value.startswith("/"))
        return (("a",), *(tuple(path.split("/")) for path in _distinct(named) if path))

    @property
    def endings(self) -> tuple[str, ...]:
        """What a path may end in to be taken for another, for those who look at its end only."""
        return ("x", *(value.removeprefix("*") for value in self.paths if value.startswith("*") and value != "*"))


Mutation = Callable[[Sent, Known], Iterator[Sent]]


def ascii_upper(text: str) -> str:
    """`text` with a-z raised and nothing else: Unicode's upper case would make an ordinary S of a long one."""
    return re.sub("[a-z]", lambda letter: letter[0].upper(), text)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


# The path -------------------------------------------------------------------------------------------------------------


def _split(sent: Sent) -> tuple[str, str]:
    """The path, and the query and fragment behind it."""
    path = re.split(r"[?#]", sent.target, maxsplit=1)[0]
    return path, sent.target[len(path) :]


def _with_path(sent: Sent, path: str) -> Sent:
    return replace(sent, target=path + _split(sent)[1])


def _each(sent: Sent, pattern: str, replacement: str) -> Iterator[Sent]:
    """Its path with each match of `pattern` replaced on its own, and with all of them."""
    path, _ = _split(sent)
    found = list(re.finditer(pattern, path))
    for match in found:
        yield _with_path(sent, path[: match.start()] + replacement + path[match.end() :])
    if len(found) > 1:
        yield _with_path(sent, re.sub(pattern, lambda _: replacement, path))


def _detours(sent: Sent, known: Known, up: str) -> Iterator[Sent]:
    """Into a folder and out of it again, where `up` is how each step back is written, with the slash behind it."""
    path, _ = _split(sent)
    if path.startswith("/"):
        for folder in known.folders:
            yield _with_path(sent, f"/{'/'.join(folder)}/{up * len(folder)}{path[1:]}")


def slash_twice(sent: Sent, _: Known) -> Iterator[Sent]:
    """`//admin`."""
    yield from _each(sent, "/", "//")


def step_in_place(sent: Sent, _: Known) -> Iterator[Sent]:
    """`/./admin`."""
    yield from _each(sent, "/", "/./")


def step_back(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/a/../admin`."""
    yield from _detours(sent, known, "../")


def encoded_dots(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/a/%2e%2e/admin`."""
    yield from _each(sent, "/", "/%2e/")
    for dots in ("%2e%2e", ".%2E", "%2e."):
        yield from _detours(sent, known, f"{dots}/")
    yield from _each(sent, r"\.", "%2e")


def encoded_letter(sent: Sent, _: Known) -> Iterator[Sent]:
    """`/%61dmin`."""
    path, _rest = _split(sent)
    for match in re.finditer(r"(?<=/)[A-Za-z0-9]", path):
        yield _with_path(sent, f"{path[: match.start()]}%{ord(match[0]):02x}{path[match.end() :]}")


def encoded_slash(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/admin%2fusers`."""
    for slash in ("%2f", "%2F"):
        yield from _each(sent, r"(?<=.)/", slash)
        yield from _each(sent, "/", f"/{slash}")
        yield from _detours(sent, known, f"..{slash}")


def encoded_backslash(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/admin%5cusers`."""
    for slash in ("%5c", "%5C"):
        yield from _each(sent, r"(?<=.)/", slash)
        yield from _detours(sent, known, f"..{slash}")


def backslash(sent: Sent, known: Known) -> Iterator[Sent]:
    r"""`/admin\users`."""
    yield from _each(sent, r"(?<=.)/", "\\")
    yield from _detours(sent, known, "..\\")


def encoded_twice(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/%2561dmin`."""
    path, _ = _split(sent)
    for match in re.finditer(r"(?<=/)[A-Za-z0-9]", path):
        yield _with_path(sent, f"{path[: match.start()]}%25{ord(match[0]):02x}{path[match.end() :]}")
    yield from _each(sent, r"(?<=.)/", "%252f")
    for up in ("%252e%252e/", "..%252f", "..%255c"):
        yield from _detours(sent, known, up)


def overlong_utf8(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/a/%c0%ae%c0%ae/admin`: dots in more bytes than they have."""
    yield from _each(sent, r"(?<=.)/", "%c0%af")
    yield from _detours(sent, known, "%c0%ae%c0%ae/")


def parameters(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/admin;p=v/users`."""
    path, _ = _split(sent)
    for match in re.finditer(r"(?<=[^/])(?=/|$)", path):
        for value in ("", "p=v", *known.endings):
            yield _with_path(sent, f"{path[: match.start()]};{value}{path[match.start() :]}")


def parameters_of_dots(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/a/..;/admin`."""
    yield from _each(sent, "/", "/.;/")
    for up in ("..;/", "..;p=v/"):
        yield from _detours(sent, known, up)


def parameters_of_encoded_dots(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/a/%2e%2e;/admin`."""
    for up in ("%2e%2e;/", "%2e%2e;p=v/"):
        yield from _detours(sent, known, up)


def slash_at_the_end(sent: Sent, _: Known) -> Iterator[Sent]:
    """`/admin/`, or without it."""
    path, _rest = _split(sent)
    if path.endswith("/"):
        yield _with_path(sent, path.rstrip("/") or "/")
    else:
        yield _with_path(sent, f"{path}/")


def dot_at_the_end(sent: Sent, _: Known) -> Iterator[Sent]:
    """`/admin.`."""
    path, _rest = _split(sent)
    if not path.endswith("/"):
        yield _with_path(sent, f"{path}.")


def nul_at_the_end(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/admin%00`."""
    path, _ = _split(sent)
    for ending in ("", *known.endings):
        yield _with_path(sent, f"{path}%00{ending}")


def space_at_the_end(sent: Sent, _: Known) -> Iterator[Sent]:
    """`/admin%20`."""
    path, _rest = _split(sent)
    yield _with_path(sent, f"{path}%20")


def case_of_the_path(sent: Sent, _: Known) -> Iterator[Sent]:
    """`/ADMIN`."""
    path, _rest = _split(sent)
    yield from (_with_path(sent, other) for other in _distinct((path.upper(), path.lower())) if other != path)


def query(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/admin?x=y`."""
    path, rest = _split(sent)
    for value in ("", "x=y", "/../", *known.endings):
        yield replace(sent, target=f"{path}?{value}{'&' if rest.startswith('?') else ''}{rest.removeprefix('?')}")


def fragment(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/admin#x`."""
    if "#" not in sent.target:
        for value in ("", "x", "/../", "?", *known.endings):
            yield replace(sent, target=f"{sent.target}#{value}")


def encoded_query(sent: Sent, known: Known) -> Iterator[Sent]:
    """`/admin%3f`."""
    path, _ = _split(sent)
    for mark in ("%3f", "%3F", "%23"):
        for value in ("", *known.endings):
            yield _with_path(sent, f"{path}{mark}{value}")


def not_utf8_in_the_path(sent: Sent, _: Known) -> Iterator[Sent]:
    """`/admin` and a byte that is no UTF-8."""
    path, _rest = _split(sent)
    yield _with_path(sent, f"{path}\udcff")


# The host -------------------------------------------------------------------------------------------------------------


def case_of_the_host(sent: Sent, _: Known) -> Iterator[Sent]:
    """`ADMIN.SHOP`."""
    for change in (ascii_upper, ascii_lower):
        hosts = tuple(map(change, sent.hosts))
        if hosts != sent.hosts:
            yield replace(sent, hosts=hosts)


def port_behind_the_host(sent: Sent, _: Known) -> Iterator[Sent]:
    """`admin.shop:80`, or without it."""
    for host in sent.hosts[:1]:
        name, colon, _port = host.rpartition(":")
        yield replace(sent, hosts=(name if colon else f"{host}:80",))


def dot_behind_the_host(sent: Sent, _: Known) -> Iterator[Sent]:
    """`admin.shop.`."""
    for host in sent.hosts[:1]:
        name, colon, port = host.partition(":")
        yield replace(sent, hosts=(f"{name}.{colon}{port}",))


def host_twice(sent: Sent, known: Known) -> Iterator[Sent]:
    """Two `Host` lines."""
    for other in ("other.example", *known.hosts):
        yield replace(sent, hosts=(*sent.hosts, other))
        yield replace(sent, hosts=(other, *sent.hosts))


def absolute_target(sent: Sent, known: Known) -> Iterator[Sent]:
    """`GET http://admin.shop/admin`."""
    if not (sent.hosts and sent.hosts[0] and sent.target.startswith("/")):
        return
    for scheme in ("http", "HTTPS"):
        target = f"{scheme}://{sent.hosts[0]}{sent.target}"
        yield replace(sent, target=target)
        yield replace(sent, target=f"{scheme}://user@{sent.hosts[0]}{sent.target}")
        # Whatever the Host says beside it counts for nothing (RFC 9112, 3.2.2).
        for other in ("other.example", *known.hosts):
            yield replace(sent, target=target, hosts=(other,))


# The method -----------------------------------------------------------------------------------------------------------


def case_of_the_method(sent: Sent, _: Known) -> Iterator[Sent]:
    """`get`."""
    for method in (sent.method.lower(), sent.method.capitalize()):
        if method != sent.method:
            yield replace(sent, method=method)


# Headers --------------------------------------------------------------------------------------------------------------


def _given(sent: Sent, known: Known) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The headers that a policy looks at and the request has: name, lines, and the values that policies name."""
    for name, values in known.headers:
        if lines := sent.lines(name):
            yield name, lines, values


def repeated_header(sent: Sent, known: Known) -> Iterator[Sent]:
    """A header in several lines."""
    for name, lines, _ in _given(sent, known):
        for other in ("other", ""):
            yield sent.with_lines(name, other, *lines)
            yield sent.with_lines(name, *lines, other)
        yield sent.with_lines(name, *lines, *lines)


def repeated_header_as_policies_ask(sent: Sent, known: Known) -> Iterator[Sent]:
    """A header in several lines, one of which says what a policy asks for."""
    # Applications that take the first line do not see it.
    for name, lines, values in _given(sent, known):
        for value in values:
            yield sent.with_lines(name, *lines, value)


def joined_header(sent: Sent, known: Known) -> Iterator[Sent]:
    """A header with several values in one line."""
    for name, lines, values in _given(sent, known):
        for value in ("other", *values):
            yield sent.with_lines(name, ",".join((*lines, value)))
            yield sent.with_lines(name, ", ".join((value, *lines)))


def empty_header(sent: Sent, known: Known) -> Iterator[Sent]:
    """A header with nothing in it."""
    for name, _ in known.headers:
        if not sent.lines(name):
            yield sent.with_lines(name, "")


def case_of_the_header_s_name(sent: Sent, known: Known) -> Iterator[Sent]:
    """`X-User-Role`."""
    for name, lines, _ in _given(sent, known):
        for change in (str.upper, str.title):
            yield replace(sent, headers=tuple((change(name), value) for value in lines) + sent.with_lines(name).headers)


def underscore_in_the_header_s_name(sent: Sent, known: Known) -> Iterator[Sent]:
    """`x_user_role`."""
    for name, lines, _ in _given(sent, known):
        if "-" in name:
            yield sent.with_lines(name).with_lines(name.replace("-", "_"), *lines)


def spaces_around_the_header(sent: Sent, known: Known) -> Iterator[Sent]:
    """A header with spaces around its value."""
    for name, lines, _ in _given(sent, known):
        for before, after in ((" ", ""), ("", " "), ("\t", " ")):
            yield sent.with_lines(name, *(f"{before}{line}{after}" for line in lines))


def not_utf8_in_the_header(sent: Sent, known: Known) -> Iterator[Sent]:
    """A header with a byte that is no UTF-8."""
    for name, lines, _ in _given(sent, known):
        yield sent.with_lines(name, *(f"{line}\udcff" for line in lines))
        yield sent.with_lines(name, *(f"\udcff{line}" for line in lines))


def not_utf8_in_another_header(sent: Sent, known: Known) -> Iterator[Sent]:
    """Another header with bytes that are no UTF-8."""
    yield sent.with_lines("x-noise", "\udcff\udcfe")
    for name, lines, _ in _given(sent, known):
        yield sent.with_lines(name, *lines, "\udcff")


def envoy_s_own_headers(sent: Sent, known: Known) -> Iterator[Sent]:
    """Headers that only proxies write."""
    for name, value in (
        ("x-envoy-original-path", "/"),
        ("x-envoy-original-path", "/".join(("", *known.folders[-1], ""))),
        ("x-envoy-internal", "true"),
        ("x-envoy-external-address", "127.0.0.1"),
        ("x-envoy-downstream-service-cluster", "istio-system"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/admin"),
        ("x-original-url", "/"),
    ):
        yield sent.with_lines(name, value)


# Addresses ------------------------------------------------------------------------------------------------------------


def _entries(sent: Sent) -> list[str]:
    return [entry.strip(" \t") for entry in ",".join(sent.lines(FORWARDED_FOR)).split(",") if entry.strip(" \t")]


def more_hops(sent: Sent, known: Known) -> Iterator[Sent]:
    """More addresses before those in `x-forwarded-for`."""
    entries = _entries(sent)
    for other in ("203.0.113.77", *known.addresses):
        if entries:
            yield sent.with_lines(FORWARDED_FOR, ", ".join((other, *entries)))
            yield sent.with_lines(FORWARDED_FOR, other, *entries)


def forged_hops(sent: Sent, known: Known) -> Iterator[Sent]:
    """Another address behind those in `x-forwarded-for`."""
    for other in ("203.0.113.77", "2001:db8::77", "unknown", *known.addresses):
        yield sent.with_lines(FORWARDED_FOR, ", ".join((*_entries(sent), other)))


def mapped_address(sent: Sent, _: Known) -> Iterator[Sent]:
    """`::ffff:198.51.100.7`."""
    for before, last in _right_most(sent):
        if _is(IPv4Address, last):
            yield sent.with_lines(FORWARDED_FOR, ", ".join((*before, f"::ffff:{last}")))


def address_with_zone(sent: Sent, _: Known) -> Iterator[Sent]:
    """`fe80::1%1`."""
    for before, last in _right_most(sent):
        if _is(IPv6Address, last):
            yield sent.with_lines(FORWARDED_FOR, ", ".join((*before, f"{last}%1")))


def _right_most(sent: Sent) -> Iterator[tuple[list[str], str]]:
    if entries := _entries(sent):
        yield entries[:-1], entries[-1]


def _is(kind: type, text: str) -> bool:
    try:
        return isinstance(ip_address(text), kind)
    except ValueError:
        return False


# The handshake --------------------------------------------------------------------------------------------------------


def case_of_the_server_name(sent: Sent, _: Known) -> Iterator[Sent]:
    """`API.SHOP` in the handshake."""
    if sent.sni:
        yield replace(sent, sni=sent.sni.upper())


# Those of the path come first, as in an attacker's own list.
MUTATIONS: tuple[Mutation, ...] = (
    slash_twice,
    step_in_place,
    step_back,
    encoded_dots,
    encoded_letter,
    encoded_slash,
    encoded_backslash,
    backslash,
    encoded_twice,
    overlong_utf8,
    parameters,
    parameters_of_dots,
    parameters_of_encoded_dots,
    slash_at_the_end,
    dot_at_the_end,
    nul_at_the_end,
    space_at_the_end,
    case_of_the_path,
    query,
    fragment,
    encoded_query,
    not_utf8_in_the_path,
    case_of_the_host,
    port_behind_the_host,
    dot_behind_the_host,
    host_twice,
    absolute_target,
    case_of_the_method,
    repeated_header,
    repeated_header_as_policies_ask,
    joined_header,
    empty_header,
    case_of_the_header_s_name,
    underscore_in_the_header_s_name,
    spaces_around_the_header,
    not_utf8_in_the_header,
    not_utf8_in_another_header,
    envoy_s_own_headers,
    more_hops,
    forged_hops,
    mapped_address,
    address_with_zone,
    case_of_the_server_name,
)

KINDS: Mapping[str, Mutation] = {
    mutation.__name__.replace("_s_", "s_").replace("_", "-"): mutation for mutation in MUTATIONS
}
"""Every mutation by the name that it has in policy tests."""

# Gaps -----------------------------------------------------------------------------------------------------------------

_NONE = frozenset({PathNormalization.NONE})
_UNMERGED = frozenset({PathNormalization.NONE, PathNormalization.BASE})
_UNDECODED = frozenset({PathNormalization.NONE, PathNormalization.BASE, PathNormalization.MERGE_SLASHES})
_EVERY = frozenset(PathNormalization)
_PATH = frozenset({"request.path", "request.headers"})
_HOST = frozenset({"request.host", "request.headers"})
_METHOD = frozenset({"request.method", "request.headers"})
_HEADER = frozenset({"request.headers"})
_REMOTE = frozenset({"remote.ip"})


@dataclass(frozen=True, slots=True)
class Gap:
    """A mutation that may turn a denial into an allowance: by which attribute, where paths are normalized how, and why.

    `example` is a piece of a request that it writes, where a byte that is no UTF-8 is escaped. `source` is the section of the semantics that says so, or the Envoy on which it was measured.
    """

    mutation: Mutation
    example: str
    attributes: frozenset[str]
    options: frozenset[PathNormalization]
    why: str
    source: str


GAPS: tuple[Gap, ...] = (
    Gap(slash_twice, "//admin/users.list", _PATH, _UNMERGED, "slashes are merged from MERGE_SLASHES on", "2.8"),
    Gap(step_in_place, "/./admin/", _PATH, _NONE, "dot segments are removed from BASE on", "2.8"),
    Gap(step_back, "/a/../admin/", _PATH, _NONE, "dot segments are removed from BASE on", "2.8"),
    Gap(encoded_dots, "/a/%2e%2e/admin/", _PATH, _NONE, "unreserved characters are decoded from BASE on", "2.8"),
    Gap(encoded_letter, "/%61dmin/", _PATH, _NONE, "unreserved characters are decoded from BASE on", "2.8"),
    Gap(
        encoded_slash,
        "/admin%2fusers.list",
        _PATH,
        _UNDECODED,
        "`%2f` is decoded by DECODE_AND_MERGE_SLASHES alone",
        "2.8",
    ),
    Gap(
        encoded_backslash,
        "/admin%5cusers.list",
        _PATH,
        _UNDECODED,
        "`%5c` is decoded by DECODE_AND_MERGE_SLASHES alone",
        "2.8",
    ),
    Gap(backslash, "/admin\\users.list", _PATH, _NONE, "a backslash becomes a slash from BASE on", "2.8"),
    Gap(encoded_twice, "/%2561dmin/", _PATH, _EVERY, "there is one pass, and it decodes no percent sign", "2.8"),
    Gap(overlong_utf8, "/a/%c0%ae%c0%ae/admin/", _PATH, _EVERY, "overlong UTF-8 is nobody's to understand", "2.8"),
    Gap(parameters, "/admin;p=v/users.list", _PATH, _EVERY, "`;params` are part of the path", "2.3"),
    Gap(
        parameters_of_dots,
        "/a/..;/admin/",
        _PATH,
        _NONE,
        "dot segments lose their parameters from BASE on",
        "Envoy 1.40",
    ),
    Gap(
        parameters_of_encoded_dots,
        "/a/%2e%2e;/admin/",
        _PATH,
        _EVERY,
        "encoded dots keep their parameters, and stay",
        "Envoy 1.40",
    ),
    Gap(slash_at_the_end, "/admin/users.list/", _PATH, _EVERY, "a slash at the end is significant", "2.3"),
    Gap(dot_at_the_end, "/admin/users.list.", _PATH, _EVERY, "a dot is a letter", "2.8"),
    Gap(nul_at_the_end, "/admin/users.list%00", _PATH, _NONE, "`%00` is refused from BASE on", "2.8"),
    Gap(space_at_the_end, "/admin/users.list%20", _PATH, _EVERY, "percent-encoding is compared as it stands", "2.3"),
    Gap(case_of_the_path, "/ADMIN/", _PATH, _EVERY, "paths are compared by case", "2.3"),
    Gap(query, "/admin/users.list?x=y", _HEADER, _EVERY, "`:path`, read as a header, has the query", "2.8"),
    Gap(encoded_query, "/admin/users.list%3f", _PATH, _EVERY, "an encoded question mark begins no query", "2.3"),
    Gap(
        not_utf8_in_the_path,
        "/admin/users.list\\xff",
        _PATH,
        _EVERY,
        "HTTP/2 may send any byte, and none is left out",
        "Envoy 1.40",
    ),
    Gap(
        case_of_the_host, "Host: ADMIN.SHOP", _HEADER, _EVERY, "the host, read as a header, is compared by case", "2.7"
    ),
    Gap(port_behind_the_host, "Host: admin.shop:80", _HOST, _EVERY, "the port is part of the host", "2.3"),
    Gap(dot_behind_the_host, "Host: admin.shop.", _HOST, _EVERY, "no dot behind a host is folded", "2.3"),
    Gap(host_twice, "Host: other.example", _HOST, _EVERY, "two Host lines are one host with a comma", "Envoy 1.40"),
    Gap(
        case_of_the_method,
        "get /admin/",
        _METHOD,
        _EVERY,
        "methods are compared by case, and HTTP/2 may send any",
        "2.3",
    ),
    Gap(
        repeated_header_as_policies_ask,
        "x-user-role: admin",
        _HEADER,
        _EVERY,
        "each line counts, and one is enough",
        "2.7",
    ),
    Gap(joined_header, "x-user-role: guest,other", _HEADER, _EVERY, "a line with a comma is one value", "2.7"),
    Gap(empty_header, "x-absent:", _HEADER, _EVERY, "`*` holds for an empty header", "2.7"),
    Gap(
        underscore_in_the_header_s_name, "x_user_role: guest", _HEADER, _EVERY, "a name with `_` is another name", "2.7"
    ),
    Gap(
        spaces_around_the_header,
        "x-user-role:  guest",
        _HEADER,
        _EVERY,
        "HTTP/2 keeps the spaces around a value",
        "Envoy 1.40",
    ),
    Gap(not_utf8_in_the_header, "x-user-role: guest\\xff", _HEADER, _EVERY, "values are compared byte by byte", "2.7"),
    Gap(
        forged_hops,
        "x-forwarded-for: 203.0.113.9, 198.51.100.7, unknown",
        _REMOTE,
        _EVERY,
        "the right-most address is believed, whoever wrote it",
        "2.10",
    ),
    Gap(
        mapped_address,
        "x-forwarded-for: 203.0.113.9, ::ffff:198.51.100.7",
        _REMOTE,
        _EVERY,
        "no IPv4 range has an IPv4-mapped address",
        "2.2",
    ),
)
