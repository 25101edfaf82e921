"""PeerAuthentication documents, and every row of section 8.5."""

import pytest

from authz.peer_authentication import MtlsMode, PeerAuthentication
from parser.manifests import Manifests, parse_manifests


def read(spec: str, *, metadata: str = "{name: a, namespace: shop}") -> Manifests:
    text = f"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {metadata}\nspec:\n{spec}\n"
    return parse_manifests([("f.yaml", text.encode())])


def codes(spec: str) -> list[tuple[str, str, int]]:
    return [(each.severity.value, each.code, each.span.line) for each in read(spec).diagnostics]


def test_a_policy_is_read_whole() -> None:
    spec = (
        "  selector: {matchLabels: {app: api}}\n  mtls: {mode: STRICT}\n"
        "  portLevelMtls: {8080: {mode: DISABLE}, 9090: {mode: UNSET}, 9091: {}}"
    )
    metadata = '{name: a, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}'
    assert read(spec, metadata=metadata).peer_authentications == (
        PeerAuthentication(
            namespace="shop",
            name="a",
            created="2026-01-01T00:00:00Z",
            selector={"app": "api"},
            mode=MtlsMode.STRICT,
            port_modes={8080: MtlsMode.DISABLE, 9090: MtlsMode.UNSET, 9091: MtlsMode.UNSET},
        ),
    )


def test_a_policy_that_says_nothing_is_one() -> None:
    (policy,) = read("  {}").peer_authentications
    assert (policy.selector, policy.mode, policy.port_modes) == (None, MtlsMode.UNSET, {})


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("  portLevelMtls: {80: {mode: STRICT}}", ("error", "ports-without-selector", 5)),  # P1
        ("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {}", ("error", "no-ports", 6)),  # P2
        ("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {0: {}}", ("error", "bad-port", 6)),  # P3
        ("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {65536: {}}", ("error", "bad-port", 6)),
        ("  selector: {matchLabels: {a: b}}\n  portLevelMtls: {http: {}}", ("error", "bad-port", 6)),
        ("  selector: {matchLabels: {a: '*'}}", ("error", "wildcard-label", 5)),  # P4
        ("  selector: {}", ("warning", "empty-selector", 5)),
        ("  mtls: {mode: STRCT}", ("error", "unknown-value", 5)),  # P5
        ("  mtls: STRICT", ("error", "wrong-type", 5)),
        ("  mlts: {mode: STRICT}", ("error", "unknown-field", 5)),
    ],
)
def test_what_istio_refuses_is_said(spec: str, found: tuple[str, str, int]) -> None:
    assert codes(spec) == [found]


def test_a_policy_with_an_error_is_none() -> None:
    assert read("  mtls: {mode: STRCT}").peer_authentications == ()


def test_two_policies_of_one_name_are_an_error() -> None:
    text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\n"
    result = parse_manifests([("f.yaml", f"{text}---\n{text}".encode())])
    assert [each.code for each in result.diagnostics] == ["duplicate-policy"]
