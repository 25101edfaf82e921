"""Loading: a file of invariants with the mesh that it is about, and the other versions of it that it names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

from authz.analysis.space import ASSUMED
from authz.invariants import (
    Always,
    Baseline,
    Disjoint,
    Invariant,
    Never,
    NoNewAccess,
    Only,
    ProofFile,
    Requests,
    SameAs,
    StableUnder,
)
from authz.mesh_config import MeshConfig
from authz.span import Span
from mesh.directory import DirectoryStore, Examined
from mesh.errors import InvalidManifestsError, PolicyStoreError
from mesh.proving.ground import weaker
from mesh.proving.subjects import subjects
from mesh.revisions import GIT, RevisionError, files_at
from mesh.snapshot import Snapshot
from mesh.stated import named_files, short_path, stated_peers
from parser.diagnostics import Diagnostic, PolicySyntaxError, quoted
from parser.problems import nearest
from parser.proof_file import parse_proof_file

__all__ = ["Claims", "assumptions", "differing_config", "load_claims"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What is claimed, of which mesh, and the versions that it is compared with, by the names that the file gives them.

    `assumptions` are all that an answer rests on, a sentence each.
    """

    proof: ProofFile
    snapshot: Snapshot
    baselines: Mapping[str, Snapshot] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()


def load_claims(name: str, data: bytes, *, directory: Path) -> Claims:
    """The claims in a file, whose paths are relative to `directory`.

    Raises:
        PolicySyntaxError: Something is wrong in the file, or it names what is not there.
        InvalidManifestsError: The manifests that it is about, or those of another version, have errors.
        PolicyStoreError: They cannot be read.
    """
    proof = parse_proof_file(data, name)
    examined = DirectoryStore(named_files(proof.policies, directory)).examine()
    snapshot = _snapshot(examined, proof)
    if not (snapshot.policies or snapshot.request_authentications or snapshot.peer_authentications):
        message, help_ = "there is no policy in these files", "name the files that hold them"
        raise PolicySyntaxError([Diagnostic("no-policy", message, proof.policies[0].span, help=help_)])
    if wrong := list(_mistakes(proof.invariants, snapshot)):
        raise PolicySyntaxError(wrong)
    baselines = _baselines(proof, directory)
    return Claims(
        proof=proof,
        snapshot=snapshot,
        baselines=baselines,
        assumptions=(*_given(proof), *assumptions(snapshot, *baselines.values())),
    )


def _snapshot(examined: Examined, proof: ProofFile) -> Snapshot:
    if examined.errors:
        raise InvalidManifestsError(examined.diagnostics, examined.sources, revision="")
    manifests = examined.manifests
    config = proof.mesh.over(examined.config or MeshConfig())
    return Snapshot(
        policies=manifests.policies,
        request_authentications=manifests.request_authentications,
        peer_authentications=stated_peers(proof.mesh, manifests.peer_authentications, config),
        workloads=manifests.workloads,
        config=config,
        revision="",
    )


# Other versions ---------------------------------------------------------------------------------------------------------


def _baselines(proof: ProofFile, directory: Path) -> dict[str, Snapshot]:
    found: dict[str, Snapshot] = {}
    wrong = []
    for invariant in proof.invariants:
        if isinstance(invariant, (NoNewAccess, SameAs)) and invariant.baseline.name not in found:
            baseline = invariant.baseline
            try:
                found[baseline.name] = _snapshot(_examined(baseline, proof, directory), proof)
            except InvalidManifestsError:
                raise
            except PolicyStoreError as error:
                help_ = error.help if isinstance(error, RevisionError) else None
                wrong.append(Diagnostic("bad-baseline", str(error), baseline.span, help=help_))
    if wrong:
        raise PolicySyntaxError(wrong)
    return found


def _examined(baseline: Baseline, proof: ProofFile, directory: Path) -> Examined:
    if baseline.name.startswith(GIT):
        revision = baseline.name.removeprefix(GIT)
        files = files_at(revision, [each.text for each in proof.policies], directory=directory.absolute())
        return DirectoryStore(()).examine_files(files)
    return DirectoryStore((short_path(directory / baseline.name),)).examine()


# What an answer rests on ------------------------------------------------------------------------------------------------


def assumptions(snapshot: Snapshot, *others: Snapshot) -> tuple[str, ...]:
    """What is taken for granted in answers about a mesh, and about others compared with it, a sentence each."""
    normalization = reduce(weaker, [each.config.path_normalization for each in (snapshot, *others)])
    found = [*ASSUMED, f"a path is as pathNormalization {normalization.value} leaves it"]
    if not all(len(each.registry) for each in (snapshot, *others)):
        found.append(
            "where no workloads are declared, there is one for each selector of a policy, and one with no labels"
        )
    for other in others:
        for name, was, now in differing_config(other, snapshot):
            found.append(f"the mesh configuration of the two versions differs: {name} was {was}, and is {now}")
        if other.config.path_normalization is not snapshot.config.path_normalization:
            found.append("both versions see a path as it is shown, whatever the stronger of the two would make of it")
    return tuple(dict.fromkeys(found))


_CONFIG = {
    "trust_domain": "trustDomain",
    "trust_domain_aliases": "trustDomainAliases",
    "root_namespace": "rootNamespace",
    "path_normalization": "pathNormalization",
    "trusted_proxies": "numTrustedProxies",
    "extension_providers": "extensionProviders",
}


def differing_config(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str, str]]:
    """What two versions have in their mesh configuration that is not the same: its key, what it was and what it is."""
    for field_name, key in _CONFIG.items():
        was, now = getattr(old.config, field_name), getattr(new.config, field_name)
        if was != now:
            yield key, _said(was), _said(now)


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(str(getattr(each, "name", each)) for each in value) + "]"
    return str(getattr(value, "value", value))


def _given(proof: ProofFile) -> Iterator[str]:
    assumed = proof.assumed
    if assumed.strict_mtls:
        yield "assumed by the file: every caller shows an identity (mtls-strict)"
    if assumed.istio_callers:
        yield "assumed by the file: identities are as Istio issues them (istio-identities)"
    if assumed.hosts:
        yield f"assumed by the file: hosts are {', '.join(assumed.hosts)}"


# What is not there ------------------------------------------------------------------------------------------------------


def _mistakes(invariants: Sequence[Invariant], snapshot: Snapshot) -> Iterator[Diagnostic]:
    names = {subject.name for subject in subjects(snapshot)}
    for invariant in invariants:
        match invariant:
            case (
                Never(requests=requests)
                | Always(requests=requests)
                | Only(requests=requests)
                | StableUnder(requests=requests)
            ):
                yield from _unknown_workloads(requests, names, invariant.span)
            case NoNewAccess(besides=besides):
                for _, requests in besides:
                    yield from _unknown_workloads(requests, names, invariant.span)
            case Disjoint(namespaces=namespaces) if not invariant.may_be_empty:
                known = {name.partition("/")[0] for name in names}
                for namespace in namespaces:
                    if namespace not in known:
                        yield _unknown("there is no workload in the namespace", namespace, known, invariant.span)
            case _:
                pass


def _unknown_workloads(requests: Requests, names: set[str], around: Span) -> Iterator[Diagnostic]:
    for name in requests.workloads:
        if "*" not in name and name not in names:
            yield _unknown("there is no workload", name, names, requests.span or around)
    if requests.without is not None:
        yield from _unknown_workloads(requests.without, names, around)


def _unknown(message: str, name: str, known: set[str], span: Span) -> Diagnostic:
    near = nearest(name, sorted(known))
    few = ", ".join(f"`{each}`" for each in sorted(known)[:8])
    help_ = f"did you mean `{near}`?" if near else f"the manifests have {few or 'none'}"
    return Diagnostic("unknown-name", f"{message} {quoted(name)}", span, help=help_)
