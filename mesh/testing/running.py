"""Running suites: every case is decided as `meshward check --normalize` decides a request, and compared with what is expected."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from authn.verified_tokens import VerifiedTokens
from authz.attributes import Attributes
from authz.decision import Decision, Stage, Verdict
from authz.mesh_config import PathNormalization
from authz.model import Action
from authz.normalization import RefusedPathError, normalize_path
from authz.remote_address import remote_address
from authz.request_authentication import JwtRule
from authz.tree import DecisionTree
from mesh.deciding import Offline, TreeDecides, decide, refused_path
from mesh.explaining import Explained, explain_document
from mesh.testing.suites import Place, Suite
from mesh.testing.tokens import Bearing, ThrowAwayKey, bearing
from parser.policy_tests import Caller, Expectation, LogCheck, PolicyTest, Request
from parser.request import RequestDocument

__all__ = ["Case", "Outcome", "Running", "reason_of"]

_FORWARDED_FOR = "x-forwarded-for"
_REFUSED = 400


class Case(NamedTuple):
    """One caller with one request in one test of `file`; `label` is how the request is called.

    `expected` is none where the verdict is not looked at. `asked` is the request as the policies get to see it, or why the
    proxy refuses it; `target` is its path as the client sends it, with the token where that is a parameter. `offline` is what
    stands in for the network.
    """

    file: str
    test: PolicyTest
    place: Place
    caller: Caller
    request: Request
    label: str
    expected: Verdict | None
    target: str | None
    asked: RequestDocument | RefusedPathError
    offline: Offline

    @property
    def name(self) -> str:
        """How it is reported."""
        return f"{self.file}::{self.test.name}[{self.caller.name}][{self.label}]"


class Outcome(NamedTuple):
    """What came of a case: it is as expected if there are no `failures`, a sentence each."""

    case: Case
    decision: Decision
    failures: tuple[str, ...]


class Running:
    """Runs one suite. The tokens of its callers are signed by a key that nobody else has."""

    def __init__(self, suite: Suite, *, at: float) -> None:
        """`at` is the time, in seconds since 1970, where the suite does not say any."""
        self.suite = suite
        key = ThrowAwayKey()
        self.tokens = {
            name: key.token(caller.token.payload)
            for name, caller in suite.tests.callers.items()
            if caller.token is not None
        }
        """What the callers show who have a token."""
        self.at = at if suite.tests.now is None else suite.tests.now
        self._key_sets = key.keys(suite.snapshot.jwt_rules()).key_set
        self._remembered = VerifiedTokens()
        # What `because` demands can be told by the action of its policy.
        self._allowing = {policy.id: policy.action is Action.ALLOW for policy in suite.snapshot.policies}

    def cases(self, sections: range | None = None) -> Iterator[Case]:
        """Every case, in the order in which they are written; what `complete` adds comes last.

        `sections` are those whose cases are wanted: each test is one, and after them each entry of `complete`.
        """
        tests, complete = self.suite.tests.tests, self.suite.tests.complete
        for section in self._every(sections):
            if section < len(tests):
                yield from self._cases(tests[section])
            else:
                asked = complete[section - len(tests)]
                yield from self._completing(asked.workload.text, asked.callers)

    def recordings(self, sections: range | None = None) -> Iterator[tuple[PolicyTest, LogCheck]]:
        """The tests of recorded traffic, of these sections as in `cases`."""
        tests = self.suite.tests.tests
        for section in self._every(sections):
            if section < len(tests) and (check := tests[section].log) is not None:
                yield tests[section], check

    def _every(self, sections: range | None) -> range:
        tests, complete = self.suite.tests.tests, self.suite.tests.complete
        return range(len(tests) + len(complete)) if sections is None else sections

    def outcome(self, case: Case, tree_decides: TreeDecides = DecisionTree.decide) -> Outcome:
        """What comes of a case. `tree_decides` is for who wants to see what the tree is asked."""
        if isinstance(case.asked, RefusedPathError):
            decision = refused_path(case.asked)
        else:
            decision = self.decide(case, case.asked, tree_decides)
        return Outcome(case, decision, self._failures(case, decision))

    def decide(
        self, case: Case, document: RequestDocument, tree_decides: TreeDecides = DecisionTree.decide
    ) -> Decision:
        """The decision about `document`, which may be another than that of the case."""
        return decide(self.suite.snapshot, document, case.offline, tree_decides)

    def explain(self, case: Case) -> Explained | None:
        """Why a case is decided as it is; none where the proxy refuses its path."""
        if isinstance(case.asked, RefusedPathError):
            return None
        return explain_document(self.suite.snapshot, case.asked, case.offline)

    # Cases ------------------------------------------------------------------------------------------------------------

    def _cases(self, test: PolicyTest) -> Iterator[Case]:
        suite, tests = self.suite, self.suite.tests
        if test.log is not None:
            return
        place = suite.places[test.to.text]
        destination, option = place.destination, suite.snapshot.config.path_normalization
        rules = suite.snapshot.guard(place.workload, place.service).jwt_rules
        offline = Offline(
            at=self.at,
            key_sets=self._key_sets,
            allowed_by=frozenset(provider.text for provider in test.allowed_by),
            remembered=self._remembered,
        )
        asking = [self._asking(tests.callers[name], test, rules) for name in test.callers]
        for request in test.requests:
            label = request.label
            for who in asking:
                sent = self._facts(request, who, place)
                target = sent.path
                seen = None if target is None else _normalized(target, option)
                asked: RequestDocument | RefusedPathError
                if isinstance(seen, RefusedPathError):
                    asked = seen
                else:
                    attributes = sent if seen is None or seen == target else replace(sent, path=seen)
                    asked = RequestDocument(destination=destination, attributes=attributes)
                yield Case(tests.file, test, place, who.caller, request, label, who.expected, target, asked, offline)

    def _asking(self, caller: Caller, test: PolicyTest, rules: Sequence[JwtRule]) -> "_Asking":
        if test.allow is not None:
            expected: Verdict | None = Verdict.ALLOW if caller.name in test.allow else Verdict.DENY
        else:
            expected = None if test.expect is None else test.expect.verdict
        identity = caller.spiffe
        if caller.service_account is not None:
            namespace, account = caller.service_account
            identity = f"spiffe://{self.suite.snapshot.config.trust_domain}/ns/{namespace}/sa/{account}"
        return _Asking(
            caller=caller,
            expected=expected,
            identities=() if identity is None else (identity,),
            token=self.tokens.get(caller.name),
            bearing=bearing({} if caller.token is None else caller.token.payload, rules),
        )

    def _facts(self, request: Request, who: "_Asking", place: Place) -> Attributes:
        """The facts of a request as the client sends it."""
        caller, path, headers = who.caller, request.path, request.headers
        if who.token is not None and path is not None:
            path, headers = who.bearing.path(path, who.token), who.bearing.headers(headers, who.token)
        remote = caller.remote_address or caller.address
        if (forwarded := headers.get(_FORWARDED_FOR)) is not None:
            trusted = self.suite.snapshot.config.trusted_proxies
            remote = remote_address(forwarded, remote, place.workload.proxy, trusted_proxies=trusted)
        return Attributes(
            protocol=request.protocol,
            identities=who.identities,
            source_ip=caller.address,
            remote_ip=remote,
            destination_port=place.port if request.port is None else request.port,
            sni=request.sni,
            method=request.method,
            path=path,
            host=request.host,
            scheme=request.scheme,
            headers=headers,
        )

    def _completing(self, workload: str, callers: Sequence[str]) -> Iterator[Case]:
        """Who asks in no test for what others ask for: nobody says that they may."""
        asked: dict[object, tuple[PolicyTest, Request, set[str]]] = {}
        for test in self.suite.tests.tests:
            for request in test.requests if test.to.text == workload else ():
                known = asked.setdefault((request.key, test.allowed_by), (test, request, set()))
                known[2].update(test.callers)
        for test, request, tried in asked.values():
            if missing := tuple(name for name in callers if name not in tried):
                yield from self._cases(
                    PolicyTest(
                        name=f"complete {workload}",
                        to=test.to,
                        span=test.span,
                        requests=(request,),
                        callers=missing,
                        allow=frozenset(),
                        allowed_by=test.allowed_by,
                    )
                )

    # What is expected -------------------------------------------------------------------------------------------------

    def _failures(self, case: Case, decision: Decision) -> tuple[str, ...]:
        if decision.verdict is case.expected and case.test.because is None and case.test.expect is None:
            return ()
        failures = []
        if case.expected not in (None, decision.verdict):
            failures.append(f"expected {case.expected.value}, got {decision.verdict.value}")
        elif case.test.because is not None and self._decides_by(case, decision) not in (None, str(case.test.because)):
            failures.append(f"expected {case.test.because} to decide, and {self._decides_by(case, decision)} did")
        if (expect := case.test.expect) is not None:
            failures += _unexpected(expect, decision)
            if expect.nearest is not None or expect.missing is not None:
                failures += _missed(expect, self.explain(case))
        return tuple(failures)

    def _decides_by(self, case: Case, decision: Decision) -> str | None:
        """What decided, if it is a verdict of the kind that `because` speaks of."""
        because, match = case.test.because, decision.match
        if because is None or self._allowing[because.policy] is not (decision.verdict is Verdict.ALLOW):
            return None
        return "no rule" if match is None else f"{match.policy}#{match.rule}"


class _Asking(NamedTuple):
    """A caller as it comes to one workload, and what is expected of it in one test."""

    caller: Caller
    expected: Verdict | None
    identities: tuple[str, ...]
    token: str | None
    bearing: Bearing


# The callers of a test ask for one path after the other.
@lru_cache(maxsize=256)
def _normalized(path: str, option: PathNormalization) -> str | RefusedPathError:
    try:
        return normalize_path(path, option)
    except RefusedPathError as error:
        return error


def _unexpected(expect: Expectation, decision: Decision) -> Iterable[str]:
    if expect.status not in (None, decision.status):
        yield f"expected status {expect.status}, got {decision.status}"
    if expect.reason not in (None, reason := reason_of(decision)):
        yield f"expected the reason {expect.reason}, got {reason}"


def _missed(expect: Expectation, explained: Explained | None) -> Iterable[str]:
    """What is wrong about the nearest miss."""
    miss = None if explained is None or explained.explanation is None else explained.explanation.nearest
    name = "none" if miss is None else f"{miss.match.policy}#{miss.match.rule}"
    if expect.nearest is not None and str(expect.nearest) != name:
        yield f"expected {expect.nearest} to be the nearest rule, got {name}"
    missing = {clause.field for clause in miss.missing} if miss is not None else set[str]()
    if expect.missing is not None and set(expect.missing) != missing:
        named = ", ".join(sorted(missing)) or "nothing"
        yield f"expected {', '.join(expect.missing) or 'nothing'} to be missing for {name}, got {named}"


def reason_of(decision: Decision) -> str:
    """The word of `parser.policy_tests.REASONS` for what a decision came from."""
    match decision.stage:
        case Stage.CUSTOM:
            return "custom"
        case Stage.JWT:
            return "jwt"
        case Stage.DENY:
            return "deny-rule"
        case Stage.ALLOW:
            return "default-deny" if decision.match is None else "allow-rule"
        case Stage.NONE if decision.verdict is Verdict.ALLOW:
            return "no-policy"
        case Stage.NONE:
            return "refused-path" if decision.status == _REFUSED else "mtls"
