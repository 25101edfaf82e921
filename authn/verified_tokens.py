"""Tokens that were verified before, remembered so that whoever comes again with one need not wait for it (ADR 13)."""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256

from authn.jwk import JwkSet
from authn.status import MAX_TOKEN
from authz.record import record
from authz.request_authentication import JwtRule

__all__ = ["MAX_CHARACTERS", "MAX_TOKENS", "Proof", "VerifiedTokens", "fingerprint"]

MAX_TOKENS = 8192
"""How many tokens are remembered; the one that nobody has brought for the longest time makes room."""

MAX_CHARACTERS = 8 * 1024 * 1024
"""How many characters they have at most together: what is kept of a token grows with it."""

Fingerprint = bytes


@record
class Proof:
    """What a token proved under a rule, by `keys`, and what follows from the two alone.

    `claims` are as policies see them. `outputs` are headers, by lower-case name, that the rule makes of the token; a text is
    `None` if it is not fit for one. The times bound when it proves so, as in `UnverifiedToken`.
    """

    claims: Mapping[str, object]
    outputs: tuple[tuple[str, str | None], ...]
    not_before: int
    expires: int
    keys: JwkSet


def fingerprint(text: str) -> Fingerprint | None:
    """What a token is remembered by, `None` where it is too long to be one.

    No two texts share it that anybody could find, and it is no token: who reads this memory cannot bring what is in it.
    """
    # Half of a surrogate pair is no UTF-8, and still makes another text.
    return sha256(text.encode("utf-8", "surrogatepass")).digest() if len(text) <= MAX_TOKEN else None


class VerifiedTokens:
    """A bounded memory of proofs, each by its token and the whole rule.

    It answers for nothing but the signature, the issuer and the audiences: whoever asks compares the keys and the times. Only
    what was verified gets in, so that a flood of bad tokens drives nobody out. It is for one thread.
    """

    def __init__(self, *, tokens: int = MAX_TOKENS, characters: int = MAX_CHARACTERS) -> None:
        self._tokens = tokens
        self._characters = characters
        self._proofs: OrderedDict[tuple[Fingerprint, JwtRule], tuple[int, Proof]] = OrderedDict()
        self.characters = 0
        """How many characters the remembered tokens have together."""

    def __len__(self) -> int:
        return len(self._proofs)

    def __repr__(self) -> str:
        return f"<VerifiedTokens: {len(self._proofs)} tokens of {self.characters} characters>"

    def find(self, token: Fingerprint, rule: JwtRule) -> Proof | None:
        """What the token proved when it was last verified by the rule; others now make room first."""
        name = (token, rule)
        known = self._proofs.get(name)
        if known is None:
            return None
        self._proofs.move_to_end(name)
        return known[1]

    def keep(self, token: Fingerprint, rule: JwtRule, proof: Proof, *, length: int) -> None:
        """Remember the proof of a token of `length` characters, in place of an earlier one."""
        before, _ = self._proofs.pop((token, rule), (0, None))
        self._proofs[token, rule] = length, proof
        self.characters += length - before
        while len(self._proofs) > self._tokens or self.characters > self._characters:
            _, (gone, _) = self._proofs.popitem(last=False)
            self.characters -= gone
