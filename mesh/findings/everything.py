"""Everything that is found in the meaning of policies, as diagnostics."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from authz.findings.codes import IDENTITY_NOT_REQUIRED
from authz.findings.contradiction import find_contradictions
from authz.findings.dashes import find_stray_dashes
from authz.findings.finding import Drop, Finding
from authz.findings.paths import find_evadable_paths
from authz.findings.redundancy import find_redundant_rules
from authz.findings.values import find_odd_values
from authz.findings.width import find_wide_rules
from authz.mesh_config import MeshConfig
from authz.span import Span
from mesh.findings.ambient import find_inert_at_ztunnel
from mesh.findings.callers import find_about_callers
from mesh.findings.paths import find_about_paths
from mesh.findings.ports import find_about_ports
from mesh.findings.surroundings import Surroundings
from mesh.findings.tokens import find_about_tokens, find_unknown_issuers
from mesh.limits import MOST_LINTED_RULES
from parser.diagnostics import Diagnostic, Severity
from parser.edits import Addition, Edit, Removal
from parser.manifests import Manifests
from parser.problems import Problems

__all__ = ["examine_meaning"]


def examine_meaning(manifests: Manifests, config: MeshConfig | None) -> tuple[Diagnostic, ...]:
    """What is found in the meaning of `manifests`, which must be without errors, in a mesh of this configuration.

    Without one nothing is said that depends on it. Of each file there is a bound on what is said.
    """
    kept: dict[str, Problems] = defaultdict(Problems)
    mesh = Surroundings(manifests, config)
    for finding in _all_findings(mesh):
        diagnostic = _as_diagnostic(finding)
        kept[diagnostic.span.file].add(diagnostic)
    return tuple(diagnostic for problems in kept.values() for diagnostic in problems.diagnostics)


def _all_findings(mesh: Surroundings) -> Iterable[Finding]:
    found = list(_findings(mesh))
    if not 0 < sum(len(policy.rules) for policy in mesh.manifests.policies) <= MOST_LINTED_RULES:
        return found
    from mesh.findings.proved import with_proofs  # noqa: PLC0415  # the solver takes a while to load

    return with_proofs(mesh, found)


def _findings(mesh: Surroundings) -> Iterator[Finding]:
    yield from find_redundant_rules(mesh.manifests.policies, mesh.config)
    for policy, rules in zip(mesh.manifests.policies, mesh.rules, strict=True):
        yield from find_stray_dashes(rules)
        for rule in rules:
            yield from find_contradictions(rule)
            yield from find_odd_values(rule, mesh.given)
            yield from find_evadable_paths(rule)
            yield from find_unknown_issuers(rule, mesh)
            for finding in find_wide_rules(rule):
                # Where mTLS is demanded, everybody shows an identity.
                if finding.code is not IDENTITY_NOT_REQUIRED or mesh.serves_plaintext(policy):
                    yield finding
        yield from find_about_callers(policy, rules, mesh)
        yield from find_about_ports(policy, rules, mesh)
        yield from find_about_paths(policy, rules, mesh)
        yield from find_inert_at_ztunnel(policy, rules, mesh)
    yield from find_about_tokens(mesh)


def _as_diagnostic(finding: Finding) -> Diagnostic:
    return Diagnostic(
        finding.code.name,
        finding.message,
        _place(finding, *finding.path),
        help=finding.help,
        severity=Severity.WARNING,
        fix=tuple(_edits(finding)),
    )


def _edits(finding: Finding) -> Iterator[Edit]:
    for change in finding.fix:
        span = _place(finding, *change.path)
        yield Removal(span) if isinstance(change, Drop) else Addition(span, change.value)


def _place(finding: Finding, *path: str | int) -> Span:
    """Where the value at `path` is written, or what is around it."""
    spans = finding.policy.spans
    for length in range(len(path), -1, -1):
        if (found := spans.get(path[:length])) is not None:
            return found
    return Span("", 1, 1, 1, 1)
