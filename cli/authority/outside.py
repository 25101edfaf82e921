"""What an authority is told about the world outside: clusters whose tokens it takes, trust domains that it federates with."""

from collections.abc import Iterable
from pathlib import Path

from ca.attestation import Cluster, DiscoveredKeys, KeysFile, KubernetesAttestor, KubernetesTokens
from ca.federation import Foreign, HttpsSpiffe, HttpsWeb, read_bootstrap
from ca.fetching import Fetcher, TrustedFile, trusting
from ca.istio.impersonation import Account, Impersonation
from ca.istio.kubernetes_pods import KubernetesPods
from cli.authority.directory import AuthorityDirectory
from cli.authority.settings import FederationSettings, KubernetesSettings, SettingsError

__all__ = ["foreign_of", "impersonation_of", "tokens_of"]


def tokens_of(directory: AuthorityDirectory) -> KubernetesAttestor | None:
    """What takes tokens of the clusters in the settings; `None` where there is none. The first is the one that is meant by default.

    Raises:
        FetchError: an issuer is no `https://` address, or a file holds no authorities.
    """
    clusters = directory.settings.kubernetes
    if not clusters:
        return None
    return KubernetesAttestor((_cluster(directory, each) for each in clusters), default=clusters[0].name)


def impersonation_of(directory: AuthorityDirectory) -> Impersonation | None:
    """Who may ask for the pods of its node; `None` where nobody may.

    Raises:
        FetchError: an API server is no `https://` address, or a file holds no authorities.
        SettingsError: what it takes to ask an API server is not all there.
    """
    pods = {}
    trusted: set[Account] = set()
    for each in directory.settings.kubernetes:
        if each.api_server is None:
            continue
        if each.token_file is None or each.ca_file is None or not each.node_proxies:
            raise SettingsError(
                f"cluster `{each.name}`: an API server is asked with a token, by its authorities, for someone",
                help="set `token_file`, `ca_file` and `node_proxies` as well",
            )
        pods[each.name] = KubernetesPods(
            each.api_server, token=directory.within(each.token_file), authorities=directory.within(each.ca_file)
        )
        trusted.update(_accounts(each.node_proxies, each.name))
    return Impersonation(pods, trusted=trusted) if pods else None


def foreign_of(directory: AuthorityDirectory) -> list[Foreign]:
    """The trust domains that it federates with.

    Raises:
        ForeignError: what is said of one does not go together.
        SettingsError: what one needs is not all there.
    """
    return [_foreign(directory, each) for each in directory.settings.federation]


def _cluster(directory: AuthorityDirectory, settings: KubernetesSettings) -> Cluster:
    tokens = KubernetesTokens(
        cluster=settings.name, issuer=settings.issuer, audience=settings.audience, longest=settings.max_token_age
    )
    named_in = directory.settings.trust_domain if settings.istio_names else None
    if settings.jwks_file is not None:
        return Cluster(tokens=tokens, keys=KeysFile(directory.within(settings.jwks_file)), named_in=named_in)
    fetcher = Fetcher(trusting(None) if settings.ca_file is None else TrustedFile(directory.within(settings.ca_file)))
    return Cluster(tokens=tokens, keys=DiscoveredKeys(settings.issuer, fetcher), named_in=named_in)


def _foreign(directory: AuthorityDirectory, settings: FederationSettings) -> Foreign:
    name = settings.trust_domain
    if settings.profile == "https_web":
        return Foreign(name, settings.url, HttpsWeb(_within(directory, settings.ca_file)))
    if settings.endpoint_spiffe_id is None or settings.bundle_file is None:
        raise SettingsError(
            f"federation with `{name}`: an endpoint by SPIFFE has a name, and a first bundle",
            help="set `endpoint_spiffe_id` and `bundle_file`",
        )
    bootstrap = read_bootstrap(directory.within(settings.bundle_file), name)
    return Foreign(name, settings.url, HttpsSpiffe(settings.endpoint_spiffe_id, bootstrap))


def _accounts(texts: Iterable[str], cluster: str) -> Iterable[Account]:
    for text in texts:
        namespace, slash, name = text.partition("/")
        if not slash or not namespace or not name:
            raise SettingsError(f"cluster `{cluster}`: {text!r} is no service account, as in istio-system/ztunnel")
        yield Account(namespace, name)


def _within(directory: AuthorityDirectory, path: Path | None) -> Path | None:
    return None if path is None else directory.within(path)
