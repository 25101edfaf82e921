"""Settings: `authority.toml`, the one file that says what an authority is and where it listens.

Everything in it is checked when it is read: what is unknown, misspelt or out of bounds is refused, with its place.
"""

import difflib
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ca.errors import RefusedSettingsError
from ca.keys import KeyType
from ca.lifetimes import Settings
from cli.authority.durations import parse_duration
from cli.command import CommandError, ExitCode
from identity import InvalidSpiffeIdError, InvalidTrustDomainError, SpiffeId, TrustDomain

__all__ = [
    "AuthoritySettings",
    "FederationSettings",
    "IstioSettings",
    "KeySettings",
    "KubernetesSettings",
    "RestSettings",
    "SettingsError",
    "SocketSettings",
    "read_settings",
]


class SettingsError(CommandError):
    """`authority.toml` cannot be used."""

    code = ExitCode.INVALID


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _trust_domain(value: object) -> object:
    try:
        return TrustDomain.parse(value) if isinstance(value, str) else value
    except InvalidTrustDomainError as error:
        raise ValueError(str(error)) from error


def _spiffe_id(value: object) -> object:
    try:
        return SpiffeId.parse(value) if isinstance(value, str) else value
    except InvalidSpiffeIdError as error:
        raise ValueError(str(error)) from error


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Domain = Annotated[TrustDomain, BeforeValidator(_trust_domain)]
Id = Annotated[SpiffeId, BeforeValidator(_spiffe_id)]
Key = Annotated[KeyType, BeforeValidator(lambda value: KeyType(value) if isinstance(value, str) else value)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class KeySettings(_Table):
    """Where private keys are. `passphrase_file` opens those on disk, and has the PIN of a token."""

    kind: Literal["disk", "pkcs11"] = "disk"
    directory: Path = Path("keys")
    passphrase_file: Path | None = None
    module: str | None = None
    token: str | None = None


class LifetimeSettings(_Table):
    """How long things live."""

    root: Duration = timedelta(days=365)
    intermediate: Duration = timedelta(days=7)
    jwt: Duration = timedelta(days=7)
    max_ttl: Duration = timedelta(hours=24)
    max_jwt_ttl: Duration = timedelta(hours=1)
    notice: Duration = timedelta(minutes=25)


class KeyTypeSettings(_Table):
    """What keys are of."""

    root: Key = KeyType.P256
    intermediate: Key = KeyType.P256
    jwt: Key = KeyType.P256


class RestSettings(_Table):
    """The HTTP edge: for workloads at `listen`, for those who manage it at `admin`."""

    listen: str | None = "127.0.0.1:8443"
    admin: str | None = "127.0.0.1:8444"
    dns_names: tuple[str, ...] = ("localhost",)
    admin_token_sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None
    jwt_issuer: str | None = None


class SocketSettings(_Table):
    """An edge on a Unix socket; not there without `listen`."""

    listen: str | None = None


class IstioSettings(_Table):
    """Istio's certificate service; not there without `listen`."""

    listen: str | None = None
    dns_names: tuple[str, ...] = ("istiod.istio-system.svc",)


class KubernetesSettings(_Table):
    """A cluster whose service-account tokens are believed. Their keys are in `jwks_file`, or found from the issuer.

    With `istio_names` its service accounts have the names that Istio gives them, without entries. `node_proxies` are the service
    accounts, `namespace/name`, that may ask for the pods of their nodes, which `api_server` is asked about with `token_file`.
    """

    name: str
    issuer: str
    audience: str = "meshward"
    jwks_file: Path | None = None
    ca_file: Path | None = None
    max_token_age: Duration = timedelta(hours=24)
    istio_names: bool = False
    api_server: str | None = None
    token_file: Path | None = None
    node_proxies: tuple[str, ...] = ()


class FederationSettings(_Table):
    """Another trust domain, whose bundle is fetched. Everything is said and nothing inferred."""

    trust_domain: Domain
    url: str
    profile: Literal["https_web", "https_spiffe"]
    endpoint_spiffe_id: Id | None = None
    bundle_file: Path | None = None
    ca_file: Path | None = None


class LimitSettings(_Table):
    """How often one caller may ask, a second."""

    attest: Annotated[int, Field(ge=1)] = 50
    issue: Annotated[int, Field(ge=1)] = 500


class AuthoritySettings(_Table):
    """All of `authority.toml`. Paths in it are from the directory that it is in."""

    trust_domain: Domain
    store: str = "sqlite:///store/store.db"
    plugged: Path | None = None
    keys: KeySettings = KeySettings()
    lifetimes: LifetimeSettings = LifetimeSettings()
    key_types: KeyTypeSettings = KeyTypeSettings()
    rest: RestSettings = RestSettings()
    sds: SocketSettings = SocketSettings()
    workload_api: SocketSettings = SocketSettings()
    istio: IstioSettings = IstioSettings()
    kubernetes: tuple[KubernetesSettings, ...] = ()
    federation: tuple[FederationSettings, ...] = ()
    limits: LimitSettings = LimitSettings()

    @property
    def rotation(self) -> Settings:
        """What rotates, when.

        Raises:
            RefusedSettingsError: something would outlive what it rests on.
        """
        lives, keys = self.lifetimes, self.key_types
        return Settings(
            root_lifetime=lives.root,
            intermediate_lifetime=lives.intermediate,
            jwt_lifetime=lives.jwt,
            max_ttl=lives.max_ttl,
            max_jwt_ttl=lives.max_jwt_ttl,
            notice=lives.notice,
            root_key=keys.root,
            intermediate_key=keys.intermediate,
            jwt_key=keys.jwt,
        )


def read_settings(path: Path) -> AuthoritySettings:
    """Read `authority.toml`.

    Raises:
        SettingsError: it is not there, not TOML, or says something that cannot be.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"{path}: there is no authority", help="`meshward ca init` makes one, and --dir says where it is"
        ) from error
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}", help="it has to be TOML in UTF-8") from error
    try:
        settings = AuthoritySettings.model_validate(document)
        _ = settings.rotation
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise SettingsError(f"{path}: unknown setting `{place}`", help=_near(first["loc"])) from None
        raise SettingsError(f"{path}: `{place}`: {first['msg'].removeprefix('Value error, ')}") from None
    except RefusedSettingsError as error:
        raise SettingsError(f"{path}: {error}") from error
    return settings


def _near(place: tuple[int | str, ...]) -> str | None:
    """What may have been meant."""
    table: type[BaseModel] | None = AuthoritySettings
    for step in place[:-1]:
        field = None if table is None or isinstance(step, int) else table.model_fields.get(step)
        if field is None:
            continue
        inner = field.annotation
        inner = next((each for each in getattr(inner, "__args__", ()) if isinstance(each, type)), inner)
        table = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    known = [] if table is None else list(table.model_fields)
    found = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"did you mean `{found[0]}`?" if found else f"known are {', '.join(known)}" if known else None
