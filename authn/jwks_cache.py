"""Keys that are fetched: kept fresh in the background, kept for a while when that fails, and never made up (semantics 4.8)."""

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Self

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_never, wait_exponential_jitter

import authn.jwk_reading  # noqa: F401  # a server has it at hand before it is asked
from authn.egress import Egress
from authn.errors import KeysUnavailableError
from authn.jwk import JwkSet
from authn.jwks_fetch import Fetcher, FetchError, Resolve, resolve, tls_context
from authn.jwks_source import FetchedKeys, Source
from authn.static_keys import inline_keys
from authz.request_authentication import JwtRule

__all__ = ["MAX_AGE", "MIN_REFRESH", "REFRESH", "JwksCache"]

REFRESH = 20 * 60.0
"""After how many seconds a key set is fetched again; sooner where its origin allows to keep it for less."""

MIN_REFRESH = 60.0
"""And not before so many, whatever the origin says."""

MAX_AGE = 24 * 60 * 60.0
"""How many seconds a key set is used when it cannot be fetched again: then no key is better than one withdrawn."""

_FIRST_RETRY = 1.0
_LAST_RETRY = 60.0
_AT_ONCE = 16

_logger = logging.getLogger("meshward")


class _Entry:
    """What is known of one source, and the task that finds out."""

    def __init__(self, source: Source, timeout: float) -> None:
        self.source = source
        self.timeout = timeout
        # Set when there is something to say, be it that there are no keys.
        self.answered = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self._keys: JwkSet | None = None
        self._fetched = 0.0
        self._failure = "they are being fetched for the first time"

    def take(self, keys: JwkSet, *, at: float) -> None:
        if keys != self._keys:
            _logger.info("keys of %s: %d that can be used", self.source, len(keys.keys))
            for reason in keys.refused:
                _logger.warning("keys of %s: left out: %s", self.source, reason)
            # The same keys stay the same object, by which verified tokens are remembered.
            self._keys = keys
        self._fetched, self._failure = at, ""
        self.answered.set()

    def fail(self, reason: str) -> None:
        self._failure = reason
        self.answered.set()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
        # Nobody is left waiting for what does not come any more.
        self.fail("they are not fetched any more")

    @property
    def fetched_at(self) -> float | None:
        return None if self._keys is None else self._fetched

    def keys(self, *, at: float) -> JwkSet:
        if self._keys is None:
            raise KeysUnavailableError(f"{self.source}: {self._failure}")
        if at - self._fetched > MAX_AGE:
            hours = (at - self._fetched) / 3600
            raise KeysUnavailableError(f"{self.source}: fetched {hours:.0f} hours ago, and since then: {self._failure}")
        return self._keys


class JwksCache:
    """The key sets of rules, inline or fetched, in a running event loop.

    Every source is fetched by one task, however many rules and requests ask for it. A fetched set is fetched again in time;
    a failure is tried again after 1 to 60 seconds; meanwhile the last good set holds, for at most `MAX_AGE`. `clock` gives
    seconds from any beginning, `sleep` lets them pass. `on_fetch` hears of each fetch, and why it failed if it did.
    """

    def __init__(  # noqa: PLR0913  # a network and a clock, which tests replace
        self,
        egress: Egress | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_fetch: Callable[[Exception | None], None] = lambda _: None,
    ) -> None:
        self._fetcher = Fetcher(egress or Egress(), tls=tls or tls_context(), resolve=resolve)
        self._clock = clock
        self._sleep = sleep
        self._on_fetch = on_fetch
        self._entries: dict[Source, _Entry] = {}
        # Those of sources that nobody wants any more included, until they have ended.
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def prefetch(self, rules: Iterable[JwtRule]) -> None:
        """Fetch the keys of `rules` from now on, and those of no others."""
        wanted: dict[Source, float] = {}
        for rule in rules:
            source = Source.of(rule)
            if source is not None:
                wanted[source] = max(rule.timeout, wanted.get(source, 0.0))
        for source, timeout in wanted.items():
            self._entry(source, timeout).timeout = timeout
        for source in self._entries.keys() - wanted.keys():
            self._entries.pop(source).stop()

    def key_set(self, rule: JwtRule) -> JwkSet:
        """The keys of `rule` that are at hand: what `authenticate` takes for `key_sets`.

        Raises:
            KeysUnavailableError: there are none (yet), or none that are still good.
            InvalidJwkSetError: the rule brings along what is no JWK Set.
        """
        source = Source.of(rule)
        if source is None:
            return inline_keys(rule.jwks)
        entry = self._entries.get(source)
        if entry is None:
            raise KeysUnavailableError(f"{source}: they have not been asked for")
        return entry.keys(at=self._clock())

    async def ready(self, rules: Iterable[JwtRule]) -> None:
        """Wait until something is known of the keys of all `rules`, good or bad; at once where it is."""
        for rule in rules:
            source = Source.of(rule)
            if source is not None:
                entry = self._entry(source, rule.timeout)
                if not entry.answered.is_set():
                    await entry.answered.wait()

    def is_ready(self, rules: Iterable[JwtRule]) -> bool:
        """Whether something is known of the keys of all `rules`, so that `ready` would not wait."""
        for rule in rules:
            source = Source.of(rule)
            if source is not None and ((entry := self._entries.get(source)) is None or not entry.answered.is_set()):
                return False
        return True

    async def get(self, rule: JwtRule) -> JwkSet:
        """The keys of `rule`, without a pause where they are at hand.

        Raises:
            KeysUnavailableError: as `key_set`, once it has been tried.
            InvalidJwkSetError: as `key_set`.
        """
        await self.ready((rule,))
        return self.key_set(rule)

    @property
    def fetched_at(self) -> list[float | None]:
        """When each key set was fetched, by the clock; `None` for those that are not at hand."""
        return [entry.fetched_at for entry in self._entries.values()]

    async def close(self) -> None:
        """Stop fetching. What is at hand stays; closing twice is harmless."""
        self._closed = True
        for entry in self._entries.values():
            entry.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _entry(self, source: Source, timeout: float) -> _Entry:
        entry = self._entries.get(source)
        if entry is None:
            entry = self._entries[source] = _Entry(source, timeout)
            if self._closed:
                entry.stop()
            else:
                entry.task = asyncio.create_task(self._keep(entry), name=f"keys of {source}")
                self._tasks.add(entry.task)
                entry.task.add_done_callback(self._tasks.discard)
        return entry

    async def _keep(self, entry: _Entry) -> None:
        """Fetch the keys of `entry` for ever."""
        retrying = AsyncRetrying(
            sleep=self._sleep,
            stop=stop_never,
            wait=wait_exponential_jitter(initial=_FIRST_RETRY, max=_LAST_RETRY, jitter=_FIRST_RETRY),
            # What nobody foresaw must not end the fetching of keys, either.
            retry=retry_if_exception_type(Exception),
            before_sleep=lambda state: self._on_fetch(_report(entry, state)),
        )
        while True:
            fetched: FetchedKeys = await retrying(self._fetch, entry)
            entry.take(fetched.keys, at=self._clock())
            self._on_fetch(None)
            lifetime = REFRESH if fetched.max_age is None else float(fetched.max_age)
            await self._sleep(min(max(lifetime, MIN_REFRESH), REFRESH))

    async def _fetch(self, entry: _Entry) -> FetchedKeys:
        async with self._at_once:
            try:
                async with asyncio.timeout(entry.timeout):
                    return await entry.source.fetch(self._fetcher)
            except TimeoutError as error:
                raise FetchError(f"no answer within {entry.timeout:g} s") from error


def _report(entry: _Entry, state: RetryCallState) -> Exception | None:
    """Say why the keys could not be fetched, and return it."""
    failure = state.outcome.exception() if state.outcome is not None else None
    error = failure if isinstance(failure, Exception) else None
    pause = state.next_action.sleep if state.next_action is not None else 0.0
    if isinstance(error, FetchError):
        entry.fail(error.reason)
        _logger.warning("keys of %s: %s; tried again in %.0f s", entry.source, error.reason, pause)
    else:
        entry.fail("internal error")
        _logger.error("keys of %s: internal error; tried again in %.0f s", entry.source, pause, exc_info=error)
    return error
