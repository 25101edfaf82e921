"""Meshes of the small world in which policies and requests meet, and requests there can be."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from random import Random

from authn.claims import as_policies_see
from authz.attributes import Attributes, Protocol
from authz.extension_provider import GrpcProvider
from authz.mesh_config import MeshConfig, PathNormalization
from authz.model import Action, Operation, Policy, Source
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.workload import Workload
from mesh.snapshot import Snapshot
from tests.laws import world

API = Workload(namespace="shop", name="api", labels={"app": "api"}, ports=(8080,))
ISSUERS = ("https://idp", "https://idp/")
TOKENS = RequestAuthentication(
    namespace="shop", name="tokens", jwt_rules=tuple(JwtRule(issuer=issuer) for issuer in ISSUERS)
)


def mesh(policies: tuple[Policy, ...], *, tokens: bool = True, trust_domains: tuple[str, ...] = ("t",)) -> Snapshot:
    """One workload, and these policies before it."""
    return Snapshot(
        policies=policies,
        request_authentications=(TOKENS,) if tokens else (),
        workloads=(API,),
        config=MeshConfig(
            trust_domain=trust_domains[0],
            trust_domain_aliases=trust_domains[1:],
            path_normalization=PathNormalization.NONE,
            extension_providers=tuple(
                GrpcProvider(name=name, service=f"{name}.example", port=9000) for name in world.PROVIDERS
            ),
            multiple_custom_providers=True,
        ),
        revision="",
    )


def random_mesh(random: Random, trust_domains: tuple[str, ...]) -> Snapshot:
    return mesh(world.random_policies(random), tokens=random.random() < 0.8, trust_domains=trust_domains)


def nearly(random: Random, snapshot: Snapshot) -> tuple[Policy, ...]:
    """The policies with one of them changed a little, or gone: what people do to them."""
    policies = list(snapshot.policies)
    index = random.randrange(len(policies))
    policy = policies[index]
    match random.choice(("gone", "rule", "less", "turned")):
        case "gone":
            del policies[index]
        case "rule":
            policies[index] = replace(policy, rules=(*policy.rules, world.random_rule(random)))
        case "less":
            policies[index] = replace(policy, rules=policy.rules[1:])
        case _:
            action = Action.DENY if policy.action is Action.ALLOW else Action.ALLOW
            policies[index] = replace(policy, action=action, provider=None)
    return tuple(policies)


def random_source(random: Random) -> Source:
    """Something to ask of callers. Where there is no policy, a service account stands with its namespace."""
    while not (sources := world.random_rule(random).sources) or any(
        "/" not in each for each in (*sources[0].service_accounts, *sources[0].not_service_accounts)
    ):
        pass
    return sources[0]


def random_operation(random: Random) -> Operation:
    """Something to ask of what is asked for."""
    while not (operations := world.random_rule(random).operations):
        pass
    return operations[0]


@cache
def requests(seed: int, count: int) -> tuple[Attributes, ...]:
    """So many requests there can be, as the proxies see them."""
    return tuple(_requests(Random(seed), count))


_IDENTITY = re.compile(r"spiffe://[a-z.-]+(/ns/[a-z]+/sa/[a-z0-9]+)?")
_PATHS = [path for path in world.PATHS if path.startswith("/") and "#" not in path]
_HOSTS = [host for host in world.HOSTS if host and host == host.lower() and host.isascii()]
_IDENTITIES = [each for each in world.IDENTITIES if _IDENTITY.fullmatch(each)]


def _requests(random: Random, count: int) -> Iterator[Attributes]:
    for _ in range(count):
        found = replace(
            world.random_attributes(random),
            identities=tuple(random.sample(_IDENTITIES, k=random.choice((0, 1, 1, 1)))),
            destination_port=random.choice((80, 8080)),
        )
        if found.protocol is Protocol.TCP:
            yield Attributes(
                protocol=Protocol.TCP,
                identities=found.identities,
                source_ip=found.source_ip,
                remote_ip=found.remote_ip,
                destination_ip=found.destination_ip,
                destination_port=found.destination_port,
                sni=found.sni,
            )
            continue
        claims = found.claims
        if claims is not None:
            claims = {**claims, "iss": random.choice(ISSUERS)}
            if not isinstance(claims.get("sub"), str):
                claims.pop("sub", None)
        yield replace(
            found,
            method=random.choice(("GET", "POST", "get", "GETX")),
            path=random.choice(_PATHS),
            host=random.choice(_HOSTS),
            scheme="http",
            claims=None if claims is None else as_policies_see(claims),
            metadata=None,
        )
