"""What every key store keeps to."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ca import KeyExistsError, KeyStoreError, UnknownKeyError
from ca.keys import DiskKeyStore, KeyStore, KeyType, MemoryKeyStore, SigningKey

SOFTHSM = next(
    (
        path
        for path in (
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib64/pkcs11/libsofthsm2.so",
            "/usr/lib64/softhsm/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        )
        if Path(path).exists()
    ),
    None,
)
OTHER = "no-such-token"
TOKEN, PIN = "meshward-contract", "4711"

Open = Callable[[], KeyStore]


def memory(_: Path) -> Open:
    store = MemoryKeyStore()
    return lambda: store


def disk(directory: Path) -> Open:
    return lambda: DiskKeyStore(directory / "keys", passphrase=b"correct horse")


def pkcs11(_: Path) -> Open:
    module = softhsm()
    from ca.keys.pkcs11 import Pkcs11KeyStore  # noqa: PLC0415  # the library is optional

    def open_token() -> Pkcs11KeyStore:
        return Pkcs11KeyStore(module, token=TOKEN, pin=PIN)

    store = open_token()
    for name in store.names():
        store.forget(name)
    return open_token


def softhsm() -> str:
    if SOFTHSM is None:
        pytest.skip("libsofthsm2.so is not on this machine (Debian package softhsm2)")
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed (extra `pkcs11`)")
    return SOFTHSM


STORES: dict[str, Callable[[Path], Open]] = {"memory": memory, "disk": disk, "pkcs11": pkcs11}


@pytest.fixture(scope="session", autouse=True)
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # SoftHSM looks for its settings and its tokens once a process, when it is loaded.
    directory = tmp_path_factory.mktemp("softhsm")
    (directory / "tokens").mkdir()
    settings = directory / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(settings)
    tool = shutil.which("softhsm2-util")
    if tool is not None:
        command = [tool, "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", PIN]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # the real token
    yield
    del os.environ["SOFTHSM2_CONF"]


@pytest.fixture(params=list(STORES))
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return STORES[request.param](tmp_path)


def sign_and_verify(key: SigningKey) -> None:
    public_key = key.public_key()
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(key.sign(b"text", ec.ECDSA(hashes.SHA256())), b"text", ec.ECDSA(hashes.SHA256()))
    elif isinstance(key, rsa.RSAPrivateKey) and isinstance(public_key, rsa.RSAPublicKey):
        signature = key.sign(b"text", padding.PKCS1v15(), hashes.SHA256())
        public_key.verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ed25519.Ed25519PrivateKey) and isinstance(public_key, ed25519.Ed25519PublicKey):
        public_key.verify(key.sign(b"text"), b"text")
    else:
        pytest.fail("the public key is of another kind")


def kind_of(key: SigningKey) -> KeyType:
    match key:
        case ec.EllipticCurvePrivateKey():
            return {"secp256r1": KeyType.P256, "secp384r1": KeyType.P384}[key.curve.name]
        case rsa.RSAPrivateKey():
            return {2048: KeyType.RSA_2048, 4096: KeyType.RSA_4096}[key.key_size]
        case _:
            return KeyType.ED25519


@pytest.mark.parametrize("kind", KeyType)
def test_a_key_is_of_the_kind_that_was_asked_for_and_signs(open_store: Open, kind: KeyType) -> None:
    key = open_store().make("root-1", kind)
    assert kind_of(key) is kind
    sign_and_verify(key)


def test_a_key_that_was_made_is_there_when_the_store_is_opened_again(open_store: Open) -> None:
    made = [(kind, open_store().make(f"key-{kind.value}", kind)) for kind in KeyType if kind is not KeyType.RSA_4096]
    for kind, key in made:
        loaded = open_store().load(f"key-{kind.value}")
        assert loaded.public_key() == key.public_key()
        sign_and_verify(loaded)


def test_a_key_is_never_replaced(open_store: Open) -> None:
    store = open_store()
    key = store.make("root", KeyType.P256)
    with pytest.raises(KeyExistsError, match="root"):
        store.make("root", KeyType.P256)
    assert store.load("root").public_key() == key.public_key()


def test_a_key_that_was_not_made_is_not_there(open_store: Open) -> None:
    with pytest.raises(UnknownKeyError, match="root"):
        open_store().load("root")
    assert open_store().names() == frozenset()


def test_names_are_those_of_the_keys_that_were_made_and_not_forgotten(open_store: Open) -> None:
    store = open_store()
    for name in ("a", "b-1", "0" * 63):
        store.make(name, KeyType.P256)
    store.forget("a")
    assert open_store().names() == store.names() == {"b-1", "0" * 63}


def test_a_forgotten_key_is_gone_and_may_be_forgotten_again(open_store: Open) -> None:
    store = open_store()
    first = store.make("root", KeyType.P256)
    store.forget("root")
    store.forget("root")
    with pytest.raises(UnknownKeyError):
        open_store().load("root")
    assert store.make("root", KeyType.P256).public_key() != first.public_key()


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "..", ".a", "a\n", "a\0", "a.key", "é", "a" * 64])
def test_a_name_that_could_mean_something_else_is_refused(open_store: Open, name: str) -> None:
    store = open_store()
    for use in (store.load, store.forget, lambda text: store.make(text, KeyType.P256)):
        with pytest.raises(ValueError, match="key name"):
            use(name)


def test_no_store_shows_a_key_or_what_opens_it(open_store: Open) -> None:
    store = open_store()
    key = store.make("root", KeyType.P256)
    for text in (repr(store), repr(key)):
        assert PIN not in text
        assert "correct horse" not in text
    with pytest.raises(TypeError):
        pickle.dumps(key)


@pytest.mark.parametrize("kind", KeyType)
def test_a_key_of_a_token_never_leaves_it(tmp_path: Path, kind: KeyType) -> None:
    key = pkcs11(tmp_path)().make("root", kind)
    with pytest.raises(UnsupportedAlgorithm, match="stays in its token"):
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def test_a_token_that_is_not_there_is_named(tmp_path: Path) -> None:
    pkcs11(tmp_path)
    from ca.keys.pkcs11 import Pkcs11KeyStore  # noqa: PLC0415  # the library is optional

    with pytest.raises(KeyStoreError, match="token 'no-such-token'") as caught:
        Pkcs11KeyStore(softhsm(), token=OTHER, pin=PIN)
    assert PIN not in str(caught.value)
    with pytest.raises(KeyStoreError, match="nowhere"):
        Pkcs11KeyStore("/nowhere.so", token=TOKEN, pin=PIN)


def test_a_wrong_pin_is_named_as_that(tmp_path: Path) -> None:
    pkcs11(tmp_path)
    # By another process: a login lets a whole process in.
    code = (
        "import sys\nfrom ca.errors import WrongPassphraseError\nfrom ca.keys.pkcs11 import Pkcs11KeyStore\n"
        "try: Pkcs11KeyStore(sys.argv[1], token=sys.argv[2], pin='0000')\n"
        "except WrongPassphraseError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, softhsm(), TOKEN]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)  # noqa: S603  # the real token
    assert f"token '{TOKEN}'" in run.stdout
    assert "0000" not in run.stdout
