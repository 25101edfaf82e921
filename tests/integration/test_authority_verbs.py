"""`meshward ca`: an authority in a directory, from nothing to a backup, as an operator goes about it."""

import json
import re
import shutil
import ssl
import stat
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca import Signer
from ca.authority import Authority
from ca.office import now
from ca.store import Store
from cli.command import ExitCode
from cli.main import main
from identity import TrustDomain
from tests.unit.ca.offices import csr

WEB = "spiffe://cluster.local/ns/shop/sa/web"


class Operator:
    """Whoever types the verbs."""

    def __init__(self, directory: Path, captured: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._captured = captured

    def __call__(self, *arguments: str, code: ExitCode = ExitCode.OK) -> str:
        """What a verb prints on standard output, or, where it fails, on standard error."""
        self._captured.readouterr()
        assert main(["ca", *arguments, "--dir", str(self.directory)]) == code
        printed = self._captured.readouterr()
        assert "Traceback" not in printed.err
        return printed.out if code is ExitCode.OK else printed.err

    def rows(self, *arguments: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self(*arguments, "-o", "json").splitlines()]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority as `init` leaves it; sealing its keys takes time, on purpose."""
    directory = tmp_path_factory.mktemp("new") / "ca"
    assert main(["ca", "init", "cluster.local", "--dir", str(directory)]) == ExitCode.OK
    return directory


@pytest.fixture
def ca(new: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(shutil.copytree(new, tmp_path / "ca"), capsys)


# init


def test_a_new_authority_is_its_owners_alone_and_keeps_no_key_and_no_token_in_the_clear(ca: Operator) -> None:
    files = [path for path in ca.directory.rglob("*") if path.is_file()]
    assert files
    for path in (ca.directory, *ca.directory.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    token = (ca.directory / "admin-token").read_text().strip()
    for path in files:
        content = path.read_bytes()
        assert b"PRIVATE KEY" not in content
        assert path.name == "admin-token" or token.encode() not in content


def test_init_never_touches_what_is_there(ca: Operator) -> None:
    before = {path: path.read_bytes() for path in ca.directory.rglob("*") if path.is_file()}
    assert "there is an authority already" in ca("init", "cluster.local", code=ExitCode.USAGE)
    assert {path: path.read_bytes() for path in ca.directory.rglob("*") if path.is_file()} == before
    (ca.directory / "authority.toml").unlink()
    assert "is not empty" in ca("init", "cluster.local", code=ExitCode.USAGE)


@pytest.mark.parametrize("name", ["Cluster.local", "spiffe://cluster.local", "a/b", ""])
def test_init_refuses_what_is_no_trust_domain(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    operator = Operator(tmp_path / "ca", capsys)
    assert "invalid trust domain" in operator("init", name, code=ExitCode.USAGE)
    assert not operator.directory.exists()


def test_keys_open_by_their_passphrase_only(ca: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHWARD_CA_PASSPHRASE", "another")
    out = str(ca.directory / "out")
    assert "passphrase does not open it" in ca("issue", WEB, "--out", out, code=ExitCode.INVALID)
    monkeypatch.delenv("MESHWARD_CA_PASSPHRASE")
    (ca.directory / "passphrase").chmod(0o640)
    assert "others may read the passphrase" in ca("issue", WEB, "--out", out, code=ExitCode.INVALID)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[rest]\nlistn = ''", "unknown setting `rest.listn`"),
        ("[lifetimes]\nmax_ttl = '3d'", "`max_ttl` refused"),
        ("[lifetimes]\nroot = '2 days'", "is no duration"),
        ("[[kubernetes]]\nname = 'a'", "`kubernetes.0.issuer`"),
        ("[keys]\nkind = 'cloud'", "`keys.kind`"),
        ("= 1", "has to be TOML"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_their_place(ca: Operator, written: str, said: str) -> None:
    (ca.directory / "authority.toml").write_text(f'trust_domain = "cluster.local"\n{written}\n')
    assert said in ca("status", code=ExitCode.INVALID)


# issue


def test_what_the_operator_issues_verifies_by_openssl_for_both_sides(ca: Operator) -> None:
    out = ca.directory / "out"
    ca("issue", WEB, "--out", str(out), "--ttl", "10m", "--dns-name", "web.shop")
    assert stat.S_IMODE((out / "svid-key.pem").stat().st_mode) == 0o600
    ssl.create_default_context().load_cert_chain(out / "svid.pem", out / "svid-key.pem")
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "bundle.pem"]
        subprocess.run([*command, "-untrusted", "svid.pem", "svid.pem"], cwd=out, check=True, capture_output=True)
    (row,) = ca.rows("list", "--spiffe-id", WEB)
    leaf = x509.load_pem_x509_certificate((out / "svid.pem").read_bytes())
    assert (row["serial"], row["state"]) == (f"{leaf.serial_number:x}", "valid")


def test_a_request_is_certified_for_the_name_that_the_operator_says(ca: Operator, tmp_path: Path) -> None:
    key, request = ec.generate_private_key(ec.SECP256R1()), tmp_path / "web.csr"
    request.write_bytes(csr(key))
    ca("issue", WEB, "--out", str(tmp_path / "out"), "--csr", str(request))
    leaf = x509.load_pem_x509_certificate((tmp_path / "out" / "svid.pem").read_bytes())
    assert leaf.public_key() == key.public_key()
    assert not (tmp_path / "out" / "svid-key.pem").exists()
    assert "another name has it" in ca(
        "issue", f"{WEB}2", "--out", str(tmp_path / "out"), "--csr", str(request), code=ExitCode.INVALID
    )


def test_a_request_that_asks_for_more_is_refused(ca: Operator, tmp_path: Path) -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    (tmp_path / "ca.csr").write_bytes(signed.public_bytes(Encoding.PEM))
    said = ca("issue", WEB, "--out", str(tmp_path), "--csr", str(tmp_path / "ca.csr"), code=ExitCode.INVALID)
    assert "asks for" in said


@pytest.mark.parametrize("name", ["spiffe://other.org/web", "spiffe://cluster.local"])
def test_names_of_others_are_not_issued(ca: Operator, name: str) -> None:
    assert "names no workload" in ca("issue", name, "--out", str(ca.directory / "out"), code=ExitCode.USAGE)


# entries, tokens, inventory


def test_entries_are_made_listed_applied_and_deleted(ca: Operator, tmp_path: Path) -> None:
    ca("entry", "create", WEB, "--selector", "unix:uid:1000", "--ttl", "10m", "--dns-name", "web", "--admin")
    (row,) = ca.rows("entry", "list")
    assert (row["spiffe_id"], row["selectors"], row["ttl"], row["admin"]) == (WEB, ["unix:uid:1000"], "10m", True)
    kept = tmp_path / "entries.jsonl"
    kept.write_text(ca("entry", "list", "-o", "json"))
    ca("entry", "create", f"{WEB}2", "--selector", "k8s:ns:shop", "--selector", "k8s:sa:web")
    assert "0 created, 1 deleted, 1 left" in ca("entry", "apply", str(kept), "--prune")
    assert [each["spiffe_id"] for each in ca.rows("entry", "list")] == [WEB]
    assert WEB in ca("entry", "delete", str(row["id"]))
    assert "1 created, 0 deleted, 0 left" in ca("entry", "apply", str(kept))
    assert ca.rows("entry", "list", "--selector", "unix:uid:2") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"spiffe_id": "spiffe://cluster.local/a"}', "`selectors`"),
        ('{"spiffe_id": "spiffe://cluster.local/a", "selectors": []}', "no selector"),
        ('{"spiffe_id": "spiffe://other.org/a", "selectors": ["unix:uid:1"]}', "not of the trust domain"),
        ('{"spiffe_id": "spiffe://cluster.local/a", "selectors": ["unix"]}', "invalid selector"),
        ('{"spiffe_id": "spiffe://cluster.local/a", "selectors": ["unix:uid:1"], "tll": "1m"}', "`tll`"),
        ('{"spiffe_id": "spiffe://cluster.local/a", "selectors": ["unix:uid:1"], "ttl": "0m"}', "not positive"),
        ("{", "JSON"),
    ],
)
def test_a_file_of_entries_with_a_mistake_changes_nothing(ca: Operator, tmp_path: Path, line: str, said: str) -> None:
    good = json.dumps({"spiffe_id": WEB, "selectors": ["unix:uid:1"]})
    (tmp_path / "entries").write_text(f"{good}\n{line}\n")
    printed = ca("entry", "apply", str(tmp_path / "entries"), code=ExitCode.USAGE)
    assert "line 2" in printed
    assert said in printed
    assert ca.rows("entry", "list") == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--dns-name", "Web_1"), "not a lower-case host name"),
        (("--ttl", "25h"), "live for"),
        (("--ttl", "1m"), "live for"),
    ],
)
def test_an_entry_by_which_nothing_could_be_issued_is_told_to_who_makes_it(
    ca: Operator, more: tuple[str, ...], said: str
) -> None:
    assert said in ca("entry", "create", WEB, "--selector", "unix:uid:1", *more, code=ExitCode.INVALID)
    assert ca.rows("entry", "list") == []


def test_bundles_of_others_are_listed_and_forgotten(ca: Operator) -> None:
    assert ca.rows("federation", "list") == []
    other = Authority.create(TrustDomain("other.example"), at=now())
    with Store.open(f"sqlite:///{ca.directory}/store/store.db") as store:
        store.federation.keep(replace(other.bundle, sequence=7), by="federation", at=now()).result()
    (row,) = ca.rows("federation", "list")
    assert row == {"trust_domain": "other.example", "sequence": 7, "roots": 1, "jwt_keys": 0}
    assert "may begin again" in ca("federation", "forget", "other.example")
    assert ca.rows("federation", "list") == []
    assert "other.example" in ca("federation", "forget", "other.example", code=ExitCode.INVALID)
    event = ca.rows("audit", "list")[-1]
    assert (event["action"], event["subject"]) == ("federated bundle forget", "other.example")


def test_a_token_is_printed_once_and_kept_nowhere(ca: Operator) -> None:
    text = ca("token", "create", WEB, "--ttl", "1h").strip()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", text)
    assert all(text.encode() not in path.read_bytes() for path in ca.directory.rglob("*") if path.is_file())
    (row,) = ca.rows("token", "list")
    assert (row["spiffe_id"], row["used"]) == (WEB, None)
    ca("token", "withdraw", str(row["id"]))
    assert ca.rows("token", "list") == []
    assert "up to 7d" in ca("token", "create", WEB, "--ttl", "8d", code=ExitCode.USAGE)


def test_what_is_revoked_is_listed_so_and_stays_so(ca: Operator) -> None:
    ca("issue", WEB, "--out", str(ca.directory / "out"))
    (row,) = ca.rows("list")
    serial = str(row["serial"])
    # As people copy serials: with colons and capitals.
    pairs = f"{serial:0>40}".upper()
    ca("revoke", ":".join(pairs[each : each + 2] for each in range(0, 40, 2)), "--reason", "keyCompromise")
    (row,) = ca.rows("list", "--state", "revoked")
    assert (row["serial"], row["reason"]) == (serial, "keyCompromise")
    assert ca.rows("list", "--state", "valid") == []
    assert "no certificate" in ca("revoke", "abc", code=ExitCode.INVALID)


# rotation


def test_a_root_that_is_rotated_signs_once_its_notice_is_over(ca: Operator) -> None:
    settings = ca.directory / "authority.toml"
    settings.write_text(settings.read_text().replace('notice = "25m"', 'notice = "0s"'))
    before = next(row["id"] for row in ca.rows("status") if row["kind"] == "root")
    assert "active   root" in ca("rotate", "root", "--wait", "20s")
    phases = {row["id"]: row["phase"] for row in ca.rows("status") if row["kind"] == "root"}
    assert phases.pop(before) == "superseded"
    assert list(phases.values()) == ["active"]
    assert ca("bundle").count("BEGIN CERTIFICATE") == 2
    assert len(json.loads(ca("bundle", "--format", "spiffe"))["keys"]) == 3


def test_a_root_in_its_notice_says_what_is_waited_for(ca: Operator) -> None:
    said = ca("rotate", "root", "--wait", "1s", code=ExitCode.INTERNAL)
    assert "it has not been published for long enough" in said


def test_who_takes_no_bundle_is_waited_for_and_left_behind_when_the_operator_says_so(ca: Operator) -> None:
    settings = ca.directory / "authority.toml"
    settings.write_text(settings.read_text().replace('notice = "25m"', 'notice = "0s"'))
    with Store.open(f"sqlite:///{ca.directory}/store/store.db") as store:
        store.authorities.acknowledge("sds late", 0, at=now()).result()
    said = ca("rotate", "root", "--wait", "1s", code=ExitCode.INTERNAL)
    assert "not every consumer holds the bundle that it is in: sds late (until " in said
    assert "`--leave-behind` who does not take it" in said
    assert "active   root" in ca("rotate", "root", "--leave-behind", "--wait", "20s")
    assert "with sds late left behind" in ca("audit", "list")


def test_what_is_tainted_signs_no_more(ca: Operator) -> None:
    root = next(str(row["id"]) for row in ca.rows("status") if row["kind"] == "root")
    ca("taint", root)
    assert "not ready" in ca("issue", WEB, "--out", str(ca.directory / "out"), code=ExitCode.INVALID)
    assert "cannot become tainted" in ca("taint", root, code=ExitCode.INVALID)


# audit, backup


def test_the_audit_tells_of_all_of_it_and_shows_a_cut_end_against_a_head_that_was_kept(ca: Operator) -> None:
    ca("entry", "create", WEB, "--selector", "unix:uid:1000")
    ca("issue", WEB, "--out", str(ca.directory / "out"))
    actions = [row["action"] for row in ca.rows("audit", "list")]
    assert actions[-2:] == ["entry create", "issue x509-svid"]
    head = ca("audit", "verify").split("head ")[1].strip()
    ca("entry", "create", f"{WEB}2", "--selector", "unix:uid:1000")
    assert "as it was written" in ca("audit", "verify", "--head", head)
    number, _, digest = head.partition(":")
    later = f"{int(number) + 9}:{digest}"
    assert "broken" in ca("audit", "verify", "--head", later, code=ExitCode.INVALID)


def test_a_backup_restores_to_an_authority_that_goes_on(ca: Operator, tmp_path: Path) -> None:
    ca("entry", "create", WEB, "--selector", "unix:uid:1000")
    ca("issue", WEB, "--out", str(tmp_path / "before"))
    backup = tmp_path / "ca.backup"
    head = ca("backup", str(backup)).split("head ")[1].split()[0]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    passphrase = (ca.directory / "passphrase").read_bytes()
    assert passphrase.strip() not in backup.read_bytes()
    assert "already" in ca("backup", str(backup), code=ExitCode.USAGE)

    first, ca.directory = ca.directory, tmp_path / "again"
    assert head in ca("restore", str(backup))
    (ca.directory / "passphrase").touch(mode=0o600)
    (ca.directory / "passphrase").write_bytes(passphrase)
    ca("issue", f"{WEB}2", "--out", str(tmp_path / "after"))
    assert (tmp_path / "after" / "bundle.pem").read_bytes() == (tmp_path / "before" / "bundle.pem").read_bytes()
    assert ca.rows("entry", "list")
    assert f"head {head}" not in ca("audit", "verify", "--head", head)
    assert "is not empty" in ca("restore", str(backup), code=ExitCode.USAGE)
    ca.directory = first


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\0" * 10240])
def test_what_is_no_backup_is_refused(ca: Operator, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    ca.directory = tmp_path / "again"
    assert "backup" in ca("restore", str(tmp_path / "file"), code=ExitCode.INVALID)


# An operator's own authority


def test_an_operators_own_authority_signs_what_is_issued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = Signer.new_root(TrustDomain("cluster.local"), at=now(), lifetime=timedelta(days=365))
    below = root.new_intermediate(TrustDomain("cluster.local"), at=now(), lifetime=timedelta(days=90))
    files = tmp_path / "cacerts"
    files.mkdir()
    pem = {"ca-cert.pem": below.certificate, "cert-chain.pem": below.certificate, "root-cert.pem": root.certificate}
    for name, certificate in pem.items():
        (files / name).write_bytes(certificate.public_bytes(Encoding.PEM))
    key = below.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (files / "ca-key.pem").write_bytes(key)
    ca = Operator(tmp_path / "ca", capsys)
    assert root.certificate.fingerprint(hashes.SHA256()).hex() in ca("init", "cluster.local", "--plugged", str(files))
    ca("issue", WEB, "--out", str(tmp_path / "out"))
    leaf = x509.load_pem_x509_certificate((tmp_path / "out" / "svid.pem").read_bytes())
    leaf.verify_directly_issued_by(below.certificate)
    assert "is plugged in" in ca("rotate", "root", code=ExitCode.INVALID)
    assert all(key not in path.read_bytes() for path in ca.directory.rglob("*") if path.is_file())


def test_half_of_an_operators_authority_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = tmp_path / "cacerts"
    files.mkdir()
    (files / "ca-cert.pem").write_text("")
    ca = Operator(tmp_path / "ca", capsys)
    assert "an authority needs all of" in ca("init", "cluster.local", "--plugged", str(files), code=ExitCode.INVALID)
    assert not (tmp_path / "ca" / "authority.toml").exists()
