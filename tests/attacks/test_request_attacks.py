"""Attacks on what a request says that worked on others, each by the name it became known under, put as Envoy would put it.

What Envoy itself does to such a request is in `test_envoy_attacks.py`. A comment says what happened there; the test, what holds here.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

from authz.mesh_config import PathNormalization
from authz.normalization import RefusedPathError, normalize_path
from demo import sidecar
from identity import SvidVerificationError, verify_x509_svid
from mesh.snapshot import Snapshot
from parser.manifests import parse_manifests
from tests import questions
from tests.attacks.asking import Asking, snapshot_of
from tests.integration.serving import policy
from tests.unit.identity.chains import AT, build, plans_with

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def asking() -> Iterator[Asking]:
    with Asking() as asking:
        yield asking


def deny(operation: str) -> Snapshot:
    return snapshot_of(policy("denied", "DENY", f"rules: [{{to: [{{operation: {operation}}}]}}]"))


def allow(operation: str) -> Snapshot:
    return snapshot_of(policy("only", "ALLOW", f"rules: [{{to: [{{operation: {operation}}}]}}]"))


def when(action: str, key: str, condition: str) -> Snapshot:
    return snapshot_of(policy("when", action, f"rules: [{{when: [{{key: '{key}', {condition}}}]}}]"))


# The path -------------------------------------------------------------------------------------------------------------


def test_cve_2026_26205_two_slashes_at_the_start_name_no_host(asking: Asking) -> None:
    # There a URL parser took `admin` of `//admin/users` for a host, and policies saw `/users`.
    no_admin, only_users = deny('{paths: ["//admin/*"]}'), allow("{paths: [/users]}")
    for path in ("//admin/users", "//admin/users?x", "//admin/users#x", "//admin/"):
        assert not asking.allowed(no_admin, questions.http(path=path))
        assert not asking.allowed(only_users, questions.http(path=path))
    for path in ("//admin/users", "//admin:80/users", "//user@admin/users", "///users", "http://admin/users"):
        assert not asking.allowed(only_users, questions.http(path=path)), path


def test_cve_2026_32811_the_query_is_cut_from_the_path_and_read_from_nowhere_else(asking: Asking) -> None:
    # There the query was looked for in a field that Envoy leaves empty, and `?` was escaped to be part of the path.
    no_p, only_p = deny("{paths: [/p]}"), allow("{paths: [/p]}")
    for path in ("/p", "/p?", "/p?x", "/p?x=/public", "/p#x", "/p??", "/p?#", "/p#?"):
        assert not asking.allowed(no_p, questions.http(path=path)), path
        assert asking.allowed(only_p, questions.http(path=path)), path
    for path in ("/p%3Fx", "/p%3fx", "/p%23x", "/px", "/p/?x"):
        assert not asking.allowed(only_p, questions.http(path=path)), path
    for path in ("/p", "/other"):
        question = questions.http(path=path)
        question.attributes.request.http.query = "x=/p"
        question.attributes.request.http.fragment = "/p"
        assert asking.allowed(no_p, question) is (path == "/other")


@pytest.mark.parametrize("behind", ["?x", "?", "#x", "#", "?x#y", "#x?y", "?/../", "#/public", "?x=.css", "#.css"])
@pytest.mark.parametrize(
    ("pattern", "path"),
    [("/p/q", "/p/q"), ("/p/*", "/p/q"), ("*/q", "/p/q"), ("/p/{*}", "/p/q"), ("/{**}/q", "/p/q"), ("/p/{**}", "/p/q")],
)
def test_cve_2020_8595_no_query_or_fragment_changes_what_a_path_matches(
    asking: Asking, pattern: str, path: str, behind: str
) -> None:
    # There an exact path was compared with its query and fragment: a check that it should have set off was skipped.
    question = questions.http(path=path + behind)
    for field, matched in (("paths", True), ("notPaths", False)):
        operation = f'{{{field}: ["{pattern}"]}}'
        assert asking.allowed(deny(operation), question) is not matched
        assert asking.allowed(allow(operation), question) is matched


def test_cve_2021_39156_a_fragment_hides_nothing(asking: Asking) -> None:
    # There `/user/profile#x` was another path than `/user/profile` to the policy, and the same to the application.
    only, no = allow('{notPaths: ["/user/*"]}'), deny("{paths: [/user/profile]}")
    for path in ("/user/profile#", "/user/profile#x", "/user/profile#/../../public", "/user/profile#?x"):
        assert not asking.allowed(no, questions.http(path=path))
        assert not asking.allowed(only, questions.http(path=path))


def test_cve_2025_46821_a_segment_of_any_letters_matches_its_template(asking: Asking) -> None:
    # There a path with a `*` in it matched no template, and passed a DENY. All that BASE lets into a path is tried here.
    no_keys = deny('{paths: ["/t/{*}/keys"]}')
    passed = set()
    for character in map(chr, range(256)):
        try:
            path = normalize_path(f"/t/a{character}b/keys", PathNormalization.BASE)
        except RefusedPathError:
            continue
        if asking.allowed(no_keys, questions.http(path=path)):
            passed.add(character)
    # The slashes make two segments of it, `?` and `#` end the path; brackets are no part of one to Envoy, either (2.4).
    assert passed == set("/\\?#[]")


@pytest.mark.parametrize("path", ["shop.Admin/Delete", "admin", "*", "?x", "#x", "%2Fadmin", "\\admin", " /admin"])
def test_cve_2026_33186_a_path_without_its_slash_is_denied_where_everything_else_is_allowed(
    asking: Asking, path: str
) -> None:
    # There a gRPC server found the method of `shop.Admin/Delete`, for which no policy had a name. Envoy 1.40 lets in none.
    nothing_else = deny("{paths: [/shop.Admin/Delete, /admin]}")
    assert asking.allowed(nothing_else, questions.http(path="/items"))
    assert not asking.allowed(nothing_else, questions.http(path=path))


def test_cve_2026_33186_a_path_without_its_slash_is_none_that_an_allow_names(asking: Asking) -> None:
    # The same, where it is named.
    only = allow("{paths: [/shop.Items/List, /items*]}")
    assert asking.allowed(only, questions.http("POST", "/shop.Items/List"))
    for path in ("shop.Items/List", "items", "%2Fitems"):
        assert not asking.allowed(only, questions.http("POST", path))


# The host -------------------------------------------------------------------------------------------------------------


def test_cve_2021_39155_a_host_in_capitals_is_the_same_host(asking: Asking) -> None:
    # There hosts were compared by case, and `Admin.Shop` passed a DENY of `admin.shop`.
    for value in ("admin.shop", "Admin.SHOP", "*.SHOP", "ADMIN.*"):
        for host in ("admin.shop", "ADMIN.SHOP", "aDmIn.sHoP"):
            assert not asking.allowed(deny(f'{{hosts: ["{value}"]}}'), questions.http(host=host))
            assert not asking.allowed(allow(f'{{notHosts: ["{value}"]}}'), questions.http(host=host))


def test_istio_security_2021_008_a_host_with_a_port_is_another_and_whoever_forgets_it_is_warned(asking: Asking) -> None:
    # There, too, `hosts: [admin.shop]` lets `admin.shop:80` by. It is what Istio means, so that it is said before it happens.
    text = policy("denied", "DENY", "rules: [{to: [{operation: {hosts: [admin.shop]}}]}]")
    both = deny('{hosts: [admin.shop, "admin.shop:*"]}')
    assert asking.allowed(snapshot_of(text), questions.http(host="admin.shop:80"))
    assert not asking.allowed(both, questions.http(host="admin.shop:80"))
    codes = [diagnostic.code for diagnostic in parse_manifests([("a.yaml", text.encode())]).diagnostics]
    assert "host-without-port" in codes


def test_a_dot_behind_a_host_makes_another_host_of_it(asking: Asking) -> None:
    # Elsewhere `admin.shop.` is resolved to the same host. Here an ALLOW does not take it for one; a DENY must name it (2.3).
    assert not asking.allowed(allow("{hosts: [admin.shop]}"), questions.http(host="admin.shop."))
    assert asking.allowed(deny("{hosts: [admin.shop]}"), questions.http(host="admin.shop."))
    assert not asking.allowed(deny('{hosts: [admin.shop, "admin.shop.*"]}'), questions.http(host="admin.shop.:80"))


# Headers --------------------------------------------------------------------------------------------------------------

LINES = [
    ("guest", "admin"),
    ("admin", "guest"),
    ("guest", "admin", "guest"),
    ("", "admin"),
    ("admin", ""),
    ("admin",) * 2,
]


@pytest.mark.parametrize("lines", LINES)
def test_cve_2020_25017_every_line_of_a_header_counts(asking: Asking, lines: tuple[str, ...]) -> None:
    # There only the first of several lines was looked at.
    question = questions.http(headers=[("x-role", line) for line in lines])
    assert not asking.allowed(when("DENY", "request.headers[x-role]", "values: [admin]"), question)
    assert not asking.allowed(when("ALLOW", "request.headers[x-role]", "notValues: [admin]"), question)


@pytest.mark.parametrize("lines", LINES)
def test_cve_2026_26308_lines_are_compared_one_by_one_and_not_as_one(asking: Asking, lines: tuple[str, ...]) -> None:
    # There the lines were joined with a comma first, and no exact value matched any more.
    question = questions.http(headers=[("x-role", line) for line in lines])
    for value in ("admin", "adm*", "*min"):
        assert not asking.allowed(when("DENY", "request.headers[x-role]", f'values: ["{value}"]'), question)
    one = questions.http(headers=[("x-role", "guest,admin")])
    assert not asking.allowed(when("ALLOW", "request.headers[x-role]", "values: [admin]"), one)
    assert asking.allowed(when("ALLOW", "request.headers[x-role]", 'values: ["guest,admin"]'), one)


@pytest.mark.parametrize("joined", ["guest,admin", "admin,guest", "guest,admin,guest", "a,b,admin", ",admin", "admin,"])
def test_cve_2021_32777_lines_that_came_joined_are_denied_if_any_way_to_part_them_is(
    asking: Asking, joined: str
) -> None:
    # There an authorizer was told the last of several lines only. One that is told all of them in one cannot know which they were.
    question = questions.http(joined={"x-role": joined})
    assert not asking.allowed(when("DENY", "request.headers[x-role]", "values: [admin]"), question)
    assert not asking.allowed(when("DENY", "request.headers[x-role]", f'values: ["{joined}"]'), question)
    assert not asking.allowed(when("ALLOW", "request.headers[x-role]", "values: [admin]"), question)
    assert not asking.allowed(when("ALLOW", "request.headers[x-role]", "notValues: [admin]"), question)
    assert not asking.allowed(when("ALLOW", "request.headers[x-role]", f'values: ["{joined}"]'), question)


def test_cve_2021_32777_a_pseudo_header_with_two_values_is_refused(asking: Asking) -> None:
    # The last one is no better a choice where the two contradict each other.
    for name in (":path", ":method", ":authority", ":scheme"):
        question = questions.http(headers=[(name, "/other")])
        assert not asking.allowed(snapshot_of(""), question), name
    # Nor may the field beside it say something else.
    question = questions.http()
    question.attributes.request.http.path = "/other"
    assert not asking.allowed(snapshot_of(""), question)


NOT_UTF8 = [b"\xff", b"admin\xff", b"\xffadmin", b"\xc3\x28", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf8\x88\x80\x80\x80"]


@pytest.mark.parametrize("value", NOT_UTF8)
def test_cve_2023_27488_bytes_that_are_no_text_hide_nothing_and_break_nothing(asking: Asking, value: bytes) -> None:
    # There a header that is no UTF-8 made the question unreadable, which was allowed where failures are.
    key = "request.headers[x-role]"
    for headers in ([("x-role", b"admin"), ("x-noise", value)], [("x-role", value), ("x-role", b"admin")]):
        denied = asking.ask(when("DENY", key, "values: [admin]"), questions.http(headers=headers))
        assert (denied.status.code, denied.dynamic_metadata["policy"]) == (7, "shop/when")
    # By themselves they are a value like any other: present, and no value that a policy names.
    alone = questions.http(headers=[("x-role", value)])
    assert asking.allowed(when("ALLOW", key, 'values: ["*"]'), alone)
    assert not asking.allowed(when("ALLOW", key, "values: [admin]"), alone)
    assert not asking.allowed(when("DENY", key, "notValues: [admin]"), alone)


def test_cve_2023_27488_no_configuration_that_we_show_allows_what_was_not_answered() -> None:
    # The other half of it: what happens where there is no answer.
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "envoy.md").read_text(), re.DOTALL)
    shown = [*map(yaml.safe_load, blocks), sidecar._http_ext_authz(), sidecar._network_ext_authz("tcp")]
    modes = [mode for each in shown for mode in found(each, "failure_mode_allow")]
    assert len(modes) >= 4
    assert set(modes) == {False}
    assert {value for each in shown for value in found(each, "encode_raw_headers")} == {True}


def found(value: object, key: str) -> Iterator[object]:
    match value:
        case dict():
            yield from (item for name, item in value.items() if name == key)
            yield from (each for item in value.values() for each in found(item, key))
        case list():
            yield from (each for item in value for each in found(item, key))
        case _:
            return


# What others say about a request ---------------------------------------------------------------------------------------


def test_cve_2023_27487_nothing_that_a_client_says_of_its_request_is_believed(asking: Asking) -> None:
    # There a client wrote `x-envoy-original-path` itself, and who read the path there was told what it wished.
    snapshot = snapshot_of(
        policy(
            "denied",
            "DENY",
            """
            rules:
              - to: [{operation: {paths: [/admin]}}]
              - to: [{operation: {hosts: [admin.shop]}}]
              - to: [{operation: {methods: [DELETE]}}]
              - from: [{source: {notPrincipals: ["cluster.local/ns/shop/sa/web"]}}]
              - from: [{source: {remoteIpBlocks: [198.51.100.0/24]}}]
            """,
        )
    )
    lies = [
        ("x-envoy-original-path", "/public"),
        ("x-original-url", "/public"),
        ("x-forwarded-host", "public.shop"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/web"),
        ("x-http-method-override", "GET"),
        ("x-envoy-internal", "true"),
        ("x-envoy-external-address", "10.1.2.3"),
        ("x-real-ip", "10.1.2.3"),
        ("forwarded", "for=10.1.2.3;host=public.shop"),
        ("host", "public.shop"),
    ]
    denied: list[dict[str, Any]] = [
        {"path": "/admin"},
        {"host": "admin.shop"},
        {"method": "DELETE"},
        {"source": ""},
        {"source": "spiffe://cluster.local/ns/shop/sa/other"},
        {"source_ip": "198.51.100.7"},
    ]
    assert asking.allowed(snapshot, questions.http(headers=lies))
    for facts in denied:
        question = questions.http(headers=lies, **facts)
        question.attributes.source.service = "web"
        assert not asking.allowed(snapshot, question), facts


def test_cve_2024_45806_the_address_that_counts_is_the_one_next_to_the_proxy_that_is_believed(asking: Asking) -> None:
    # There whoever had an internal address was believed in what else it said of itself. Here it is told by counting hops.
    key = "remote.ip"
    inside = when("ALLOW", key, "values: [10.0.0.0/8]")
    assert asking.allowed(inside, questions.http(source_ip="10.1.2.3"))
    for forwarded in (["10.1.2.3, 203.0.113.9"], ["10.1.2.3", "203.0.113.9"], ["10.1.2.3,, 203.0.113.9"]):
        headers = [("x-forwarded-for", line) for line in forwarded]
        assert not asking.allowed(inside, questions.http(headers=headers, source_ip="10.1.2.3")), forwarded
    # The peer that policies call the source is the connection's, whatever is forwarded.
    source = when("ALLOW", "source.ip", "values: [10.0.0.0/8]")
    assert not asking.allowed(
        source, questions.http(headers=[("x-forwarded-for", "10.1.2.3")], source_ip="203.0.113.9")
    )


GATEWAY = """
---
apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: shop, labels: {app: api, gateway.networking.k8s.io/gateway-name: edge}}
spec: {containers: [{name: c, image: x}]}
"""


def test_cve_2024_45806_a_gateway_believes_no_client_about_its_address(asking: Asking) -> None:
    # Where nobody stands before a gateway, what a client forwards is only what it says.
    inside = snapshot_of(
        policy("inside", "ALLOW", "rules: [{from: [{source: {remoteIpBlocks: [10.0.0.0/8]}}]}]") + GATEWAY
    )

    def question(forwarded: str, peer: str) -> CheckRequest:
        # The gateway has put its peer behind what it was sent.
        return questions.http(headers=[("x-forwarded-for", f"{forwarded},{peer}")], source_ip=peer)

    assert asking.allowed(inside, question("203.0.113.9", "10.1.2.3"), workload="shop/edge")
    for forwarded in ("10.1.2.3", "10.1.2.3, 10.1.2.3", "203.0.113.9, 10.1.2.3"):
        assert not asking.allowed(inside, question(forwarded, "203.0.113.9"), workload="shop/edge")


def test_an_address_with_a_zone_is_the_address(asking: Asking) -> None:
    # A link-local peer comes with the name of an interface, which once made it one that no range held.
    for snapshot in (
        when("DENY", "source.ip", 'values: ["fe80::/10"]'),
        when("ALLOW", "source.ip", 'notValues: ["fe80::/10"]'),
        when("DENY", "remote.ip", 'values: ["fe80::/10"]'),
    ):
        assert not asking.allowed(snapshot, questions.http(source_ip="fe80::1%eth0"))
    forwarded = questions.http(headers=[("x-forwarded-for", "fe80::1%1")])
    assert not asking.allowed(when("DENY", "remote.ip", 'values: ["fe80::/10"]'), forwarded)


def test_an_ipv4_address_written_as_ipv6_is_in_no_ipv4_range_and_an_allow_does_not_take_it_for_one(
    asking: Asking,
) -> None:
    # Elsewhere `::ffff:10.1.2.3` passed for an internal address or past a denied one. Envoy 1.40 reports none as a peer.
    mapped = questions.http(source_ip="::ffff:10.1.2.3")
    assert not asking.allowed(when("ALLOW", "source.ip", "values: [10.0.0.0/8]"), mapped)
    assert asking.allowed(when("DENY", "source.ip", "values: [10.0.0.0/8]"), mapped)
    assert not asking.allowed(when("DENY", "source.ip", 'values: ["::ffff:0:0/96"]'), mapped)


# Names in certificates --------------------------------------------------------------------------------------------------

ADMIN = "spiffe://cluster.local/ns/shop/sa/admin"
WEB = "spiffe://td.example/ns/shop/sa/web"


@pytest.mark.parametrize(
    "name",
    [
        *(f"{ADMIN}\0", f"{ADMIN}\0.example.com", f"\0{ADMIN}", f"{ADMIN}\n", f"x\n{ADMIN}", f"{ADMIN}/", f"{ADMIN} "),
        *(f"{ADMIN},spiffe://x/y", f"spiffe://x/y,{ADMIN}", ADMIN.upper(), ADMIN.replace("spiffe:", "SPIFFE:")),
        *(
            f"{ADMIN}?x",
            f"{ADMIN}#x",
            "spiffe://cluster.local/ns/shop/sa/%61dmin",
            "spiffe://cluster.local/./ns/shop/sa/admin",
        ),
        *("spiffe://cluster.local//ns/shop/sa/admin", f"URI:{ADMIN}", "spiffe://cluster.local\0/ns/shop/sa/admin"),
    ],
)
def test_cve_2025_66220_no_name_that_is_nearly_an_identity_is_it(asking: Asking, name: str) -> None:
    # There a NUL byte cut a name short, so that `admin\\0.evil` was taken for `admin`.
    question = questions.http(source=name)
    only = snapshot_of(
        policy("only", "ALLOW", "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/admin]}}]}]")
    )
    assert asking.allowed(only, questions.http(source=ADMIN))
    assert not asking.allowed(only, question)


def test_cve_2022_21656_a_certificate_that_cannot_be_read_is_nobody_s_and_denied(asking: Asking) -> None:
    # There a name of one type was compared as if it were of another. What is no certificate has no names of any type.
    everything = snapshot_of("")
    for text in ("%00", "-----BEGIN%20CERTIFICATE-----", quote(ADMIN), "x"):
        question = questions.http()
        question.attributes.source.certificate = text
        assert not asking.allowed(everything, question)


@pytest.mark.parametrize(
    "names",
    [
        {"uris": [f"{WEB}\0.example.com"]},
        {"uris": [f"{WEB}\0"]},
        {"uris": [f"\0{WEB}"]},
        {"uris": [WEB, "spiffe://td.example/ns/shop/sa/admin"]},
        {"uris": [f"{WEB},spiffe://td.example/ns/shop/sa/admin"]},
        {"uris": [], "dns": [WEB]},
        {"uris": [], "subject": WEB},
        {"uris": ["https://td.example/ns/shop/sa/web"], "dns": [WEB]},
    ],
    ids=repr,
)
def test_cve_2026_47778_one_uri_and_nothing_else_makes_an_identity(names: dict[str, list[str]]) -> None:
    # There a DNS name, or what stood behind a NUL byte, passed for the URI that names a workload.
    chain = build(plans_with({"leaf": names}))
    with pytest.raises(SvidVerificationError):
        verify_x509_svid(chain.sound_order, [chain.bundle()], at=AT)


# Edges -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [65536, 65536 + 8080, 2**31, 2**32 - 1])
def test_cve_2024_27101_no_number_wraps_around_to_one_that_is_allowed(asking: Asking, port: int) -> None:
    # There an overflow split a batch of requests wrongly, and answers fell out of it.
    only = allow('{ports: ["8080"]}')
    question = questions.http()
    assert asking.allowed(only, question)
    question.attributes.destination.address.socket_address.port_value = port
    assert not asking.allowed(only, question)
    assert not asking.allowed(snapshot_of(""), question)


@pytest.mark.parametrize("commas", [5, 6, 7, 63, 64, 65])
def test_cve_2024_27101_the_most_readings_and_one_more_are_denied_where_one_of_them_is(
    asking: Asking, commas: int
) -> None:
    # The same where a request is read in many ways: the last way is looked at, too, and none too many are.
    for place in (0, commas):
        lines = ["user"] * (commas + 1)
        lines[place] = "admin"
        question = questions.http(joined={"x-role": ",".join(lines)})
        assert not asking.allowed(when("DENY", "request.headers[x-role]", "values: [admin]"), question)
