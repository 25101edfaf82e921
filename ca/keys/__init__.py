"""Private keys of the authority: made where they stay, loaded by name."""

from ca.keys.disk import DiskKeyStore
from ca.keys.key_type import KeyType, SigningKey
from ca.keys.memory import MemoryKeyStore
from ca.keys.store import KeyLoader, KeyStore

# `ca.keys.pkcs11` is imported by name: it needs a library that is optional.
__all__ = ["DiskKeyStore", "KeyLoader", "KeyStore", "KeyType", "MemoryKeyStore", "SigningKey"]
