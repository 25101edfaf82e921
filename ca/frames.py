"""Frames: the extensions of leaves in DER. For one name and issuer they differ in one place only, the identifier of the key.

Encoding and reading extensions takes longer than a signature. A frame is what is left when the identifier is cut out; what a frame was
made or proved for holds for every key.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from cryptography import x509

from ca.profile import Profile
from identity import SpiffeId

__all__ = ["Frame", "Frames"]

_MOST = 8192
"""How many are kept: a name and issuer each. A mesh that has more loses time, and nothing else."""

Issuer = TypeVar("Issuer")


@dataclass(frozen=True, slots=True)
class Frame:
    """The extensions before the key's identifier, and after it; where that was found out, the name that they prove."""

    before: bytes
    after: bytes
    proves: SpiffeId | None = None

    def filled(self, subject_key: x509.SubjectKeyIdentifier) -> bytes:
        """The extensions of another key with the same kind of identifier."""
        return self.before + subject_key.digest + self.after


class Frames(Generic[Issuer]):
    """Frames by what they depend on: the issuer, and all of a profile but its times and its key.

    All of it is compared by identity, for comparing two takes as long as encoding one. What is kept here stays alive, so that its id
    stays its own.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], tuple[Frame, tuple[object, ...]]] = {}

    def get(self, profile: Profile, issuer: Issuer) -> Frame | None:
        """The frame for such a leaf, if there is one."""
        kept = self._kept.get(tuple(map(id, _depends_on(profile, issuer))))
        # An identifier of another length would be another frame.
        return kept[0] if kept is not None and len(profile.subject_key.digest) == _DIGEST else None

    def put(self, profile: Profile, issuer: Issuer, extensions: bytes, *, proves: SpiffeId | None = None) -> None:
        """Keep the frame of `extensions`, which are those of `profile` under `issuer`, if the identifier is in them just once."""
        identifier = profile.subject_key.digest
        before, found, after = extensions.partition(identifier)
        if not found or identifier in after or len(identifier) != _DIGEST:
            return
        if len(self._kept) >= _MOST:
            self._kept.clear()
        parts = _depends_on(profile, issuer)
        self._kept[tuple(map(id, parts))] = (Frame(before, after, proves), parts)


_DIGEST = 20
"""Octets of a SHA-1."""


def _depends_on(profile: Profile, issuer: object) -> tuple[object, ...]:
    return (issuer, profile.names, profile.basic_constraints, profile.key_usage, profile.extended_key_usage)
