"""Results: what came of the invariants of a file, as all that is to be told of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

from authz.decision import Match, Verdict
from authz.invariants import Always, Invariant, NoNewAccess, SameAs
from authz.span import Span
from mesh.proving.ground import Witness
from mesh.proving.loading import Claims
from mesh.proving.proofs import Proof, Status, prove
from mesh.proving.showing import Expected, Shown, show, test_of
from mesh.proving.subjects import Subject
from mesh.questions import decide_again, guarding_of
from mesh.snapshot import Snapshot

__all__ = ["BrokenRule", "FileResult", "Result", "run_claims"]


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that decides nothing, where it is written, and the rules that cover it, if that is why."""

    name: str
    place: Span | None
    covered_by: tuple[str, ...]

    @property
    def words(self) -> str:
        """Why it decides nothing."""
        if not self.covered_by:
            return "no request meets it, or none comes as far"
        return f"all that it matches is matched by {', '.join(self.covered_by)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one invariant. `shown` is a request for which it does not hold, `test` the same as a policy test.

    `respelt` is the same request, spelt otherwise and allowed, where that is what is wrong; then the test is of that one.
    """

    id: str
    span: Span
    status: Status
    reason: str
    because: str
    questions: int
    seconds: float
    shown: Shown | None = None
    respelt: Shown | None = None
    test: str | None = None
    rules: tuple[BrokenRule, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is proved."""
        return self.status is Status.PROVED


@dataclass(frozen=True, slots=True)
class FileResult:
    """What came of the invariants of a file, and what the answers rest on."""

    file: str
    results: tuple[Result, ...]
    assumptions: tuple[str, ...]


def run_claims(claims: Sequence[Claims], *, jobs: int = 1) -> list[FileResult]:
    """What comes of each file, in their order; in so many processes if there are several `jobs`.

    Raises:
        Contradiction: The reference decides a case otherwise than the analysis says.
    """
    parts = [(number, chosen) for number, each in enumerate(claims) for chosen in _shares(each, jobs)]

    def run(part: int) -> tuple[Result, ...]:
        number, chosen = parts[part]
        return _results(claims[number], chosen)

    found: list[list[Result]] = [[] for _ in claims]
    for (number, _), results in zip(parts, _run_all(run, len(parts), jobs), strict=True):
        found[number] += results
    return [
        FileResult(each.proof.file, tuple(results), each.assumptions)
        for each, results in zip(claims, found, strict=True)
    ]


def _shares(claims: Claims, jobs: int) -> list[tuple[Invariant, ...]]:
    """The invariants in at most as many shares as there are jobs, in their order."""
    invariants = claims.proof.invariants
    size = -(-len(invariants) // jobs) or 1
    return [invariants[start : start + size] for start in range(0, len(invariants), size)]


def _run_all(run: Callable[[int], tuple[Result, ...]], count: int, jobs: int) -> list[tuple[Result, ...]]:
    if min(jobs, count) <= 1:
        return list(map(run, range(count)))
    # Forked, the processes have the mesh already: only numbers go to them, and only results come back.
    _running.append(run)
    try:
        with ProcessPoolExecutor(min(jobs, count), mp_context=get_context("fork")) as pool:
            return list(pool.map(_run_one, range(count)))
    finally:
        _running.pop()


_running: list[Callable[[int], tuple[Result, ...]]] = []


def _run_one(number: int) -> tuple[Result, ...]:
    return _running[-1](number)


def _results(claims: Claims, invariants: Sequence[Invariant]) -> tuple[Result, ...]:
    proofs = prove(
        claims.snapshot, invariants, assumed=claims.proof.assumed, baselines=lambda name: claims.baselines[name]
    )
    return tuple(_result(proof, claims) for proof in proofs)


def _result(proof: Proof, claims: Claims) -> Result:
    invariant, snapshot = proof.invariant, claims.snapshot
    result = Result(
        id=invariant.id,
        span=invariant.span,
        status=proof.status,
        reason=proof.reason,
        because=invariant.because,
        questions=proof.questions,
        seconds=proof.seconds,
        rules=tuple(BrokenRule(name, _place(name, snapshot), covered_by) for name, covered_by in proof.rules.items()),
    )
    if proof.witness is None or proof.subject is None:
        return result
    old = claims.baselines[invariant.baseline.name] if isinstance(invariant, (NoNewAccess, SameAs)) else None
    before = proof.witness.before
    allowed = isinstance(invariant, Always) if before is None else before.verdict is Verdict.ALLOW
    expected = Expected(name=invariant.id, policies=[each.text for each in claims.proof.policies], allowed=allowed)
    otherwise = _respelt(proof.witness, proof.subject, snapshot)
    return replace(
        result,
        shown=show(proof.witness, proof.subject, snapshot, old),
        respelt=None if otherwise is None else show(otherwise, proof.subject, snapshot),
        test=test_of(expected, otherwise or proof.witness, proof.subject, snapshot),
    )


def _respelt(witness: Witness, subject: Subject, snapshot: Snapshot) -> Witness | None:
    """The same request spelt otherwise, with what is decided about that one; none where it was not asked about."""
    if witness.case.respelt is None:
        return None
    case = replace(witness.case, attributes=witness.case.respelt)
    return Witness(case, decide_again(guarding_of(snapshot, subject.workload, subject.service), case))


def _place(name: str, snapshot: Snapshot) -> Span | None:
    policy, _, rule = name.rpartition("#")
    return snapshot.place(Match(policy, int(rule)))
