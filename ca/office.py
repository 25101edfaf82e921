"""The office: everything of one trust domain that the edges work with, put together once."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ca.changes import Changes
from ca.consumers import Consumers
from ca.counting import Counters
from ca.entitlements import Entitlements
from ca.issuance import Issuance
from ca.keys import KeyStore
from ca.lifetimes import SKEW, Settings
from ca.limits import Limits
from ca.phases import SlotKind
from ca.plugged_signing import PluggedSigning
from ca.signing import KeptSigning
from ca.store import Store
from ca.supervisor import Supervisor
from ca.watcher import Watcher
from identity import TrustDomain

__all__ = ["Clock", "Office", "now"]

Clock = Callable[[], datetime]


def now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """One replica of an authority, without its edges. It belongs to one event loop.

    `issuance` answers who asks, `supervisor` and `watcher` are to run beside it, and `changes` tells streams when to look again. Edges
    say in `counters` what they did.
    """

    trust_domain: TrustDomain
    settings: Settings
    store: Store
    signing: KeptSigning | PluggedSigning
    issuance: Issuance
    entitlements: Entitlements
    consumers: Consumers
    changes: Changes
    limits: Limits
    counters: Counters
    supervisor: Supervisor
    watcher: Watcher
    clock: Clock

    @classmethod
    def of(  # noqa: PLR0913  # what it is made of
        cls,
        trust_domain: TrustDomain,
        store: Store,
        keys: KeyStore,
        settings: Settings,
        *,
        clock: Clock = now,
        istio_clusters: frozenset[str] = frozenset(),
        jwt_issuer: str | None = None,
        limits: Limits | None = None,
        plugged: Path | None = None,
    ) -> "Office":
        """Put it together. Nothing is read or made yet: `open` does.

        `plugged` is a directory with an operator's own authority; tokens are signed by keys of our own all the same.
        """
        signing: KeptSigning | PluggedSigning
        if plugged is None:
            kinds = frozenset(SlotKind)
            signing = KeptSigning(store.authorities, keys, trust_domain)
        else:
            kinds = frozenset({SlotKind.JWT})
            signing = PluggedSigning(
                plugged, store.authorities, keys, trust_domain, max_ttl=settings.max_ttl, clock=clock
            )
        entitlements = Entitlements(store.entries, istio_clusters)
        consumers = Consumers(store.authorities, counts_for=settings.max_ttl + SKEW, clock=clock)
        changes = Changes()
        return cls(
            trust_domain=trust_domain,
            settings=settings,
            store=store,
            signing=signing,
            issuance=Issuance(
                store,
                signing,
                entitlements,
                max_ttl=settings.max_ttl,
                max_jwt_ttl=settings.max_jwt_ttl,
                jwt_issuer=jwt_issuer,
            ),
            entitlements=entitlements,
            consumers=consumers,
            changes=changes,
            limits=limits or Limits(),
            counters=Counters(),
            supervisor=Supervisor(
                store,
                keys,
                settings,
                trust_domain,
                clock=clock,
                acknowledged=lambda at: consumers.acknowledged(at=at),
                kinds=kinds,
            ),
            watcher=Watcher(signing, store.entries, changes),
            clock=clock,
        )

    def open(self) -> None:
        """Make the authorities if there are none, do what is due, and load what signs. This blocks.

        Raises:
            AuthorityError: it cannot sign, and why.
        """
        self.supervisor.advance()
        self.signing.refresh()
