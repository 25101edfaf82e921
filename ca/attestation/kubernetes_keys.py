"""The public keys of a cluster's service-account tokens: from a file, or from where the cluster's issuer says that they are.

Whoever could put a key of theirs here would be every pod of the cluster. So a set that cannot be had leaves the last good one, for
a bounded time, and then none; nothing is ever made up in its place (Istio CVE-2026-31837).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from ca.errors import AuthorityError, NotReadyError
from ca.fetching import Fetcher, FetchError, require_https
from identity import InvalidJwkError, JwtAuthority, read_jwk
from identity.strict_json import parse_object

__all__ = ["DiscoveredKeys", "InvalidKeysError", "KeysFile", "Pace", "TokenKeys", "read_jwks"]

_logger = logging.getLogger("meshward.ca")

_MAX_KEYS = 64
_MAX_DOCUMENT = 1024 * 1024
_FILE_EVERY = 1.0
"""Seconds. A look is a trip to another thread, which costs as much as checking a token."""
_DISCOVERY = "/.well-known/openid-configuration"

Clock = Callable[[], float]
Keys = tuple[JwtAuthority, ...]


class InvalidKeysError(AuthorityError):
    """What should say the keys of a cluster does not: `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the keys of the cluster's tokens cannot be read: {reason}")
        self.reason = reason


class TokenKeys(Protocol):
    """Where the keys of one cluster's tokens come from."""

    async def current(self) -> Keys:
        """Those that are known.

        Raises:
            NotReadyError: there are none, or none that are young enough.
        """

    async def renewed(self) -> Keys:
        """Those that are known after another look, if the last is not too short a time ago.

        Raises:
            NotReadyError: as `current`.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often keys are looked for."""

    every: timedelta = timedelta(minutes=5)
    early: timedelta = timedelta(seconds=10)
    """How long after a look the next may be, when a token names a key that is not known, or a look has failed."""
    kept: timedelta = timedelta(hours=1)
    """How old the last good set may become."""


def read_jwks(document: bytes) -> Keys:
    """The keys of a JWK Set that may sign tokens. Those of another use, or of a kind that nothing is signed with here, are left out.

    Raises:
        InvalidKeysError: it is no JWK Set, or it has no such key.
    """
    if len(document) > _MAX_DOCUMENT:
        raise InvalidKeysError(f"it is larger than {_MAX_DOCUMENT} bytes")
    try:
        members = parse_object(document)
    except ValueError as error:
        raise InvalidKeysError(f"it is no JSON object that can be read: {error}") from error
    listed = members.get("keys")
    if not isinstance(listed, list):
        raise InvalidKeysError("there is no list of `keys`")
    if len(listed) > _MAX_KEYS:
        raise InvalidKeysError(f"it has {len(listed)} keys, more than {_MAX_KEYS}")
    found: dict[str, JwtAuthority] = {}
    for position, jwk in enumerate(listed):
        key = _key(jwk, position)
        if key is None:
            continue
        if key.key_id in found:
            # Who picks the first and who picks the last verify different tokens.
            raise InvalidKeysError(f"key {position}: another has its `kid`")
        found[key.key_id] = key
    if not found:
        raise InvalidKeysError("it has no key that tokens could be signed with")
    return tuple(found.values())


class KeysFile:
    """Keys in a JWK Set in a file, read again when it has changed."""

    def __init__(self, path: Path, *, pace: Pace | None = None, clock: Clock = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked = float("-inf")
        self._last = _LastGood(f"file {path}", pace or Pace(), clock)
        self._read: tuple[int, int, int] | None = None

    async def current(self) -> Keys:
        """As `TokenKeys.current`. A change is seen within a second, and at once where a token names a key that is not known."""
        if self._last.is_good and self._clock() - self._looked < _FILE_EVERY:
            return self._last.require()
        return await self.renewed()

    async def renewed(self) -> Keys:
        """As `TokenKeys.renewed`: each look sees the file as it is."""
        self._looked = self._clock()
        try:
            await asyncio.to_thread(self._look)
        except InvalidKeysError as error:
            self._last.failed(error)
        return self._last.require()

    def _look(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._read and self._last.keys is not None:
                self._last.succeeded(self._last.keys)
                return
            with self._path.open("rb") as file:
                document = file.read(_MAX_DOCUMENT + 1)
        except OSError as error:
            raise InvalidKeysError(error.strerror or "it cannot be opened") from error
        # Only what could be read counts as read: what could not is looked at again.
        self._last.succeeded(read_jwks(document))
        self._read = seen


class DiscoveredKeys:
    """Keys from where the OpenID discovery document of `issuer` says that they are. `close` it on the loop that it was used on.

    Raises:
        FetchError: `issuer` is no `https://` address.
    """

    def __init__(
        self, issuer: str, fetcher: Fetcher, *, pace: Pace | None = None, clock: Clock = time.monotonic
    ) -> None:
        require_https(issuer)
        self._issuer = issuer
        self._fetcher = fetcher
        self._pace = pace or Pace()
        self._clock = clock
        self._last = _LastGood(f"issuer {issuer}", self._pace, clock)
        self._looked = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def current(self) -> Keys:
        """As `TokenKeys.current`. Nobody waits for a set that is to be renewed while the one that is there is good."""
        if self._last.is_good:
            if self._last.age >= self._pace.every.total_seconds() and self._may_look():
                self._begin()
        elif self._may_look() or self._looking is not None:
            await self._look()
        return self._last.require()

    async def renewed(self) -> Keys:
        """As `TokenKeys.renewed`."""
        if self._may_look() or self._looking is not None:
            await self._look()
        return self._last.require()

    async def close(self) -> None:
        """Give up a look that is under way."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    def _may_look(self) -> bool:
        return self._clock() - self._looked >= self._pace.early.total_seconds()

    def _begin(self) -> "asyncio.Task[None]":
        """One look at a time, whoever waits for it."""
        if self._looking is None:
            self._looked = self._clock()
            self._looking = asyncio.create_task(self._fetch())
            self._looking.add_done_callback(self._ended)
        return self._looking

    def _look(self) -> Awaitable[None]:
        return asyncio.shield(self._begin())

    def _ended(self, _: "asyncio.Task[None]") -> None:
        self._looking = None

    async def _fetch(self) -> None:
        try:
            self._last.succeeded(await self._fetched())
        except (FetchError, InvalidKeysError) as error:
            self._last.failed(error)

    async def _fetched(self) -> Keys:
        # OpenID Connect Discovery 1.0, 4.1: a slash at the end of the issuer is not part of the path.
        found = await self._fetcher.fetch(self._issuer.removesuffix("/") + _DISCOVERY)
        try:
            document = parse_object(found)
        except ValueError as error:
            raise InvalidKeysError(f"the discovery document is no JSON object that can be read: {error}") from error
        # 4.3: exactly, or one issuer could answer for another.
        if document.get("issuer") != self._issuer:
            raise InvalidKeysError("the discovery document is of another issuer")
        where = document.get("jwks_uri")
        if not isinstance(where, str):
            raise InvalidKeysError("the discovery document has no `jwks_uri`")
        return read_jwks(await self._fetcher.fetch(where))


class _LastGood:
    """The last good set, and how old it is."""

    def __init__(self, place: str, pace: Pace, clock: Clock) -> None:
        self._place = place
        self._pace = pace
        self._clock = clock
        self._since = float("-inf")
        self._failure: AuthorityError | None = None
        self.keys: Keys | None = None

    @property
    def age(self) -> float:
        return self._clock() - self._since

    @property
    def is_good(self) -> bool:
        return self.keys is not None and self.age < self._pace.kept.total_seconds()

    def succeeded(self, keys: Keys) -> None:
        self.keys, self._since, self._failure = keys, self._clock(), None

    def failed(self, error: AuthorityError) -> None:
        if str(error) != str(self._failure):
            _logger.error("%s: %s", self._place, error)
        self._failure = error

    def require(self) -> Keys:
        if self.keys is not None and self.is_good:
            return self.keys
        # Where they would come from is in the log, and nobody's business out there.
        raise NotReadyError("the keys of the cluster's tokens are not known") from self._failure


def _key(jwk: object, position: int) -> JwtAuthority | None:
    if not isinstance(jwk, Mapping):
        raise InvalidKeysError(f"key {position}: not an object")
    if jwk.get("use", "sig") != "sig":
        return None
    key_id = jwk.get("kid")
    if not isinstance(key_id, str) or not key_id:
        # No token could name it.
        return None
    try:
        key = read_jwk(jwk)
    except InvalidJwkError as error:
        raise InvalidKeysError(f"key {position}: {error.reason}") from error
    return None if key is None else JwtAuthority(key_id, key)
