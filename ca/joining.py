"""Joining: workloads that prove who they are by a one-time token or by the SVID that they have, and the store's word on both."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from cryptography import x509

from ca.attestation import Attestor, Caller, attest_current_svid
from ca.entries import Entry
from ca.errors import AttestationError, JoinTokenError, NotKeptError, StoreConflictError, TokenFault
from ca.selector import Selector
from ca.signing import Signing
from ca.store import JoinToken, NewJoinToken, Store
from identity import MAX_CHAIN, SpiffeId

__all__ = [
    "MAX_JOIN_TOKEN_TTL",
    "attest_join_token",
    "attest_renewal",
    "attest_used_token",
    "holder_of",
    "new_join_token",
]

MAX_JOIN_TOKEN_TTL = timedelta(days=7)


def holder_of(spiffe_id: SpiffeId) -> Selector:
    """What is true of whoever shows an SVID of that name."""
    return Selector(Attestor.CURRENT_SVID.value, str(spiffe_id))


async def new_join_token(store: Store, spiffe_id: SpiffeId, *, ttl: timedelta, by: str, at: datetime) -> NewJoinToken:
    """A token that lets one caller have `spiffe_id`, once, and an entry by which it may renew that for as long as the entry is there.

    Raises:
        StoreError: it cannot be kept.
        ValueError: the name is none of a workload, or `ttl` is not up to a week.
    """
    if not timedelta(0) < ttl <= MAX_JOIN_TOKEN_TTL:
        raise ValueError(f"a join token is good for up to {MAX_JOIN_TOKEN_TTL}, not for {ttl}")
    # One that says more, such as a lifetime, is as good.
    with suppress(StoreConflictError):
        await store.entries.create(Entry.new(spiffe_id, [holder_of(spiffe_id)], at=at), by=by, at=at)
    return await store.tokens.create(spiffe_id, ttl=ttl, by=by, at=at)


async def attest_join_token(store: Store, text: str, *, by: str, at: datetime) -> Caller:
    """Whoever shows a token, which is used up from here on. `by` is where they come from, for the audit.

    Raises:
        AttestationError: the token is unknown, used or expired.
        StoreUnavailableError: nobody can tell.
    """
    try:
        token = await store.tokens.redeem(text, by=by, at=at)
    except JoinTokenError as error:
        raise AttestationError(error.fault.value) from error
    return _bearer(token)


async def attest_used_token(store: Store, text: str) -> Caller:
    """Whoever shows a token that is used up: what it was answered may be repeated to them, and nothing else given.

    Raises:
        AttestationError: the token is none that was used.
        StoreUnavailableError: nobody can tell.
    """
    try:
        return _bearer(await asyncio.to_thread(store.tokens.used, text))
    except NotKeptError as error:
        raise AttestationError(TokenFault.UNKNOWN.value) from error


def _bearer(token: JoinToken) -> Caller:
    name = f"{Attestor.JOIN_TOKEN.value}:{token.id}"
    return Caller(Attestor.JOIN_TOKEN, name, frozenset({holder_of(token.spiffe_id)}), token.spiffe_id)


async def attest_renewal(store: Store, signing: Signing, leaf: x509.Certificate, *, at: datetime) -> Caller:
    """Who holds the key of `leaf`, which TLS has shown, and by which entry they have it (spec 2.2, the order of renewal).

    Raises:
        AttestationError: it proves nothing, is tainted or revoked, or is none that was issued here.
        StoreUnavailableError: nobody can tell.
    """
    caller = attest_current_svid(_completed(leaf, signing.intermediates), signing.accepted, at=at)
    try:
        row = await asyncio.to_thread(store.inventory.get, f"{leaf.serial_number:x}")
    except NotKeptError as error:
        raise AttestationError("certificate was not issued here, or so long ago that it is forgotten") from error
    if row.revoked is not None:
        raise AttestationError("certificate is revoked")
    if row.released is None or row.intent.spiffe_id != caller.spiffe_id:
        raise AttestationError("certificate is not the one that was issued under its serial number")
    return replace(caller, entry=row.intent.entry)


def _completed(leaf: x509.Certificate, intermediates: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """`leaf` with what signed it: servers of TLS in Python show the leaf alone, and what is between is ours."""
    chain = [leaf]
    while len(chain) < MAX_CHAIN:
        above = next((each for each in intermediates if each.subject == chain[-1].issuer and each not in chain), None)
        if above is None:
            break
        chain.append(above)
    return tuple(chain)
