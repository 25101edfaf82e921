"""Keys in memory, which end with the process."""

from ca.errors import KeyExistsError, UnknownKeyError
from ca.keys.key_type import KeyType, SigningKey, generate
from ca.keys.store import require_key_name

__all__ = ["MemoryKeyStore"]


class MemoryKeyStore:
    """A `KeyStore` for tests and for authorities that live as long as their process."""

    def __init__(self) -> None:
        self._keys: dict[str, SigningKey] = {}

    def make(self, name: str, kind: KeyType) -> SigningKey:
        """As `KeyStore.make`."""
        if require_key_name(name) in self._keys:
            raise KeyExistsError(name)
        key = generate(kind)
        self._keys[name] = key
        return key

    def load(self, name: str) -> SigningKey:
        """As `KeyStore.load`."""
        try:
            return self._keys[require_key_name(name)]
        except KeyError:
            raise UnknownKeyError(name) from None

    def names(self) -> frozenset[str]:
        """As `KeyStore.names`."""
        return frozenset(self._keys)

    def forget(self, name: str) -> None:
        """As `KeyStore.forget`."""
        self._keys.pop(require_key_name(name), None)
