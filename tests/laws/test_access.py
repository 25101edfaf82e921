"""A cell of the matrix that says always or never is right about every request that is tried, and one that is marked has changed."""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from authz.attributes import Attributes, Protocol
from authz.decision import Verdict
from authz.errors import UnsupportedValueError
from authz.invariants import Assumed
from authz.matcher import Matcher, Present, matches
from authz.mesh_config import MeshConfig, PathNormalization
from authz.model import Action, Operation, Policy, Rule, Source
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.values import Scope
from authz.workload import Workload
from mesh.access.callers import Caller, CallerKind
from mesh.access.cells import Answer, Cell
from mesh.access.matrix import Matrix, matrices
from mesh.access.overlay import Overlay, overlays
from mesh.access.routes import PATH, Route
from mesh.comparing import Change, compare
from mesh.deciding import Offline, decide
from mesh.proving.ground import Witness
from mesh.snapshot import Snapshot
from parser.request import Destination, RequestDocument
from tests.laws import world
from tests.laws.proving_world import nearly

ISSUERS = ("https://idp", "https://idp/")
API = Workload(namespace="shop", name="api", labels={"app": "api"}, service_account="web", ports=(8080,))


def mesh(random: Random) -> Snapshot:
    domains = random.choice([domains for domains in world.TRUST_DOMAINS if "*" not in "".join(domains)])
    return of_policies(world.random_policies(random), domains)


def of_policies(some: Iterable[Policy], domains: tuple[str, ...]) -> Snapshot:
    domain, *aliases = domains
    policies = [replace(policy, selector=None, target_refs=()) for policy in some]
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


def decided(snapshot: Snapshot, attributes: Attributes, allowed_by: frozenset[str] = frozenset()) -> Verdict:
    document = RequestDocument(destination=Destination(workload="shop/api"), attributes=attributes)
    return decide(snapshot, document, Offline(at=0, allowed_by=allowed_by)).verdict


def named_in(policies: Iterable[Policy]) -> list[Matcher]:
    """The patterns of paths in the policies, those aside that hold for every path."""
    rules = [rule for each in policies for rule in each.rules]
    values = {path for rule in rules for each in rule.operations for path in (*each.paths, *each.not_paths)}
    named: list[Matcher] = []
    for value in values:
        with suppress(UnsupportedValueError):
            named += PATH.matchers(value, Scope("shop", ("cluster.local",)))
    return [each for each in named if not isinstance(each, Present)]


def verdicts(matrix: Matrix, snapshot: Snapshot, random: Random) -> list[tuple[Cell, Verdict, Attributes]]:
    named = named_in(snapshot.policies)
    found = []
    for (row, route), (column, group) in product(enumerate(matrix.routes), enumerate(matrix.callers)):
        cell = matrix.cells[row][column]
        for _ in range(3):
            attributes = asked(random, random.choice(group), route, named)
            if attributes is not None:
                found.append((cell, decided(snapshot, attributes), attributes))
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


# Two versions -----------------------------------------------------------------------------------------------------------


def changed(random: Random) -> tuple[Snapshot, Snapshot]:
    old = mesh(random)
    return old, of_policies(nearly(random, old), old.config.trust_domains)


def overlaid(old: Snapshot, new: Snapshot) -> list[Overlay]:
    return overlays(old, new, compare(old, new, assumed=Assumed()).changed, assumed=Assumed())


def marks(cell: Cell) -> dict[Change, Witness]:
    before = cell.before
    both = {} if before is None else {Change.NEWLY_ALLOWED: before.allowed, Change.NEWLY_DENIED: before.denied}
    return {change: witness for change, witness in both.items() if witness is not None}


def change_of(was: Verdict, now: Verdict) -> Change | None:
    if was is now:
        return None
    return Change.NEWLY_ALLOWED if now is Verdict.ALLOW else Change.NEWLY_DENIED


def is_of(route: Route, attributes: Attributes) -> bool:
    if attributes.protocol is not route.protocol or attributes.destination_port != 8080:
        return False
    if route.protocol is Protocol.TCP:
        return True
    path = (attributes.path or "").partition("?")[0]
    return (attributes.method in route.methods) is not route.others and route.path in (None, path)


@pytest.mark.parametrize("seed", range(6))
def test_a_cell_is_marked_where_a_request_of_it_is_decided_otherwise_and_nowhere_else(seed: int) -> None:
    random = Random(seed)
    found = 0
    for _ in range(15):
        old, new = changed(random)
        named = named_in((*old.policies, *new.policies))
        for overlay in overlaid(old, new):
            matrix = overlay.matrix
            for (row, route), (column, group) in product(enumerate(matrix.routes), enumerate(matrix.callers)):
                cell = matrix.cells[row][column]
                for change, witness in marks(cell).items():
                    case = witness.case
                    verdicts = [decided(each, case.attributes, case.allowed_by) for each in (old, new)]
                    assert change_of(*verdicts) is change
                    assert is_of(route, case.attributes)
                    assert cell.before is not None
                    assert cell.before.answer not in (
                        {Answer.ALLOW} if change is Change.NEWLY_ALLOWED else {Answer.DENY}
                    )
                    found += 1
                for _ in range(3):
                    attributes = asked(random, random.choice(group), route, named)
                    if attributes is not None:
                        turned = change_of(decided(old, attributes), decided(new, attributes))
                        assert turned is None or turned in marks(cell), (old.policies, new.policies, attributes)
            for difference in overlay.outside:
                for _, witness in difference.regions:
                    verdicts = [decided(each, witness.case.attributes, witness.case.allowed_by) for each in (old, new)]
                    assert change_of(*verdicts) is difference.change
    assert found > 5


SMALL_PATHS = ("/a", "/a/*", "/b", "*.png", "/{*}/c")
SMALL_METHODS = ("GET", "POST", "PUT")
PEOPLE = ("cluster.local/ns/shop/sa/web", "cluster.local/ns/ops/sa/admin")


def small_policies(random: Random) -> list[Policy]:
    def some(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(random.sample(values, random.randint(0, 2)))

    def rule() -> Rule:
        operation = Operation(paths=some(SMALL_PATHS), methods=some(SMALL_METHODS[:2]))
        source = Source(principals=some(PEOPLE), namespaces=random.choice(((), (), ("ops",))))
        return Rule(
            sources=() if source == Source() else (source,), operations=() if operation == Operation() else (operation,)
        )

    return [
        Policy(namespace="shop", name="allow", rules=tuple(rule() for _ in range(3))),
        Policy(namespace="shop", name="deny", action=Action.DENY, rules=(rule(),)),
    ]


def every_request() -> list[Attributes]:
    paths = ("/a", "/a/x", "/a/c", "/a/x.png", "/x.png", "/x/c", "/b", "/else")
    identities = [(f"spiffe://{each}",) for each in (*PEOPLE, "cluster.local/ns/ops/sa/other", "t.example/ns/x/sa/y")]
    return [
        Attributes(
            protocol=Protocol.HTTP,
            identities=who,
            method=method,
            path=path,
            host="h",
            scheme="http",
            destination_port=8080,
        )
        for who, method, path in product([*identities, ()], SMALL_METHODS, paths)
    ]


def speaks_for(matrix: Matrix, policies: Iterable[Policy], attributes: Attributes) -> list[tuple[int, int]]:
    """The rows and columns of the cells that speak for a request, told without any solver."""
    sources = [source for each in policies for rule in each.rules for source in rule.sources]
    people = sorted({f"spiffe://{each}" for source in sources for each in source.principals})
    ops = any(source.namespaces for source in sources)

    def known(identities: tuple[str, ...]) -> tuple[bool, ...]:
        if not identities:
            return ()
        return (*[each in identities for each in people], ops and "/ns/ops/" in identities[0])

    def like(path: str) -> tuple[bool, ...]:
        return tuple(matches(each, path) for each in named)

    named = named_in(policies)
    path = attributes.path or ""
    rows = [
        number
        for number, route in enumerate(matrix.routes)
        if route.protocol is Protocol.HTTP
        and (attributes.method in route.methods) is not route.others
        and (not any(like(path)) if route.path is None else like(route.path) == like(path))
    ]
    columns = []
    for number, group in enumerate(matrix.callers):
        for caller in group:
            match caller.kind:
                case CallerKind.PATTERN:
                    is_theirs = "/ns/ops/" in "".join(attributes.identities)
                case CallerKind.PLAINTEXT:
                    is_theirs = not attributes.identities
                case _:
                    is_theirs = known(attributes.identities) == known((caller.identity or "",))
            if is_theirs:
                columns.append(number)
    return list(product(rows, columns))


def test_in_a_world_so_small_that_all_is_tried_nothing_is_marked_but_what_changed_and_nothing_is_lost() -> None:
    random = Random(7)
    tried = every_request()
    marked = besides = 0
    for _ in range(60):
        old, new = (
            Snapshot(policies=small_policies(random), workloads=[API], config=MeshConfig(), revision="r")
            for _ in range(2)
        )
        policies = (*old.policies, *new.policies)
        changes = {
            number: change_of(decided(old, attributes), decided(new, attributes))
            for number, attributes in enumerate(tried)
        }
        for overlay in overlaid(old, new):
            expected: dict[tuple[int, int], set[Change]] = {}
            for number, attributes in enumerate(tried):
                cells = speaks_for(overlay.matrix, policies, attributes)
                change = changes[number]
                for place in cells:
                    expected.setdefault(place, set()).update(() if change is None else {change})
                if not cells and change is not None:
                    besides += 1
                    assert change in {each.change for each in overlay.outside if each.protocol is Protocol.HTTP}
            for (row, column), wanted in expected.items():
                assert set(marks(overlay.matrix.cells[row][column])) == wanted, (old.policies, new.policies)
                marked += len(wanted)
    assert marked > 500
    assert besides > 5
