"""`meshward ca join` and `meshward ca renew`: what a workload without an Envoy runs, on its own machine."""

import argparse
import json
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.authority.arguments import duration
from cli.authority.svid_files import BUNDLE, CHAIN, KEY, SvidFiles
from cli.command import Command, CommandError, ExitCode, UsageError

__all__ = ["JOIN", "RENEW"]

_TIMEOUT = 30.0


class RefusedError(CommandError):
    """The authority answered, and said no."""

    code = ExitCode.INVALID


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="URL", required=True, help="the authority, as in https://localhost:8443")
    parser.add_argument("--ttl", type=duration, metavar="DURATION", help="how long the certificate is to live")


def _add_join(parser: argparse.ArgumentParser) -> None:
    _add_server(parser)
    parser.add_argument(
        "--bundle", metavar="FILE", required=True, help="the roots to verify the authority with: `meshward ca bundle`"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", required=True, help="a join token, or a Kubernetes service account's token"
    )
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help=f"where to write {CHAIN}, {KEY} and {BUNDLE}")


def _join(arguments: argparse.Namespace) -> ExitCode:
    token = _read(Path(arguments.token_file)).strip().decode("ascii", "replace")
    context = _trusting(Path(arguments.bundle))
    return _ask(arguments, context, {"Authorization": f"Bearer {token}"}, Path(arguments.out))


def _add_renew(parser: argparse.ArgumentParser) -> None:
    _add_server(parser)
    parser.add_argument("directory", metavar="DIR", help="where the SVID is, and where the new one is written")


def _renew(arguments: argparse.Namespace) -> ExitCode:
    directory = Path(arguments.directory)
    context = _trusting(directory / BUNDLE)
    try:
        context.load_cert_chain(directory / CHAIN, directory / KEY)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"{directory}: there is no SVID to renew: {error}", help="`meshward ca join` gets one"
        ) from error
    return _ask(arguments, context, {}, directory)


def _ask(arguments: argparse.Namespace, context: ssl.SSLContext, headers: dict[str, str], out: Path) -> ExitCode:
    # A new key each time: what was stolen once is good until its end, and no longer.
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    asked: dict[str, object] = {"csr": request.public_bytes(Encoding.PEM).decode("ascii")}
    if arguments.ttl is not None:
        asked["ttl"] = int(arguments.ttl.total_seconds())
    answer = _post(f"{arguments.server.rstrip('/')}/v1/x509-svid", asked, context, headers)
    files = SvidFiles(
        "".join(answer["chain"]).encode(),
        answer["bundle"]["pem"].encode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )
    try:
        files.write(out)
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror}") from error
    print(f"{answer['spiffe_id']}: serial {answer['serial']}, until {answer['expires']}, in {out}")
    return ExitCode.OK


def _post(url: str, asked: dict[str, object], context: ssl.SSLContext, headers: dict[str, str]) -> dict[str, Any]:
    import httpx  # noqa: PLC0415  # no other verb pays for it

    try:
        with httpx.Client(verify=context, timeout=_TIMEOUT, trust_env=False) as client:
            answer = client.post(url, json=asked, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"{url}: {error}", help="look whether the authority serves there, and as whom") from error
    try:
        said: dict[str, Any] = json.loads(answer.content)
    except ValueError as error:
        raise CommandError(f"{url} answered {answer.status_code}, and no JSON") from error
    if not answer.is_success:
        retry = answer.headers.get("retry-after")
        wait = "" if retry is None else f"; try again in {retry} s"
        raise RefusedError(f"{said.get('code')}: {said.get('detail') or said.get('title')}{wait}")
    return said


def _trusting(bundle: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=bundle)
    except ssl.SSLError as error:
        raise UsageError(f"{bundle}: there is no root in PEM in it") from error
    except OSError as error:
        raise UsageError(f"{bundle}: {error.strerror}") from error
    return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


JOIN = Command(
    "join",
    "get a first certificate from a running authority, by a token",
    _add_join,
    _join,
    epilog="example: meshward ca join --server https://ca.example:8443 --bundle roots.pem --token-file token --out batch",
)
RENEW = Command(
    "renew",
    "get the next certificate by the one there is",
    _add_renew,
    _renew,
    epilog="example: meshward ca renew --server https://ca.example:8443 batch",
)
