"""A cell of the matrix that says always or never is right about every request that is tried."""

import re
from contextlib import suppress
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from authz.attributes import Attributes, Protocol
from authz.decision import Verdict
from authz.errors import UnsupportedValueError
from authz.matcher import Matcher, Present, matches
from authz.mesh_config import MeshConfig, PathNormalization
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.values import Scope
from authz.workload import Workload
from mesh.access.callers import Caller, CallerKind
from mesh.access.matrix import Answer, Cell, Matrix, matrices
from mesh.access.routes import PATH, Route
from mesh.deciding import Offline, decide
from mesh.snapshot import Snapshot
from parser.request import Destination, RequestDocument
from tests.laws import world

ISSUERS = ("https://idp", "https://idp/")
API = Workload(namespace="shop", name="api", labels={"app": "api"}, service_account="web", ports=(8080,))


def mesh(random: Random) -> Snapshot:
    domain, *aliases = random.choice([domains for domains in world.TRUST_DOMAINS if "*" not in "".join(domains)])
    policies = [replace(policy, selector=None, target_refs=()) for policy in world.random_policies(random)]
    tokens = RequestAuthentication(
        namespace="shop", name="idp", jwt_rules=tuple(JwtRule(issuer=issuer, jwks="{}") for issuer in ISSUERS)
    )
    return Snapshot(
        policies=policies,
        request_authentications=[tokens],
        workloads=[API],
        config=MeshConfig(
            trust_domain=domain, trust_domain_aliases=tuple(aliases), path_normalization=PathNormalization.NONE
        ),
        revision="r",
    )


def identities_of(caller: Caller, random: Random) -> tuple[str, ...]:
    if caller.predicate is None:
        return ()
    if caller.identity is not None:
        return (caller.identity,)
    fitting = [(each,) for each in world.IDENTITIES if matches(caller.predicate.matcher, each)]
    return random.choice(fitting) if fitting else ("none",)


def asked(random: Random, caller: Caller, route: Route, named: list[Matcher]) -> Attributes | None:
    """A request of that cell, whatever it leaves open by chance; nothing if chance found none."""
    attributes = world.random_attributes(random)
    claims = attributes.claims
    wrong_token = claims is not None and (claims.get("iss") not in ISSUERS or not isinstance(claims.get("sub"), str))
    if wrong_token or caller.kind is CallerKind.PLAINTEXT:
        claims = None
    if caller.kind is CallerKind.TOKEN:
        claims = {**(claims or {}), "iss": caller.issuer, "sub": "alice"}
    identities = identities_of(caller, random)
    # There is nobody whose certificate says anything else.
    if not all(re.fullmatch(r"spiffe://[a-z.-]+/ns/[a-z]+/sa/[a-z0-9]+", each) for each in identities):
        return None
    attributes = replace(
        attributes, protocol=route.protocol, identities=identities, claims=claims, destination_port=8080
    )
    if route.protocol is Protocol.TCP:
        if caller.kind is CallerKind.TOKEN:
            return None
        return replace(attributes, method=None, path=None, host=None, scheme=None, headers={}, claims=None)
    methods = [each for each in world.METHODS if each and (each in route.methods) is not route.others]
    paths = [each for each in world.PATHS if each.startswith("/") and "?" not in each and "#" not in each]
    others = [each for each in paths if not any(matches(shape, each) for shape in named)]
    # Of no request the path reads so, for what is behind these is no path.
    unread = route.path is not None and ("?" in route.path or "#" in route.path or not route.path.startswith("/"))
    if not methods or unread or (route.path is None and not others):
        return None
    return replace(
        attributes,
        method=random.choice(methods),
        path=route.path or random.choice(others),
        host=attributes.host or "h",
        scheme="http",
    )


def verdicts(matrix: Matrix, snapshot: Snapshot, random: Random) -> list[tuple[Cell, Verdict, Attributes]]:
    rules = [rule for each in snapshot.policies for rule in each.rules]
    values = {path for rule in rules for each in rule.operations for path in (*each.paths, *each.not_paths)}
    named: list[Matcher] = []
    for value in values:
        with suppress(UnsupportedValueError):
            named += PATH.matchers(value, Scope("shop", ("cluster.local",)))
    named = [each for each in named if not isinstance(each, Present)]
    found = []
    for (row, route), (column, group) in product(enumerate(matrix.routes), enumerate(matrix.callers)):
        cell = matrix.cells[row][column]
        for _ in range(3):
            attributes = asked(random, random.choice(group), route, named)
            if attributes is not None:
                document = RequestDocument(destination=Destination(workload="shop/api"), attributes=attributes)
                decision = decide(snapshot, document, Offline(at=0))
                found.append((cell, decision.verdict, attributes))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_what_a_cell_says_holds_for_every_request_of_it(seed: int) -> None:
    random = Random(seed)
    said = {Answer.ALLOW: 0, Answer.DENY: 0, Answer.DEPENDS: 0}
    for _ in range(12):
        snapshot = mesh(random)
        for matrix in matrices(snapshot):
            for cell, verdict, attributes in verdicts(matrix, snapshot, random):
                assert cell.answer is not Answer.NEVER, (snapshot.policies, attributes)
                said[cell.answer] += 1
                if cell.answer is not Answer.DEPENDS:
                    assert cell.answer.name == verdict.value, (snapshot.policies, attributes)
    assert min(said.values()) > 5
    assert sum(said.values()) > 100
