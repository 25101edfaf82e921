"""Proof files: `*.authz-proof.yaml` to invariants, each problem with its place."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from authz.errors import AuthzError
from authz.invariants import (
    Always,
    Assumed,
    Baseline,
    Callers,
    Disjoint,
    EveryRule,
    Invariant,
    Never,
    NoNewAccess,
    Only,
    ProofFile,
    Requests,
    SameAs,
    Spelling,
    StableUnder,
)
from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, resolve
from authz.model import Condition, Operation, Source
from authz.span import Span, Written
from authz.values import Scope
from parser.decode import Decoder
from parser.diagnostics import PolicySyntaxError, quoted
from parser.mesh_given import decode_mesh_given
from parser.problems import Problems
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar, documents

__all__ = ["parse_proof_file"]

_FILE = ("policies", "mesh", "assume", "invariants")
_KINDS = ("never", "always", "only", "disjoint", "no-new-access", "same-as", "every-rule", "stable-under")
_INVARIANT = ("id", "may-be-empty", "because", *_KINDS)
_CALLER_FLAGS = ("anonymous", "plaintext")
_ABOUT = ("from", "to")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


_SOURCE = {_camel(prefix + name): prefix + name for name in SOURCE_FIELDS for prefix in ("", "not_")}
_OPERATION = {_camel(prefix + name): prefix + name for name in OPERATION_FIELDS for prefix in ("", "not_")}
_SCOPE = Scope("", ("cluster.local",))


def parse_proof_file(data: bytes, file: str) -> ProofFile:
    """Read the one document of a proof file.

    Raises:
        PolicySyntaxError: It is none; all that is wrong with it.
    """
    problems = Problems()
    found = list(documents(data, file, problems))
    if len(found) != 1 and problems.errors == 0:
        span = found[1].span if found else Span(file, 1, 1, 1, 1)
        message = "more than one document in this file" if found else "no document in this file"
        problems.error("bad-proof-file", message, span, help="write `policies` and `invariants`")
    proof = _Reader(Decoder(problems), file).file(found[0]) if len(found) == 1 else None
    if problems.errors or proof is None:
        raise PolicySyntaxError(problems.diagnostics)
    return proof


@dataclass(frozen=True, slots=True)
class _Reader:
    decoder: Decoder
    path: str

    def file(self, node: Node) -> ProofFile:
        fields = self.decoder.fields(node, "the file", _FILE)
        items = self.decoder.items(fields.get("policies"), "policies")
        policies = tuple(Written(self.decoder.text(item, "policies"), item.span) for item in items)
        if not policies and not self.decoder.broken(node) and not self.decoder.broken(fields.get("policies")):
            what = "is empty" if "policies" in fields else "is missing"
            at, remedy = fields.get("policies") or node, "name the manifests: `policies: [../**/*.yaml]`"
            self._error("missing-policies", f"`policies` {what}", at, remedy)
        items = self.decoder.items(fields.get("invariants"), "invariants")
        if not items and not self.decoder.broken(fields.get("invariants")):
            at = fields.get("invariants") or node
            self._error("no-invariants", "there are no `invariants`", at, "an empty run proves nothing; write one")
        invariants = [each for item in items if (each := self._invariant(item)) is not None]
        seen: dict[str, Span] = {}
        for each in invariants:
            if each.id in seen:
                message = f"two invariants are called {quoted(each.id)}"
                self.decoder.problems.error("duplicate-id", message, each.span, help="give each its own `id`")
            seen.setdefault(each.id, each.span)
        return ProofFile(
            file=self.path,
            policies=policies,
            invariants=tuple(invariants),
            assumed=self._assumed(fields.get("assume")),
            mesh=decode_mesh_given(fields.get("mesh"), self.decoder),
        )

    def _error(self, code: str, message: str, node: Node, remedy: str | None = None) -> None:
        self.decoder.problems.error(code, message, node.span, help=remedy)

    def _assumed(self, node: Node | None) -> Assumed:
        strict, istio, hosts = False, False, tuple[str, ...]()
        for item in self.decoder.items(node, "assume"):
            if isinstance(item, MappingNode):
                fields = self.decoder.fields(item, "assume", ("hosts",))
                hosts += self.decoder.texts(fields.get("hosts"), "hosts")
            elif (word := self.decoder.choice(item, "assume", ("mtls-strict", "istio-identities"))) is not None:
                strict, istio = strict or word == "mtls-strict", istio or word == "istio-identities"
        return Assumed(strict_mtls=strict, istio_callers=istio, hosts=hosts)

    def _invariant(self, node: Node) -> Invariant | None:
        before = self.decoder.problems.errors
        fields = self.decoder.fields(node, "invariants", _INVARIANT)
        kinds = [kind for kind in _KINDS if kind in fields]
        if len(kinds) != 1:
            if self.decoder.problems.errors == before:
                what = f"both `{kinds[0]}` and `{kinds[1]}`" if kinds else "nothing"
                self._error("bad-invariant", f"an invariant claims {what}", node, f"write one of {', '.join(_KINDS)}")
            return None
        id_node = fields.get("id")
        name = self.decoder.text(id_node, "id")
        if not name and not self.decoder.broken(id_node):
            self._error("missing-id", "an invariant has no `id`", node, "give it a name that people can speak of")
        may_be_empty = self.decoder.boolean(fields.get("may-be-empty"), "may-be-empty")
        because = self.decoder.text(fields.get("because"), "because")
        claim = self._claim(kinds[0], fields[kinds[0]], name, node.span, may_be_empty=may_be_empty)
        return replace(claim, because=because) if self.decoder.problems.errors == before else None

    def _claim(self, kind: str, node: Node, name: str, span: Span, *, may_be_empty: bool) -> Invariant:
        match kind:
            case "never" | "always":
                callers, requests = self._about(node, kind)
                claim = Never if kind == "never" else Always
                return claim(id=name, span=span, may_be_empty=may_be_empty, callers=callers, requests=requests)
            case "only":
                callers, requests = self._about(node, kind)
                if callers == Callers():
                    self._error("missing-from", "`only` says not who", node, "write `from:`, for whom it is")
                return Only(id=name, span=span, may_be_empty=may_be_empty, callers=callers, requests=requests)
            case "disjoint":
                return Disjoint(id=name, span=span, may_be_empty=may_be_empty, namespaces=self._tenants(node))
            case "no-new-access":
                fields = self.decoder.fields(node, kind, ("baseline", "except"))
                besides = tuple(
                    self._about(item, "except") for item in self.decoder.items(fields.get("except"), "except")
                )
                baseline = self._baseline(fields.get("baseline"), node)
                return NoNewAccess(id=name, span=span, may_be_empty=may_be_empty, baseline=baseline, besides=besides)
            case "same-as":
                fields = self.decoder.fields(node, kind, ("baseline",))
                baseline = self._baseline(fields.get("baseline"), node)
                return SameAs(id=name, span=span, may_be_empty=may_be_empty, baseline=baseline)
            case "every-rule":
                fields = self.decoder.fields(node, kind, ("reachable", "not-shadowed"))
                reachable, not_shadowed = (
                    self.decoder.boolean(fields.get(each), each) for each in ("reachable", "not-shadowed")
                )
                if not reachable and not not_shadowed and not self.decoder.broken(node):
                    self._error(
                        "bad-invariant",
                        "`every-rule` claims nothing",
                        node,
                        "write `reachable: true` or `not-shadowed: true`",
                    )
                return EveryRule(
                    id=name, span=span, may_be_empty=may_be_empty, reachable=reachable, not_shadowed=not_shadowed
                )
            case _:
                words = [
                    (item, self.decoder.choice(item, kind, [each.value for each in Spelling]))
                    for item in self.decoder.items(node, kind)
                ]
                spellings = tuple(Spelling(word) for _, word in words if word is not None)
                if not words and not self.decoder.broken(node):
                    self._error(
                        "bad-invariant",
                        "`stable-under` names no spelling",
                        node,
                        "write one of " + ", ".join(each.value for each in Spelling),
                    )
                return StableUnder(id=name, span=span, may_be_empty=may_be_empty, spellings=spellings)

    def _baseline(self, node: Node | None, around: Node) -> Baseline:
        text = self.decoder.text(node, "baseline")
        if not text and not self.decoder.broken(node):
            self._error("missing-baseline", "`baseline` is missing", around, "name a directory, or `git:REVISION`")
        return Baseline(name=text, span=(node or around).span)

    def _tenants(self, node: Node) -> tuple[str, ...]:
        found: list[str] = []
        items = self.decoder.items(node, "disjoint")
        for item in items:
            fields = self.decoder.fields(item, "disjoint", ("tenant",))
            text = self.decoder.text(fields.get("tenant"), "tenant")
            word, _, name = text.partition(" ")
            if word != "namespace" or not name.strip():
                if not self.decoder.broken(item):
                    self._error("bad-tenant", f"{quoted(text)} is no tenant", item, "write `tenant: namespace NAME`")
                continue
            found.append(name.strip())
        if len(items) < 2 and not self.decoder.broken(node):
            self._error("bad-invariant", "`disjoint` needs two tenants", node, "name another")
        return tuple(found)

    # Who and what -------------------------------------------------------------------------------------------------------

    def _about(self, node: Node, name: str) -> tuple[Callers, Requests]:
        fields = self.decoder.fields(node, name, _ABOUT)
        if not fields and not self.decoder.broken(node):
            self._error("says-nothing", f"`{name}` says nothing", node, "write `from`, `to` or both")
        callers = self._callers(fields["from"]) if "from" in fields else Callers()
        return callers, self._requests(fields["to"]) if "to" in fields else Requests()

    def _callers(self, node: Node) -> Callers:
        fields = self.decoder.fields(node, "from", (*_SOURCE, *_CALLER_FLAGS, "when", "not"))
        self._says_something(node, fields, "from")
        flags = {each: self.decoder.boolean(fields[each], each) if each in fields else None for each in _CALLER_FLAGS}
        return Callers(
            source=Source(**self._lists(fields, _SOURCE)),
            conditions=self._conditions(fields.get("when")),
            anonymous=flags["anonymous"],
            plaintext=flags["plaintext"],
            without=self._callers(fields["not"]) if "not" in fields else None,
        )

    def _requests(self, node: Node) -> Requests:
        fields = self.decoder.fields(node, "to", ("workload", *_OPERATION, "when", "not"))
        self._says_something(node, fields, "to")
        return Requests(
            workloads=self._workloads(fields.get("workload")),
            operation=Operation(**self._lists(fields, _OPERATION)),
            conditions=self._conditions(fields.get("when")),
            without=self._requests(fields["not"]) if "not" in fields else None,
            span=fields["workload"].span if "workload" in fields else None,
        )

    def _says_something(self, node: Node, fields: Mapping[str, Node], name: str) -> None:
        if not fields and not self.decoder.broken(node):
            self._error("says-nothing", f"`{name}` says nothing", node, "leave it out, or say what is meant")

    def _workloads(self, node: Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        found = (
            (self.decoder.text(node, "workload"),) if isinstance(node, Scalar) else self.decoder.texts(node, "workload")
        )
        for text in found:
            if text.count("/") != 1 and not self.decoder.broken(node):
                self._error(
                    "bad-workload", f"{quoted(text)} is no workload", node, "write `namespace/name`, `*` for any"
                )
        return found

    def _lists(self, fields: Mapping[str, Node], names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """The lists of a source or an operation; an empty one would mean everything, and is refused."""
        found: dict[str, tuple[str, ...]] = {}
        for field, name in names.items():
            if field not in fields:
                continue
            texts = self.decoder.texts(fields[field], field)
            if not texts and not self.decoder.broken(fields[field]):
                self._error("empty-list", f"`{field}` is empty", fields[field], "leave it out, or name a value")
            found[name] = tuple(map(_below, texts)) if name.endswith("paths") else texts
            self._check_values(name.removeprefix("not_"), found[name], fields[field])
        return found

    def _check_values(self, name: str, texts: Collection[str], node: Node) -> None:
        attribute = SOURCE_FIELDS.get(name) or OPERATION_FIELDS[name]
        for text in texts:
            if name == "service_accounts" and text.count("/") != 1:
                self._error("bad-value", f"{quoted(text)} is no service account", node, "write `namespace/name`")
                continue
            try:
                attribute.matchers(text, _SCOPE)
            except AuthzError as error:
                self._error("bad-value", str(error), node)

    def _conditions(self, node: Node | None) -> tuple[Condition, ...]:
        found = []
        for item in self.decoder.items(node, "when"):
            fields = self.decoder.fields(item, "when", ("key", "values", "notValues"))
            key = self.decoder.text(fields.get("key"), "key")
            condition = Condition(
                key=key,
                values=self.decoder.texts(fields.get("values"), "values"),
                not_values=self.decoder.texts(fields.get("notValues"), "notValues"),
            )
            texts = (*condition.values, *condition.not_values)
            try:
                attribute = resolve(key)
                for text in texts:
                    attribute.matchers(text, _SCOPE)
            except AuthzError as error:
                self._error("bad-condition", str(error), fields.get("key") or item)
            else:
                if not texts and not self.decoder.broken(item):
                    self._error(
                        "bad-condition", f"{quoted(key)} is asked for nothing", item, "write `values` or `notValues`"
                    )
                if key == "source.serviceAccount":
                    self._check_values("service_accounts", texts, item)
            found.append(condition)
        return tuple(found)


def _below(path: str) -> str:
    """`/admin/**` is everything below, which a policy writes with one star."""
    return path[:-1] if path.endswith("/**") else path
