"""KeyStore: where the authority's private keys are."""

import re
from typing import Protocol

from ca.keys.key_type import KeyType, SigningKey

__all__ = ["KeyLoader", "KeyStore", "require_key_name"]

# A name is a file's name in one store and a label in another: nothing in it may mean anything to either.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class KeyLoader(Protocol):
    """Hands out private keys by name; what signs needs no more of a `KeyStore`."""

    def load(self, name: str) -> SigningKey:
        """As `KeyStore.load`."""


class KeyStore(Protocol):
    """Makes private keys and hands them out by name. `tests/contracts/test_key_store.py` says what each must keep to.

    A key that was handed out signs, in this process or in a device; not every one can be read.
    """

    def make(self, name: str, kind: KeyType) -> SigningKey:
        """A new key that is kept, for good, before this returns.

        Raises:
            KeyExistsError: there is one of that name, which stays as it is.
            KeyStoreError: it cannot be made or kept.
            ValueError: `name` is not one.
        """

    def load(self, name: str) -> SigningKey:
        """The key that was made under `name`.

        Raises:
            UnknownKeyError: there is none.
            KeyStoreError: it is there and cannot be used.
            ValueError: `name` is not one.
        """

    def names(self) -> frozenset[str]:
        """The names of all keys that are kept.

        Raises:
            KeyStoreError: nobody can tell.
        """

    def forget(self, name: str) -> None:
        """Destroy a key. One that is not there is forgotten already: a retirement may be taken up again after a crash.

        Raises:
            KeyStoreError: it cannot be destroyed.
            ValueError: `name` is not one.
        """


def require_key_name(name: str) -> str:
    """Return `name` if it is lower-case letters, digits and dashes, at most 63, and does not begin with a dash.

    Raises:
        ValueError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"key name {name!r} is not 1 to 63 of a-z, 0-9 and `-`")
    return name
