"""Reading: what each side decided, from Envoy's access log and meshward's own, in the same words."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from authz.decision import Match, Shadow, Stage, Verdict
from tests.differential.asking import Answer

__all__ = ["Decided", "Entry", "Seen", "by_envoy", "by_meshward", "with_dry_runs"]

Entry = Mapping[str, Any]

_DENIED = "rbac_access_denied_matched_policy"
_UNAUTHENTICATED = "jwt_authn_access_denied"
_PASSED = ("direct_response", "via_upstream")
_ID = re.compile(r"(?:^|-)ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]")
_PREFIX = re.compile(r"/s\d+-")


class Decided(NamedTuple):
    """What a side says that it decided, and why.

    `match` is `None` where no rule decided, and where Envoy does not say: that is on TCP, of what it allowed.
    """

    verdict: Verdict
    stage: Stage
    match: Match | None
    audit: bool
    dry_run_deny: Shadow | None = None
    dry_run_allow: Shadow | None = None


class Seen(NamedTuple):
    """What came of a question on one side: what the caller got, and what was decided.

    Where nothing was decided, `refusal` says why: the proxy turned the request away by itself.
    """

    answer: Answer
    decided: Decided | None
    refusal: str | None = None


def by_envoy(answer: Answer, entry: Entry | None) -> Seen:
    """What Envoy's own filters decided; `entry` is what the access log has of it."""
    if entry is None:
        return Seen(answer, None)
    details = entry["details"] or ""
    if details.startswith(_DENIED):
        identifier = details.removeprefix(_DENIED)[1:-1]
        match = _match(identifier)
        if match is None:
            stage = Stage.ALLOW
        else:
            stage = Stage.CUSTOM if identifier.startswith("istio-ext-authz-") else Stage.DENY
        return Seen(answer, _native(entry, Verdict.DENY, stage, match))
    if details.startswith(_UNAUTHENTICATED):
        return Seen(answer, _native(entry, Verdict.DENY, Stage.JWT, None))
    facts = entry["native"] or {}
    if details not in _PASSED and not (answer.status is None and answer.body):
        return Seen(answer, None, details)
    match = _match(facts.get("allow_enforced_effective_policy_id"))
    stage = Stage.ALLOW if match else Stage.NONE
    return Seen(answer, _native(entry, Verdict.ALLOW, stage, match))


def _native(entry: Entry, verdict: Verdict, stage: Stage, match: Match | None) -> Decided:
    facts = entry["native"] or {}
    return Decided(
        verdict,
        stage,
        match,
        bool((entry["audit"] or {}).get("access_log_hint")),
        _native_shadow(facts, "deny"),
        _native_shadow(facts, "allow"),
    )


def _native_shadow(facts: Entry, action: str) -> Shadow | None:
    result = facts.get(f"istio_dry_run_{action}_shadow_engine_result")
    if result is None:
        return None
    match = _match(facts.get(f"istio_dry_run_{action}_shadow_effective_policy_id"))
    return Shadow(Verdict.ALLOW if result == "allowed" else Verdict.DENY, match)


def _match(identifier: str | None) -> Match | None:
    found = None if identifier is None else _ID.search(identifier)
    return None if found is None else _own(f"{found['namespace']}/{found['name']}", int(found["rule"]))


def _own(policy: str, rule: int) -> Match:
    # In an Envoy with many cases, the name of a policy begins with the number of its case.
    return Match(_PREFIX.sub("/", policy), rule)


def by_meshward(answer: Answer, entry: Entry | None) -> Seen:
    """What meshward answered, as Envoy passes it on: all but the dry runs."""
    if entry is None:
        return Seen(answer, None)
    facts = entry["meshward"]
    details = entry["details"] or ""
    if details.startswith(_UNAUTHENTICATED):
        # Envoy's own filter stands before the one that asks, and has let nobody be asked.
        return Seen(answer, Decided(Verdict.DENY, Stage.JWT, None, audit=False))
    if not facts or "verdict" not in facts:
        return Seen(answer, None, details)
    match = _own(facts["policy"], int(facts["rule"])) if "policy" in facts else None
    decided = Decided(Verdict(facts["verdict"]), Stage(facts["stage"]), match, bool(facts.get("audit")))
    return Seen(answer, decided, facts["reason"] if is_refusal(decided) else None)


def is_refusal(decided: Decided) -> bool:
    """Whether meshward denied without a look at the policies: what it was asked could not be read."""
    return decided.verdict is Verdict.DENY and decided.stage is Stage.NONE


def with_dry_runs(seen: Iterable[Seen], decisions: Iterable[Entry]) -> Iterator[Seen]:
    """What meshward answered to the questions of one case, in order, with the dry runs that its decision log has of them."""
    logged = (line["decision"] for line in decisions)
    # Only where policies were looked at were their dry runs, and a question that could not be read is for no case.
    tried = (each for each in logged if each["stage"] != "jwt" and (each["stage"], each["verdict"]) != ("none", "DENY"))
    for one in seen:
        if one.decided is None or is_refusal(one.decided) or one.decided.stage is Stage.JWT:
            yield one
            continue
        decision = next(tried)
        told = one.decided.verdict.value, one.decided.stage.value
        assert told == (decision["verdict"], decision["stage"]), f"the decision log has {decision}, the answer {one}"
        dry_run = decision["dry_run"]
        yield one._replace(
            decided=one.decided._replace(
                dry_run_deny=_logged_shadow(dry_run["deny"]), dry_run_allow=_logged_shadow(dry_run["allow"])
            )
        )
    assert next(tried, None) is None, "the decision log has more decisions than were asked for"


def _logged_shadow(shadow: Entry | None) -> Shadow | None:
    if shadow is None:
        return None
    match = None if shadow["policy"] is None else _own(shadow["policy"], shadow["rule"])
    return Shadow(Verdict(shadow["verdict"]), match)
