"""Plugged-in authorities: what fits together issues, and what does not is refused by file, fault and remedy."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from ca import PluggedError
from ca.plugged import Plugged, plug_in, read_files
from identity import SpiffeId, TrustDomain, verify_x509_svid
from tests.unit.identity.chains import AT, SOUND, Chain, Plan, build, new_key

TD = TrustDomain.parse("td.example")
WEB = SpiffeId.for_workload(TD, namespace="shop", service_account="web")

ROOT = replace(SOUND["root"], from_hours=-10, to_hours=1000)
CA = replace(SOUND["intermediate"], from_hours=-10, to_hours=100)
PLANS = {"root": ROOT, "ca": CA}

Files = dict[str, bytes]


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key: Any, encryption: Any = None) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))


def cacerts(chain: Chain) -> Files:
    """As Istio's own Makefile writes them: the chain begins with the signing certificate and ends with the root."""
    certificates = list(chain.certificates.values())
    return {
        "ca-cert.pem": pem(certificates[-1]),
        "ca-key.pem": key_pem(list(chain.keys.values())[-1]),
        "cert-chain.pem": pem(*certificates[::-1]),
        "root-cert.pem": pem(certificates[0]),
    }


def tls(chain: Chain) -> Files:
    """As cert-manager writes them."""
    certificates = list(chain.certificates.values())
    return {
        "tls.crt": pem(*certificates[:0:-1]),
        "tls.key": key_pem(list(chain.keys.values())[-1]),
        "ca.crt": pem(certificates[0]),
    }


def plugged(files: Mapping[str, bytes], **changes: Any) -> Plugged:
    return plug_in(files, TD, **{"place": "/etc/cacerts", "at": AT, **changes})


def planned(**changes: Mapping[str, Any]) -> Chain:
    return build({role: replace(PLANS.get(role, CA), **changes.get(role, {})) for role in {**PLANS, **changes}})


CHAIN = planned()
OTHER = planned()
FILES = cacerts(CHAIN)


@pytest.mark.parametrize("layout", [cacerts, tls])
@pytest.mark.parametrize("middle", [{}, {"middle": {}}])
def test_what_fits_together_issues_what_its_bundle_verifies(
    layout: Callable[[Chain], Files], middle: dict[str, dict[str, object]]
) -> None:
    plans: dict[str, Plan] = {"root": replace(ROOT, path_length=2)}
    plans |= {name: replace(CA, subject=name, path_length=1) for name in middle}
    found = plugged(layout(build({**plans, "ca": CA})))
    svid = found.authority.issue_with_new_key(WEB, at=AT)
    assert len(svid.chain) == 2 + len(middle)
    assert verify_x509_svid(svid.chain, [found.bundle], at=AT) == WEB
    assert found.notes == ()


def test_the_chain_may_leave_out_the_signing_certificate_and_the_root() -> None:
    path = build({"root": replace(ROOT, path_length=2), "middle": replace(CA, subject="m", path_length=1), "ca": CA})
    files = {**cacerts(path), "cert-chain.pem": pem(path.certificates["middle"])}
    assert plugged(files).authority.above == (path.certificates["middle"],)


def test_all_roots_are_in_the_bundle_so_that_one_can_be_rolled() -> None:
    files = {**FILES, "root-cert.pem": pem(OTHER.certificates["root"], CHAIN.certificates["root"])}
    found = plugged(files)
    assert found.bundle.x509_authorities == (OTHER.certificates["root"], CHAIN.certificates["root"])
    assert found.authority.root == CHAIN.certificates["root"]


def test_a_root_may_sign_leaves_itself_and_is_not_sent_along() -> None:
    chain = build({"root": replace(ROOT, path_length=0)})
    found = plugged(cacerts(chain))
    svid = found.authority.issue_with_new_key(WEB, at=AT)
    assert svid.chain == (svid.leaf,)
    assert verify_x509_svid(svid.chain, [found.bundle], at=AT) == WEB


def test_a_signing_certificate_without_a_spiffe_id_is_taken_and_spoken_of() -> None:
    found = plugged(cacerts(planned(ca={"uris": ()})))
    (note,) = found.notes
    assert note.startswith(
        "/etc/cacerts/ca-cert.pem: certificate 'CN=intermediate' has no SPIFFE ID of the trust domain"
    )


def test_other_files_beside_it_do_not_matter(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "README").write_text("x")
    assert read_files(tmp_path) == FILES
    assert plugged(read_files(tmp_path)).authority.root == CHAIN.certificates["root"]


@pytest.mark.parametrize("missing", FILES)
def test_a_set_that_lacks_a_file_is_refused(missing: str) -> None:
    files = {name: content for name, content in FILES.items() if name != missing}
    with pytest.raises(
        PluggedError, match=rf"^/etc/cacerts/{missing}: it is missing; an authority needs all of ca-cert"
    ):
        plugged(files)


def test_a_directory_that_is_empty_or_not_there_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(PluggedError, match=r"there is no authority; put ca-cert\.pem"):
            plugged(read_files(directory))


def test_a_directory_for_a_file_and_a_file_that_is_too_large_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca-cert.pem").mkdir()
    with pytest.raises(PluggedError, match="cannot be read"):
        read_files(tmp_path)
    (tmp_path / "ca-cert.pem").rmdir()
    (tmp_path / "ca-cert.pem").write_bytes(b"x" * (256 * 1024 + 1))
    with pytest.raises(PluggedError, match="larger"):
        read_files(tmp_path)


NC_OTHER, NC_OURS, NC_BELOW = "other.example", "td.example", ".td.example"
FAULTS: dict[str, tuple[Files, str]] = {
    "both layouts": ({**FILES, **tls(CHAIN)}, r"cacerts: there are files of two layouts"),
    "one of another layout": ({**FILES, "tls.key": b""}, "two layouts"),
    "no PEM": ({**FILES, "ca-cert.pem": b"x"}, r"ca-cert.pem: it holds no certificates"),
    "empty": ({**FILES, "root-cert.pem": b""}, r"root-cert.pem: it holds no certificates"),
    "a key among certificates": (
        {**FILES, "cert-chain.pem": FILES["cert-chain.pem"] + FILES["ca-key.pem"]},
        "cert-chain.pem: it holds something else",
    ),
    "two certificates": (
        {**FILES, "ca-cert.pem": FILES["cert-chain.pem"]},
        "ca-cert.pem: it holds more than one certificate; move the others to cert-chain.pem",
    ),
    "no key": ({**FILES, "ca-key.pem": FILES["ca-cert.pem"]}, "ca-key.pem: it holds no private key"),
    "an encrypted key": (
        {**FILES, "ca-key.pem": key_pem(CHAIN.keys["ca"], BestAvailableEncryption(b"p"))},
        "ca-key.pem: the key is encrypted",
    ),
    "a key of another kind": ({**FILES, "ca-key.pem": key_pem(new_key("ed448"))}, "ca-key.pem: the key is of a kind"),
    "another's key": (
        {**FILES, "ca-key.pem": key_pem(OTHER.keys["ca"])},
        r"ca-key.pem: it is not the key of the certificate in ca-cert.pem; put the two that belong together",
    ),
    "another's root": (
        {**FILES, "root-cert.pem": pem(OTHER.certificates["root"]), "cert-chain.pem": FILES["ca-cert.pem"]},
        r"cert-chain.pem: it does not lead from certificate 'CN=intermediate' to a root",
    ),
    "another's chain": (
        {**FILES, "cert-chain.pem": cacerts(OTHER)["cert-chain.pem"]},
        r"cert-chain.pem: .* is not on the way to a root; take it out",
    ),
    "a root that is no root": (
        {**FILES, "root-cert.pem": FILES["ca-cert.pem"]},
        "root-cert.pem: .* is not self-signed",
    ),
    "expired": (cacerts(planned(ca={"to_hours": -1})), "ca-cert.pem: .* expired at 2026-06-01T11:00:00"),
    "root expired": (cacerts(planned(root={"to_hours": -1})), "root-cert.pem: .* expired at"),
    "not yet valid": (cacerts(planned(ca={"from_hours": 1})), "ca-cert.pem: .* is not valid before"),
    "no authority": (
        cacerts(planned(ca={"authority": False, "path_length": None})),
        "ca-cert.pem: .* is not an authority",
    ),
    "no constraints": (cacerts(planned(ca={"authority": None})), "ca-cert.pem: .* is not an authority"),
    "may not sign": (cacerts(planned(ca={"usage": ("crl_sign",)})), "ca-cert.pem: .* may not sign certificates"),
    "no usage": (cacerts(planned(ca={"usage": None})), "ca-cert.pem: .* may not sign certificates"),
    "path too short": (
        cacerts(planned(root={"path_length": 0})),
        "root-cert.pem: .* allows 0 signing certificates below it, and there are 1; have it issued with a path length of 1",
    ),
    "weak curve": (cacerts(planned(ca={"key": "p224"})), "ca-cert.pem: .*neither P-256 nor P-384"),
    "weak root": (cacerts(planned(root={"key": "secp256k1"})), "root-cert.pem: .*neither P-256 nor P-384"),
    "weak hash": (cacerts(planned(ca={"hash": "sha224"})), "ca-cert.pem: what it signs does not verify: .*algorithm"),
    "no subject": (cacerts(planned(ca={"subject": ""})), "ca-cert.pem: .* has no subject"),
    "names excluded": (
        cacerts(planned(ca={"constraint": NC_OTHER})),
        "ca-cert.pem: .* has name constraints that exclude the trust domain `td.example`; have it issued without",
    ),
    "names below": (cacerts(planned(ca={"constraint": NC_BELOW})), "ca-cert.pem: .* exclude the trust domain"),
    "names included": (
        cacerts(planned(root={"constraint": NC_OURS})),
        "root-cert.pem: .* has name constraints, which many",
    ),
    "another trust domain": (
        cacerts(planned(ca={"uris": ("spiffe://other.example",)})),
        "ca-cert.pem: .* is named 'spiffe://other.example', not 'spiffe://td.example'; set the trust domain",
    ),
    "a workload": (
        cacerts(planned(ca={"uris": ("spiffe://td.example/ns/istio-system",)})),
        "ca-cert.pem: .* is named 'spiffe://td.example/ns",
    ),
    "another trust domain's root": (
        cacerts(planned(root={"uris": ("spiffe://td.example.evil",)})),
        "root-cert.pem: .* is named",
    ),
    "not for servers": (
        cacerts(planned(ca={"purposes": ("client_auth",)})),
        "ca-cert.pem: what it signs does not verify: .*extended key usage",
    ),
    "not understood": (
        cacerts(planned(ca={"unknown_extension": "critical"})),
        "ca-cert.pem: what it signs does not verify: .*not understood",
    ),
    "too short-lived": (
        cacerts(planned(ca={"from_hours": -1, "to_hours": 4.9})),
        "ca-cert.pem: it lives for 5:54:00, which is less than six times the 1:00:00 of its leaves",
    ),
    "about to end": (cacerts(planned(ca={"to_hours": 0.05})), "ca-cert.pem: what it signs does not verify: .*renew it"),
    "too long": (
        cacerts(
            build(
                {"root": replace(ROOT, path_length=9)}
                | {f"m{i}": replace(CA, subject=f"m{i}", path_length=8 - i) for i in range(3)}
                | {"ca": CA}
            )
        ),
        "cert-chain.pem: 4 certificates below the root, more than 3",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_refused_with_file_fault_and_remedy(fault: str) -> None:
    files, said = FAULTS[fault]
    with pytest.raises(PluggedError, match=said) as caught:
        plugged(files)
    assert str(caught.value).startswith("/etc/cacerts")
    assert caught.value.remedy
    assert "PRIVATE" not in str(caught.value)


def test_leaves_may_live_for_a_sixth_of_their_issuer() -> None:
    files = cacerts(planned(ca={"from_hours": -1, "to_hours": 5}))
    plugged(files)
    with pytest.raises(PluggedError, match="less than six times"):
        plugged(files, max_ttl=timedelta(hours=1, seconds=1))
