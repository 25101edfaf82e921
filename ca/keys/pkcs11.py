"""Keys in a PKCS#11 token, which signs and never gives them out."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self

import pkcs11
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.utils import Buffer
from pkcs11 import Attribute, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from ca.errors import KeyExistsError, KeyStoreError, UnknownKeyError, WrongPassphraseError
from ca.keys.key_type import KeyType, SigningKey
from ca.keys.store import require_key_name

__all__ = ["Pkcs11KeyStore"]

# The curve's name as a PrintableString, as PKCS#11 3.0 has it (6.3.3); it is no curve of X9.62.
_EDWARDS25519 = bytes.fromhex("130c") + b"edwards25519"
_CURVES = {KeyType.P256: "secp256r1", KeyType.P384: "secp384r1"}
_RSA_BITS = {KeyType.RSA_2048: 2048, KeyType.RSA_4096: 4096}
_RSA_MECHANISMS = {
    "sha256": Mechanism.SHA256_RSA_PKCS,
    "sha384": Mechanism.SHA384_RSA_PKCS,
    "sha512": Mechanism.SHA512_RSA_PKCS,
}
_PRIVATE = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
_STAYS_INSIDE = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
}


class Pkcs11KeyStore:
    """A `KeyStore` in the token `token` of the module at `module`. The PIN is the caller's to find; it is never shown.

    A module keeps its state a process: open the store after forking, not before.
    """

    def __init__(self, module: str, *, token: str, pin: str) -> None:
        """Log in to the token.

        Raises:
            KeyStoreError: there is no such module or token, or it does not let us in.
            WrongPassphraseError: by that PIN it does not.
        """
        self._place = f"token {token!r} of {module}"
        # A session does one thing at a time.
        self._lock = threading.Lock()
        with self._answered():
            found = pkcs11.lib(module).get_token(token_label=token)
            try:
                self._session = found.open(rw=True, user_pin=pin)
            except pkcs11.UserAlreadyLoggedIn:
                # One login lets a whole process in (PKCS#11 6.7.4).
                self._session = found.open(rw=True)

    def close(self) -> None:
        """End the session; keys that were handed out sign no more."""
        self._session.close()

    def make(self, name: str, kind: KeyType) -> SigningKey:
        """As `KeyStore.make`."""
        require_key_name(name)
        with self._answered():
            # A token lets several keys have one name.
            if self._find(ObjectClass.PRIVATE_KEY, name):
                raise KeyExistsError(name)
            match kind:
                case KeyType.P256 | KeyType.P384:
                    curve = encode_named_curve_parameters(_CURVES[kind])
                    domain = self._domain(pkcs11.KeyType.EC, curve)
                    domain.generate_keypair(store=True, label=name, private_template=_STAYS_INSIDE)
                case KeyType.RSA_2048 | KeyType.RSA_4096:
                    self._session.generate_keypair(
                        pkcs11.KeyType.RSA, _RSA_BITS[kind], store=True, label=name, private_template=_STAYS_INSIDE
                    )
                case KeyType.ED25519:
                    domain = self._domain(pkcs11.KeyType.EC_EDWARDS, _EDWARDS25519)
                    domain.generate_keypair(
                        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                        store=True,
                        label=name,
                        private_template=_STAYS_INSIDE,
                    )
        return self.load(name)

    def load(self, name: str) -> SigningKey:
        """As `KeyStore.load`."""
        require_key_name(name)
        with self._answered():
            private, public = self._find(ObjectClass.PRIVATE_KEY, name), self._find(ObjectClass.PUBLIC_KEY, name)
            if not private or not public:
                raise UnknownKeyError(name)
            if len(private) > 1 or len(public) > 1:
                raise KeyStoreError(
                    self._place, f"several keys are labelled `{name}`", "delete those that are not ours"
                )
            return self._key(name, private[0], public[0])

    def names(self) -> frozenset[str]:
        """As `KeyStore.names`. Keys whose label we would not give are somebody else's."""
        with self._answered():
            return frozenset(
                label for label in (key[Attribute.LABEL] for key in self._session.get_objects(_PRIVATE)) if _ours(label)
            )

    def forget(self, name: str) -> None:
        """As `KeyStore.forget`."""
        require_key_name(name)
        with self._answered():
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for key in self._find(kind, name):
                    key.destroy()

    def _find(self, kind: ObjectClass, name: str) -> list[Any]:
        return list(self._session.get_objects({Attribute.CLASS: kind, Attribute.LABEL: name}))

    def _domain(self, kind: pkcs11.KeyType, curve: bytes) -> pkcs11.DomainParameters:
        return self._session.create_domain_parameters(kind, {Attribute.EC_PARAMS: curve}, local=True)

    def _key(self, name: str, private: Any, public: Any) -> SigningKey:
        def sign(data: bytes, mechanism: Mechanism) -> bytes:
            with self._answered():
                return bytes(private.sign(data, mechanism=mechanism))

        match public.key_type:
            case pkcs11.KeyType.EC:
                loaded = load_der_public_key(encode_ec_public_key(public))
                if isinstance(loaded, ec.EllipticCurvePublicKey):
                    return _EcKey(loaded, sign)
            case pkcs11.KeyType.RSA:
                modulus, exponent = public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT]
                numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus))
                return _RsaKey(numbers.public_key(), sign)
            case pkcs11.KeyType.EC_EDWARDS:
                # The point is in an OCTET STRING of 32.
                return _Ed25519Key(ed25519.Ed25519PublicKey.from_public_bytes(public[Attribute.EC_POINT][-32:]), sign)
            case _:
                pass
        raise KeyStoreError(self._place, f"`{name}` is of a kind that signs nothing here")

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """One question to the token at a time; what it answers is named as ours, without what it was asked."""
        with self._lock:
            try:
                yield
            except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
                raise WrongPassphraseError(self._place) from None
            except pkcs11.PKCS11Error as error:
                reason = str(error) or type(error).__name__
                raise KeyStoreError(self._place, f"the token refused ({reason})", "look whether it is there") from error


def _ours(label: object) -> bool:
    try:
        require_key_name(str(label))
    except ValueError:
        return False
    return True


class _Inside:
    """What all keys of a token have in common: nothing but signatures leaves it."""

    def private_numbers(self) -> NoReturn:
        raise UnsupportedAlgorithm("the key stays in its token")

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        raise UnsupportedAlgorithm("the key stays in its token")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not pickled")


_Sign = Callable[[bytes, Mechanism], bytes]


class _EcKey(_Inside, ec.EllipticCurvePrivateKey):
    def __init__(self, public_key: ec.EllipticCurvePublicKey, sign: _Sign) -> None:
        self._public_key = public_key
        self._sign = sign

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public_key

    def exchange(self, *_: object) -> NoReturn:
        raise UnsupportedAlgorithm("the key signs only")

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        algorithm = signature_algorithm.algorithm
        if not isinstance(algorithm, hashes.HashAlgorithm):
            raise UnsupportedAlgorithm("what is signed is hashed here")
        digest = hashes.Hash(algorithm)
        digest.update(data)
        # The bare mechanism, which every token has: many cannot hash and sign in one.
        numbers = self._sign(digest.finalize(), Mechanism.ECDSA)
        half = len(numbers) // 2
        return utils.encode_dss_signature(int.from_bytes(numbers[:half]), int.from_bytes(numbers[half:]))


class _RsaKey(_Inside, rsa.RSAPrivateKey):
    def __init__(self, public_key: rsa.RSAPublicKey, sign: _Sign) -> None:
        self._public_key = public_key
        self._sign = sign

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public_key

    def decrypt(self, *_: object) -> NoReturn:
        raise UnsupportedAlgorithm("the key signs only")

    def sign(self, data: Buffer, padding_: padding.AsymmetricPadding, algorithm: object) -> bytes:
        mechanism = _RSA_MECHANISMS.get(algorithm.name) if isinstance(algorithm, hashes.HashAlgorithm) else None
        if mechanism is None or not isinstance(padding_, padding.PKCS1v15):
            raise UnsupportedAlgorithm("not PKCS #1 v1.5 with SHA-2")
        return self._sign(bytes(data), mechanism)


class _Ed25519Key(_Inside, ed25519.Ed25519PrivateKey):
    def __init__(self, public_key: ed25519.Ed25519PublicKey, sign: _Sign) -> None:
        self._public_key = public_key
        self._sign = sign

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public_key

    def private_bytes_raw(self) -> NoReturn:
        raise UnsupportedAlgorithm("the key stays in its token")

    def sign(self, data: Buffer) -> bytes:
        return self._sign(bytes(data), Mechanism.EDDSA)
