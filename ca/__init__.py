"""The certificate authority. It knows nothing of policy."""

from ca.authority import Authority
from ca.errors import (
    AuthorityError,
    DamagedKeyError,
    ExposedKeyError,
    IllegalMoveError,
    KeyExistsError,
    KeyStoreError,
    NotReadyError,
    PluggedError,
    RecheckError,
    RefusedKeyError,
    RefusedLifetimeError,
    RefusedNameError,
    RefusedSettingsError,
    UnknownKeyError,
    WrongPassphraseError,
)
from ca.profile import DEFAULT_TTL, MAX_TTL, MIN_TTL
from ca.signer import Signer

__all__ = [
    "DEFAULT_TTL",
    "MAX_TTL",
    "MIN_TTL",
    "Authority",
    "AuthorityError",
    "DamagedKeyError",
    "ExposedKeyError",
    "IllegalMoveError",
    "KeyExistsError",
    "KeyStoreError",
    "NotReadyError",
    "PluggedError",
    "RecheckError",
    "RefusedKeyError",
    "RefusedLifetimeError",
    "RefusedNameError",
    "RefusedSettingsError",
    "Signer",
    "UnknownKeyError",
    "WrongPassphraseError",
]
