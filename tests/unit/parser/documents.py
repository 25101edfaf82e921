"""Documents for the tests of this package, and what came of them in few words."""

from textwrap import dedent, indent

from authz.model import Policy
from parser.diagnostics import Diagnostic, render
from parser.manifests import Manifests, parse_manifests


def manifests(text: str) -> Manifests:
    return parse_manifests([("f.yaml", dedent(text).encode())])


def policy_text(spec: str, *, metadata: str = "{name: web, namespace: shop}") -> str:
    head = f"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {metadata}\nspec:\n"
    return head + indent(dedent(spec).strip("\n"), "  ") + "\n"


def policy(spec: str, *, metadata: str = "{name: web, namespace: shop}") -> Policy:
    """The one policy with this spec, which must be without fault."""
    found = manifests(policy_text(spec, metadata=metadata))
    assert not found.diagnostics, shown(found)
    (only,) = found.policies
    return only


def problems(spec: str, *, metadata: str = "{name: web, namespace: shop}") -> list[Diagnostic]:
    """What is wrong with a policy of this spec; one with an error must not be among the policies."""
    found = manifests(policy_text(spec, metadata=metadata))
    assert bool(found.policies) is not found.errors
    return list(found.diagnostics)


def codes(spec: str, *, metadata: str = "{name: web, namespace: shop}") -> list[str]:
    return [diagnostic.code for diagnostic in problems(spec, metadata=metadata)]


def only(spec: str, *, metadata: str = "{name: web, namespace: shop}") -> tuple[str, str, str | None]:
    """Code, marked text and help of the one problem of a policy of this spec."""
    text = policy_text(spec, metadata=metadata)
    (problem,) = problems(spec, metadata=metadata)
    return problem.code, marked(text, problem), problem.help


def marked(text: str, problem: Diagnostic) -> str:
    """The text that a problem of one line points at."""
    span = problem.span
    assert span.line == span.end_line
    return text.split("\n")[span.line - 1][span.column - 1 : span.end_column - 1]


def shown(found: Manifests) -> str:
    return "\n".join(render(problem, found.texts.get(problem.span.file)) for problem in found.diagnostics)
