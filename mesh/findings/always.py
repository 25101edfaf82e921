"""Rules that match every request, by proof: what looks like a limit, and is none."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from authz.attributes import Protocol
from authz.findings.codes import ALLOWS_EVERYONE, DENIES_EVERYTHING, WIDE_ALLOW
from authz.findings.finding import Finding, named
from authz.findings.reading import Clause, Part, ReadRule, Value
from authz.model import Action
from mesh.findings.formulas import Formulas
from mesh.findings.surroundings import Surroundings

__all__ = ["find_always_true"]

_FEW = 6
_OF_TOKENS = "request.auth."


def find_always_true(mesh: Surroundings, known: Collection[str]) -> Iterator[Finding]:
    """Rules that every HTTP request matches, or every one with an identity, but for those of `known`, by their names."""
    rules = {
        rule.id: rule
        for some in mesh.rules
        for rule in some
        if rule.id not in known
        and rule.policy.action in (Action.ALLOW, Action.DENY)
        and not _hangs_on_issuers(rule, mesh)
    }
    if not rules:
        return
    formulas = Formulas(mesh, Protocol.HTTP)
    finder = _Finder(formulas, {name: rules[name] for name in rules if name in formulas.rules})
    for among, where in ((formulas.addressed, ""), (formulas.over_ipv4, " over IPv4")):
        for rule in finder.matching_all(among):
            yield _finding(rule, where, finder.why(rule, among))
    allowing = [formulas.identified, *formulas.addressed]
    for rule in finder.matching_all(allowing):
        if rule.policy.action is Action.ALLOW:
            why = finder.why(rule, allowing)
            yield Finding(
                code=WIDE_ALLOW,
                policy=rule.policy,
                path=rule.path,
                message=f"this rule allows everything to whoever has an identity, whichever it is: {why}",
                help="name the callers, or what they may do in `to`",
            )


def _hangs_on_issuers(rule: ReadRule, mesh: Surroundings) -> bool:
    """Whether it excludes tokens where nobody says whose are taken: then nothing is known of them."""
    if mesh.manifests.request_authentications:
        return False
    return any(clause.unwanted and clause.attribute.key.startswith(_OF_TOKENS) for clause in rule.clauses)


class _Finder:
    def __init__(self, formulas: Formulas, rules: dict[str, ReadRule]) -> None:
        self._formulas = formulas
        self._left = rules

    def matching_all(self, among: Sequence[int]) -> list[ReadRule]:
        """Those of the rules that match whatever meets `among`; they are not looked at again."""
        left = dict.fromkeys(self._left)
        found = []
        # One request that few match speaks against all others at once.
        case = self._formulas.find([*among, *[-self._formulas.rules[name] for name in left]])
        if case is not None:
            return []
        while left:
            name = next(iter(left))
            case = self._formulas.find([*among, -self._formulas.rules[name]])
            if case is None:
                found.append(self._left.pop(name))
                del left[name]
                continue
            for other in list(left):
                literal = self._formulas.rules[other]
                if abs(literal) > 1 and (case.holds[abs(literal)] > 0) != (literal > 0):
                    del left[other]
            left.pop(name, None)
        return found

    def why(self, rule: ReadRule, among: Sequence[int]) -> str:
        """What makes it match: of each thing that it asks, the values that leave nothing out."""
        reasons = [*self._of_half(rule.sources, "from", among), *self._of_half(rule.operations, "to", among)]
        for clause in rule.conditions:
            reasons += self._of_clause(clause, among)
        return "; ".join(reasons) or "it asks for nothing"

    def _of_half(self, parts: tuple[Part, ...], where: str, among: Sequence[int]) -> Iterator[str]:
        needed = self._formulas.needed(among, list(map(self._formulas.part, parts))) if parts else None
        if not needed:
            return
        if len(needed) > 1:
            entries = _listed([str(place + 1) for place in needed])
            yield f"entries {entries} of `{where}` together leave nobody and nothing out"
            return
        for clause in parts[needed[0]].clauses:
            yield from self._of_clause(clause, among)

    def _of_clause(self, clause: Clause, among: Sequence[int]) -> Iterator[str]:
        if clause.wanted:
            needed = self._formulas.needed(among, [self._formulas.value(clause, each) for each in clause.wanted]) or []
            texts = _values([clause.wanted[place] for place in needed])
            together = " together match" if len(needed) > 1 else " matches"
            yield f"{texts} in `{clause.name}`{together} whatever there is"
        if clause.unwanted:
            yield f"no such request has what `{clause.not_name}` excludes, {_values(clause.unwanted)}"


def _values(values: Sequence[Value]) -> str:
    return _listed([named(each.text) for each in values])


def _listed(texts: Iterable[str]) -> str:
    some = list(texts)
    if len(some) > _FEW:
        return f"{', '.join(some[:_FEW])} and {len(some) - _FEW} more"
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"


def _finding(rule: ReadRule, where: str, why: str) -> Finding:
    if rule.policy.action is Action.DENY:
        return Finding(
            code=DENIES_EVERYTHING,
            policy=rule.policy,
            path=rule.path,
            message=f"this rule denies everything{where}, and no ALLOW policy can undo that: {why}",
            help="to deny what nothing allows, write an ALLOW policy without rules: `spec: {}`",
        )
    return Finding(
        code=ALLOWS_EVERYONE,
        policy=rule.policy,
        path=rule.path,
        message=f"this rule allows everyone everything{where}, callers without an identity among them: {why}",
        help="say who in `from`, or what in `to`",
    )
