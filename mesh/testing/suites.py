"""Suites: a file of policy tests with the mesh that it is about, ready to be run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.selection import select
from authz.span import Written
from authz.workload import ServiceRef, Workload
from mesh.directory import DirectoryStore, Examined
from mesh.errors import InvalidManifestsError, UnknownWorkloadError
from mesh.files import read_file
from mesh.snapshot import Snapshot
from mesh.stated import named_files, short_path, stated_peers
from mesh.testing.mutations import KINDS
from parser.diagnostics import Diagnostic, PolicySyntaxError, quoted
from parser.openapi import Route, parse_openapi
from parser.policy_tests import ALL, PolicyTest, PolicyTests, RuleRef, parse_policy_tests
from parser.request import Destination

__all__ = ["Loading", "Place", "Suite"]


@dataclass(frozen=True, slots=True)
class Place:
    """A workload that is asked, the port where a request says none, and the service that it is asked for."""

    workload: Workload
    port: int | None = None
    service: ServiceRef | None = None
    declared: bool = False

    @property
    def destination(self) -> Destination:
        """How request documents name it. What the file declares is spelled out, for the manifests may have its like."""
        workload, service = self.workload, self.service
        if self.declared:
            return Destination(namespace=workload.namespace, labels=workload.labels, service=service)
        return Destination(workload=workload.id, service=service)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """What is to be run. `places` has the workload of every test by the name that the file gives it.

    Paths in it are relative to `directory`. `routes` are those of the API that the file wants to be tested. `files` are those
    that it was made from.
    """

    tests: PolicyTests
    snapshot: Snapshot
    places: Mapping[str, Place]
    directory: Path
    routes: tuple[Route, ...] = ()
    files: tuple[str, ...] = ()

    def applying(self, place: Place) -> tuple[Policy, ...]:
        """The policies that apply to the workload at `place`."""
        config = self.snapshot.config
        return select(
            self.snapshot.policies,
            place.workload,
            root_namespace=config.root_namespace,
            service=place.service,
            selectors_on_gateways=config.selectors_on_gateways,
        )


class Loading:
    """Loads suites. Manifests that several of them are about are read once."""

    def __init__(self) -> None:
        self._examined: dict[tuple[str, ...], Examined] = {}

    def load(self, name: str, data: bytes, *, directory: Path) -> Suite:
        """The suite in a file, whose paths are relative to `directory`.

        Raises:
            PolicySyntaxError: Something is wrong in the file, or it names what is not there.
            InvalidManifestsError: The manifests that it is about have errors.
            PolicyStoreError: They cannot be read.
        """
        tests = parse_policy_tests(data, name)
        paths = named_files(tests.policies, directory)
        examined = self._manifests(tests, paths)
        manifests = examined.manifests
        declared = tuple(named.workload for named in tests.workloads.values())
        config = tests.mesh.over(examined.config or MeshConfig())
        snapshot = Snapshot(
            policies=manifests.policies,
            request_authentications=manifests.request_authentications,
            peer_authentications=stated_peers(tests.mesh, manifests.peer_authentications, config),
            workloads=(*manifests.workloads, *declared),
            config=config,
            revision="tested",
        )
        wrong = list(_mistakes(tests, snapshot, directory))
        if wrong:
            raise PolicySyntaxError(wrong)
        names = {each.to.text for each in tests.tests} | {each.workload.text for each in tests.complete}
        places = {to: _place(to, tests, snapshot) for to in names if to}
        return Suite(
            tests=tests,
            snapshot=snapshot,
            places=places,
            directory=directory,
            routes=_routes(tests, directory),
            files=paths,
        )

    def _manifests(self, tests: PolicyTests, paths: tuple[str, ...]) -> Examined:
        if paths not in self._examined:
            self._examined[paths] = DirectoryStore(paths).examine()
        examined = self._examined[paths]
        if examined.errors:
            raise InvalidManifestsError(examined.diagnostics, examined.sources, revision="tested")
        if not (examined.manifests.policies or examined.manifests.request_authentications):
            message = "there is no policy in these files"
            raise PolicySyntaxError([Diagnostic("no-policy", message, tests.policies[0].span, help=_NAME_POLICIES)])
        return examined


_NAME_POLICIES = "name the files that hold them"


def _routes(tests: PolicyTests, directory: Path) -> tuple[Route, ...]:
    if tests.coverage is None or (gate := tests.coverage.routes) is None:
        return ()
    path = directory / gate.openapi.text
    if not path.is_file():
        message = f"there is no file {quoted(gate.openapi.text)}"
        help_ = f"it is looked for from {directory}"
        raise PolicySyntaxError([Diagnostic("no-such-file", message, gate.openapi.span, help=help_)])
    name = short_path(path)
    return parse_openapi(read_file(Path(name)), name)


def _place(to: str, tests: PolicyTests, snapshot: Snapshot) -> Place:
    if (named := tests.workloads.get(to)) is not None:
        return Place(named.workload, named.port, named.service, declared=True)
    workload = snapshot.find(workload=to, principal=None, address=None)
    return Place(workload, workload.ports[0] if len(workload.ports) == 1 else None)


# What is not there ------------------------------------------------------------------------------------------------------


def _mistakes(tests: PolicyTests, snapshot: Snapshot, directory: Path) -> Iterator[Diagnostic]:
    """What the file names and the mesh does not have."""
    policies = {policy.id: policy for policy in snapshot.policies}
    providers = {provider.name for provider in snapshot.config.extension_providers}
    for to in [*(test.to for test in tests.tests if test.to.text), *(each.workload for each in tests.complete)]:
        yield from _unknown_workload(to, tests, snapshot)
    for test in tests.tests:
        if test.log is not None and not (directory / test.log.path.text).is_file():
            help_ = f"it is looked for from {directory}"
            message = f"there is no file {quoted(test.log.path.text)}"
            yield Diagnostic("no-such-file", message, test.log.path.span, help=help_)
        expected = None if test.expect is None else test.expect.nearest
        for rule in filter(None, (test.because, expected)):
            yield from _unknown_rule(rule, policies)
        if test.because is not None and test.because.policy in policies:
            yield from _pointless(test.because, policies[test.because.policy], test)
        for kind in (*test.evasions, *test.spared):
            if kind.text not in (*KINDS, ALL) or (kind.text == ALL and kind in test.spared):
                yield _unknown(kind, "evasion", KINDS)
        for provider in test.allowed_by:
            if provider.text not in providers:
                yield _unknown(provider, "external authorizer", providers)


def _unknown_workload(to: Written, tests: PolicyTests, snapshot: Snapshot) -> Iterator[Diagnostic]:
    if to.text in tests.workloads:
        return
    try:
        snapshot.find(workload=to.text, principal=None, address=None)
    except UnknownWorkloadError as error:
        known = [*tests.workloads, *sorted({workload.id for workload in snapshot.workloads})]
        if to.text in known:
            yield Diagnostic("unknown-name", str(error), to.span)
        else:
            yield _unknown(to, "workload", known)


def _unknown_rule(rule: RuleRef, policies: Mapping[str, Policy]) -> Iterator[Diagnostic]:
    if (policy := policies.get(rule.policy)) is None:
        yield _unknown(Written(rule.policy, rule.span), "policy", policies)
    elif rule.rule >= len(policy.rules):
        count = len(policy.rules)
        has = "no rules" if not count else f"{count} rule{'' if count == 1 else 's'}, and the first is #0"
        yield Diagnostic("unknown-name", f"there is no rule `{rule}`", rule.span, help=f"`{rule.policy}` has {has}")


def _pointless(rule: RuleRef, policy: Policy, test: PolicyTest) -> Iterator[Diagnostic]:
    """A rule that can decide nothing of what a test expects."""
    if policy.action is Action.AUDIT or policy.dry_run:
        what = "is for audits" if policy.action is Action.AUDIT else "is a dry run"
        yield Diagnostic(
            "bad-test", f"`{policy.id}` {what}, and decides nothing", rule.span, help="name a rule that does"
        )
    elif policy.action is Action.ALLOW and test.allow is not None and not test.allow:
        help_ = "name who may in `allow`, or a rule that denies"
        yield Diagnostic("bad-test", f"`{rule}` allows, and nobody may in this test", rule.span, help=help_)
    elif policy.action is not Action.ALLOW and test.allow is not None and test.allow >= set(test.callers):
        help_ = "name a rule that allows"
        yield Diagnostic("bad-test", f"`{rule}` denies, and everyone may in this test", rule.span, help=help_)


def _unknown(name: Written, kind: str, known: Iterable[str]) -> Diagnostic:
    known = list(known)
    near = get_close_matches(name.text, known, n=1)
    help_ = (
        f"did you mean `{near[0]}`?" if near else f"known are: {', '.join(f'`{each}`' for each in known[:8]) or 'none'}"
    )
    return Diagnostic("unknown-name", f"there is no {kind} {quoted(name.text)}", name.span, help=help_)
