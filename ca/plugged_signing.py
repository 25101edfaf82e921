"""What signs by a plugged-in authority: X.509-SVIDs by an operator's files, followed as they change, and tokens by keys of our own.

The operator's roots are kept in the store beside the keys for tokens, so that the bundle has one sequence for all replicas, and so
that a replica whose files are a minute behind trusts what the others sign by already.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.authorities import Authorities, Slot
from ca.errors import NotKeptError, NotReadyError, PluggedError, StoreConflictError
from ca.keys import KeyStore
from ca.phases import Pace, Phase, SlotKind
from ca.plugged import Plugged, plug_in, read_files
from ca.signer import Signer
from ca.signing import KeptSigning, Signing
from ca.store import KeptAuthorities
from identity import TrustDomain

__all__ = ["PLUGGED_KEY", "PluggedSigning"]

_logger = logging.getLogger("meshward.ca")

PLUGGED_KEY = "plugged"
"""The name of the key of a root that is kept elsewhere: no key store has it."""

_BY = "operator"
_AGAIN = timedelta(seconds=10)
"""How long after a refusal the same files are looked at again: a certificate may have become valid meanwhile."""


class PluggedSigning:
    """A `SigningSource` by the files in `directory`, for leaves that live for `max_ttl` at most.

    A change of the files that makes no authority is refused and said, and the last good one goes on to sign. Roots that the operator
    takes away are trusted no more from that moment: they belong in the file for as long as leaves under them live.
    """

    def __init__(  # noqa: PLR0913  # where it is, what it is for, and what it works with
        self,
        directory: Path,
        kept: KeptAuthorities,
        keys: KeyStore,
        trust_domain: TrustDomain,
        *,
        max_ttl: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._directory = directory
        self._kept = kept
        self._own = KeptSigning(kept, keys, trust_domain)
        self._trust_domain = trust_domain
        self._max_ttl = max_ttl
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: object = None
        self._refused_at: datetime | None = None
        self._plugged: Plugged | None = None
        self._published: frozenset[str] | None = None
        self._former: dict[str, x509.Certificate] = {}
        self._signing: Signing | None = None
        self.failure: PluggedError | None = None
        """Why the files, as they are now, make no authority; what signed before goes on."""

    def now(self) -> Signing:
        """As `SigningSource.now`."""
        if self._signing is None:
            raise NotReadyError("it is starting")
        return self._signing

    def active_issuer(self) -> str:
        """The id of what signs X.509-SVIDs.

        Raises:
            NotReadyError: nothing was ever loaded.
        """
        return self.now().issuer

    def signer_of(self, issuer: str) -> Signer:
        """What signs leaves, with its key. What signed before is the operator's again, key and all.

        Raises:
            NotKeptError: it is another.
            NotReadyError: nothing was ever loaded.
        """
        signing = self.now()
        if signing.authority is None or issuer != signing.issuer:
            raise NotKeptError("intermediate", issuer)
        return signing.authority.intermediate

    def refresh(self) -> bool:
        """Look at the files and at what is kept, and say whether anything is another than before. This blocks; any thread may call it.

        Raises:
            KeyStoreError: a key for tokens cannot be had.
            NotReadyError: the store has authorities that signed by themselves.
            PluggedError: the files make no authority, and never did.
            StoreUnavailableError: nobody can tell what is kept. What signed before goes on.
        """
        with self._lock:
            plugged = self._read()
            self._publish(plugged)
            changed = self._own.refresh() or self._signing is None
            if not changed and self._signing is not None and self._signing.authority is plugged.authority:
                return False
            self._signing = self._made(plugged)
            return True

    def _read(self) -> Plugged:
        """What the files make now, or made last."""
        seen, at = _signature(self._directory), self._clock()
        again = self._refused_at is not None and at - self._refused_at >= _AGAIN
        if self._plugged is not None and seen == self._seen and not again:
            return self._plugged
        self._seen = seen
        try:
            found = plug_in(
                read_files(self._directory),
                self._trust_domain,
                place=str(self._directory),
                at=at,
                max_ttl=self._max_ttl,
            )
        except PluggedError as error:
            self._refused_at = at
            if self._plugged is None:
                raise
            if str(error) != str(self.failure):
                _logger.error("the authority stays as it is: %s", error)  # noqa: TRY400  # no fault of the code
            self.failure = error
            return self._plugged
        self.failure, self._refused_at = None, None
        if self._plugged is not None and _says_the_same(self._plugged, found):
            return self._plugged
        if self._plugged is not None:
            self._former[_issuer(self._plugged)] = self._plugged.authority.root
            _logger.info("another authority is plugged in: %s", _issuer(found))
        for note in found.notes:
            _logger.info("%s", note)
        self._plugged = found
        return found

    def _publish(self, plugged: Plugged) -> None:
        """Keep the roots.

        What is there and is not the operator's any more goes when the files change, and at no other time: another replica's files
        may be newer.
        """
        version = self._kept.load(self._trust_domain)
        before = Authorities(self._trust_domain) if version is None else version.authorities
        if any(slot.kind is not SlotKind.JWT and slot.key_name != PLUGGED_KEY for slot in before.slots):
            raise NotReadyError("its store has authorities that signed by themselves; plug in with a store of its own")
        roots = {_digest(root): root for root in plugged.roots}
        others = tuple(
            slot
            for slot in before.slots
            if slot.kind is SlotKind.JWT or (slot.id not in roots and self._published == roots.keys())
        )
        at = before.require_clock(self._clock())
        kept = tuple(slot for slot in before.slots if slot.id in roots)
        missing = [root for digest, root in roots.items() if all(slot.id != digest for slot in kept)]
        if len(others) + len(kept) == len(before.slots) and not missing:
            self._published = frozenset(roots)
            return
        sequence = before.sequence + 1
        added = tuple(_slot(root, published=sequence, at=at) for root in missing)
        changed = replace(before, sequence=sequence, seen=at, slots=(*others, *kept, *added))
        try:
            self._kept.save(changed, before=version, by=_BY, action="plug in roots", at=at).result()
        except StoreConflictError:
            return  # another replica was first, and we look again
        self._published = frozenset(roots)

    def _made(self, plugged: Plugged) -> Signing:
        base = self._own.now()
        trusted = frozenset(map(_digest, base.bundle.x509_authorities))
        return replace(
            base,
            authority=plugged.authority,
            issuer=_issuer(plugged),
            intermediates=(plugged.authority.intermediate.certificate, *plugged.authority.above),
            # What stands under a root that is gone verifies nowhere any more.
            to_reissue=base.to_reissue
            | {issuer for issuer, root in self._former.items() if _digest(root) not in trusted},
        )


def _signature(directory: Path) -> object:
    """What changes when a file does, or when one comes or goes."""
    try:
        found = [(path.name, path.stat()) for path in sorted(directory.iterdir()) if not path.name.startswith(".")]
    except OSError as error:
        return error.errno
    return [(name, status.st_mtime_ns, status.st_size, status.st_ino) for name, status in found]


def _says_the_same(one: Plugged, other: Plugged) -> bool:
    return one.roots == other.roots and one.authority == other.authority


def _issuer(plugged: Plugged) -> str:
    return plugged.authority.intermediate.subject_key.digest.hex()


def _digest(root: x509.Certificate) -> str:
    return sha256(root.public_bytes(Encoding.DER)).hexdigest()[:40]


def _slot(root: x509.Certificate, *, published: int, at: datetime) -> Slot:
    return Slot(
        id=_digest(root),
        kind=SlotKind.ROOT,
        # Made known, and signing nothing that is ours to do.
        phase=Phase.PREPARED,
        pace=Pace.AT_ONCE,
        public=root.public_bytes(Encoding.DER),
        key_name=PLUGGED_KEY,
        issuer=None,
        published=published,
        made=at,
        not_before=root.not_valid_before_utc,
        not_after=root.not_valid_after_utc,
    )
