"""Authentication: what the rules of a workload make of a request, all of Envoy's jwt_authn filter (semantics 4.4 to 4.7)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import lru_cache
from typing import NoReturn

from authn.claim_headers import header_text
from authn.claims import as_policies_see
from authn.errors import (
    InvalidJwkSetError,
    InvalidTokenError,
    KeysUnavailableError,
    UnauthenticatedError,
    excerpt,
)
from authn.locations import FoundToken, InCookie, InHeader, InParameter, find_tokens, spellings
from authn.status import JwtStatus
from authn.token import UnverifiedToken
from authn.verification import KeySets, VerifiedToken, is_early, is_late, verify_token
from authn.verified_tokens import Proof, VerifiedTokens, fingerprint
from authz.attributes import Attributes
from authz.changes import Changes, edit_query
from authz.decision import Denial
from authz.record import record
from authz.request_authentication import ClaimToHeader, JwtRule
from authz.values import ascii_lower

__all__ = ["Authenticated", "authenticate", "carries_token"]

_REALM_PATH = 256
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# RFC 9110 5.5, as far as Envoy holds upstreams to it.
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@record
class Authenticated:
    """A request that may go on to the policies.

    `claims` are what its token says, as policies see them, `None` where it is anonymous: to demand a token is a policy's
    business. `changes` are what has become of the request, and hold for an anonymous one, too. `rule` is the position of
    the rule that verified the token.
    """

    claims: Mapping[str, object] | None = None
    changes: Changes = field(default_factory=Changes)
    rule: int | None = None

    def applied_to(self, attributes: Attributes) -> Attributes:
        """The facts as the policies see them."""
        if not self.changes and self.claims is attributes.claims:
            return attributes
        return replace(attributes, claims=self.claims, **self.changes.facts(attributes))


class _RefusedError(Exception):
    """A rule does not let the request through; what is wrong with the token, and where it was."""

    def __init__(self, rule: int, status: JwtStatus, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.status = status
        self.reason = reason


def carries_token(rules: Sequence[JwtRule], attributes: Attributes) -> bool:
    """Whether any rule finds a token in the request, so that its keys may be needed."""
    return _is_checked(attributes) and any(
        find_tokens(rule, lambda name: attributes.headers.get(name, ()), attributes.path) for rule in rules
    )


def authenticate(
    rules: Sequence[JwtRule],
    attributes: Attributes,
    *,
    key_sets: KeySets,
    at: float,
    remembered: VerifiedTokens | None = None,
) -> Authenticated:
    """Let the request through if its tokens are good, or if it has none.

    `rules` are those of the workload in their order (`authz.request_authentication.jwt_rules`). The first that verifies all
    the tokens at its own locations decides; what other rules would look at is then not looked at. A request that is let
    through without a token is anonymous. `at` is the time, in seconds since 1970. `presence` changes nothing, as in Istio.
    `remembered` saves verifying what was verified before, and makes no other difference.

    Raises:
        UnauthenticatedError: a rule found tokens, and no rule verifies all that it found.
    """
    filtered = _Filtered(rules, attributes, _Proving(key_sets, at, remembered))
    if not _is_checked(attributes):
        return filtered.outcome()
    refusals = []
    for index in range(len(rules)):
        try:
            if filtered.verify(index):
                return filtered.outcome()
        except _RefusedError as refusal:
            refusals.append(refusal)
    if not refusals:
        return filtered.outcome()
    # With several rules, Envoy's last resort is that each finds no token or verifies what it finds: what an earlier
    # one has removed from the request, a later one no longer sees.
    if len(rules) > 1:
        try:
            for index in range(len(rules)):
                filtered.verify(index)
        except _RefusedError as refusal:
            refusals.append(refusal)
        else:
            return filtered.outcome()
    last = _telling(refusals)
    raise UnauthenticatedError(last.status, rule=last.rule, reason=last.reason, denial=_denial(last.status, attributes))


def _is_checked(attributes: Attributes) -> bool:
    """Whether tokens are looked for: not where there is no path that begins with a slash, not in a CORS preflight."""
    if not (attributes.path or "").startswith("/"):
        return False
    return not (
        attributes.method == "OPTIONS"
        and ",".join(attributes.headers.get("origin", ()))
        and ",".join(attributes.headers.get("access-control-request-method", ()))
    )


def _telling(refusals: Sequence[_RefusedError]) -> _RefusedError:
    """The refusal that the caller hears of: the last, unless it is only that the token is another issuer's."""
    about_the_token = [each for each in refusals if each.status is not JwtStatus.UNKNOWN_ISSUER]
    return about_the_token[-1] if about_the_token else refusals[0]


def _denial(status: JwtStatus, attributes: Attributes) -> Denial:
    headers = [("content-type", "text/plain")]
    if status is not JwtStatus.UNSENDABLE:
        headers.insert(0, ("www-authenticate", f'Bearer realm="{_realm(attributes)}", error="invalid_token"'))
    return Denial(status.http_status, status.value.encode(), tuple(headers))


def _realm(attributes: Attributes) -> str:
    path = (attributes.path or "")[:_REALM_PATH]
    realm = f"{attributes.scheme or 'http'}://{attributes.host or ''}{path}"
    # What was no text must not make the answer one that cannot be sent.
    return _UNSENDABLE.sub("?", realm.encode(errors="surrogateescape").decode(errors="replace"))


class _Filtered:
    """The request as it is handed from rule to rule: each sees what those before it have removed and added."""

    def __init__(self, rules: Sequence[JwtRule], attributes: Attributes, proving: "_Proving") -> None:
        self._rules = rules
        self._attributes = attributes
        self._proving = proving
        # What a client sends under the name of an output header is never taken for one, whichever rule is going to decide,
        # and not from a request either that no rule looks at. Earlier releases of Envoy left some of it.
        self._changed: dict[str, tuple[str, ...]] = {name: () for rule in rules for name in _output_headers(rule)}
        self._claims: Mapping[str, object] | None = None
        self._rule: int | None = None

    def outcome(self) -> Authenticated:
        """What has become of the request."""
        return Authenticated(claims=self._claims, changes=Changes(headers=self._changed), rule=self._rule)

    def verify(self, index: int) -> bool:
        """Whether the rule finds tokens; it verifies them all, from the last to the first.

        Raises:
            _RefusedError: one of them is not good.
        """
        rule = self._rules[index]
        # What another rule has put there is not this one's.
        for name in _output_headers(rule):
            self._changed[name] = ()
        found = find_tokens(rule, self._lines, self._path)
        for token in reversed(found):
            self._accept(index, rule, token)
        return bool(found)

    def _lines(self, name: str) -> tuple[str, ...]:
        changed = self._changed.get(name)
        return self._attributes.headers.get(name, ()) if changed is None else changed

    @property
    def _path(self) -> str | None:
        changed = self._changed.get(":path")
        return changed[0] if changed else self._attributes.path

    def _accept(self, index: int, rule: JwtRule, found: FoundToken) -> None:
        try:
            proof = self._proving.proof(index, rule, found.text)
        except InvalidTokenError as error:
            self._refuse(index, found, error.status, error.reason)
        for name, text in proof.outputs:
            if text is None:
                self._refuse(index, found, JwtStatus.UNSENDABLE, f"what goes into header `{name}` is not fit for one")
            self._changed[name] = (*self._lines(name), text)
        if not rule.forward_original_token:
            self._remove(found)
        self._rule = index
        self._claims = proof.claims

    def _refuse(self, index: int, found: FoundToken, status: JwtStatus, reason: str) -> NoReturn:
        issuer = self._rules[index].issuer
        whose = f"issuer {excerpt(issuer)}" if issuer else "any issuer"
        raise _RefusedError(index, status, f"the token in {found.location} is not accepted for {whose}: {reason}")

    def _remove(self, found: FoundToken) -> None:
        match found.location:
            case InHeader(name):
                self._changed[name] = ()
            case InParameter(name):
                path = self._path or ""
                self._changed[":path"] = (edit_query(path, removed=spellings(path, name)),)
            case InCookie():
                pass  # Envoy leaves cookies alone.


class _Proving:
    """What tokens prove by the keys and at the time of one request.

    A token is shown to every rule that looks where it is, and twice where none verifies it. Reading it and checking its
    signature is done once, lest a request cost the product of tokens and rules.
    """

    def __init__(self, key_sets: KeySets, at: float, remembered: VerifiedTokens | None) -> None:
        self._key_sets = key_sets
        self._at = at
        self._remembered = remembered
        self._read: dict[str, UnverifiedToken | InvalidTokenError] = {}
        self._proofs: dict[tuple[int, str], Proof | InvalidTokenError] = {}

    def proof(self, index: int, rule: JwtRule, text: str) -> Proof:
        """What `text` proves under the rule at `index`.

        Raises:
            InvalidTokenError: nothing.
        """
        proof = self._proofs.get((index, text))
        if proof is None:
            try:
                proof = self._recalled(rule, text)
            except InvalidTokenError as error:
                proof = error
            self._proofs[index, text] = proof
        if isinstance(proof, InvalidTokenError):
            raise proof
        return proof

    def _recalled(self, rule: JwtRule, text: str) -> Proof:
        if self._remembered is None or (name := fingerprint(text)) is None:
            return self._verified(rule, text)
        proof = self._remembered.find(name, rule)
        # Whatever speaks against a proof, be it that there are no keys, verification finds and says as if nothing was known.
        if proof is not None and self._still_holds(proof, rule):
            return proof
        proof = self._verified(rule, text)
        self._remembered.keep(name, rule, proof, length=len(text))
        return proof

    def _still_holds(self, proof: Proof, rule: JwtRule) -> bool:
        now = int(self._at)
        if is_early(proof.not_before, now) or is_late(proof.expires, now):
            return False
        try:
            # The very set, for comparing two costs more, and one that is read never changes.
            return self._key_sets(rule) is proof.keys
        except (KeysUnavailableError, InvalidJwkSetError):
            return False

    def _verified(self, rule: JwtRule, text: str) -> Proof:
        verified = verify_token(self._token(text), rule, key_sets=self._key_sets, at=self._at)
        return Proof(
            claims=as_policies_see(verified.claims, space_delimited=rule.space_delimited_claims),
            outputs=tuple(_outputs(rule, verified)),
            not_before=verified.not_before,
            expires=verified.expires,
            keys=verified.keys,
        )

    def _token(self, text: str) -> UnverifiedToken:
        read = self._read.get(text)
        if read is None:
            try:
                read = UnverifiedToken.parse(text)
            except InvalidTokenError as error:
                read = error
            self._read[text] = read
        if isinstance(read, InvalidTokenError):
            raise read
        return read


def _output_headers(rule: JwtRule) -> tuple[str, ...]:
    return _lower_case(rule.output_claim_to_headers, rule.output_payload_to_header)


@lru_cache(maxsize=1024)
def _lower_case(claims: tuple[ClaimToHeader, ...], payload: str) -> tuple[str, ...]:
    names = [output.header for output in claims]
    if payload:
        names.append(payload)
    return tuple(ascii_lower(name) for name in names if not name.startswith(":"))


def _outputs(rule: JwtRule, token: VerifiedToken) -> Iterator[tuple[str, str | None]]:
    if rule.output_payload_to_header:
        yield _output(rule.output_payload_to_header, token.payload)
    for output in rule.output_claim_to_headers:
        text = header_text(token.claims, output.claim)
        if text is not None:
            yield _output(output.header, text)


def _output(header: str, text: str) -> tuple[str, str | None]:
    name = ascii_lower(header)
    fit = _HEADER_NAME.fullmatch(name) and name != "host" and not _UNSENDABLE.search(text)
    return name, text if fit else None
