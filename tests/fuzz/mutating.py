"""Mutating: what a stranger sends who has seen something valid, by bytes, by DER, by JSON, and by protobuf."""

import base64
import json
from collections.abc import Callable, Sequence
from random import Random

__all__ = ["Mutate", "of_bytes", "of_json", "of_pem", "of_protobuf"]

Mutate = Callable[[Random, Sequence[bytes]], bytes]
"""Something else than any of the samples, and not far from one."""

_ODD = (
    b"",
    b"\0",
    b"\xff",
    b"\x80",
    b"\x7f\xff\xff\xff",
    b"\xff" * 9,
    b"\n",
    b'"',
    b"{",
    b"[" * 200,
    b"\\ud800",
    b"e400",
)
_MOST = 256 * 1024
_NUMBERS = (0, 1, 0x7F, 0x80, 0x81, 0x82, 0x84, 0xFF)
_VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    2**53,
    2**64,
    10**400,
    1.5,
    1e308,
    "",
    "\0",
    "x" * 5000,
    "\ud800",
    [],
    {},
    [[]] * 3,
    {"": None},
)


def of_bytes(random: Random, samples: Sequence[bytes]) -> bytes:
    """Bits turned, pieces cut, doubled, moved, or taken from another sample."""
    data = bytearray(random.choice(samples))
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((1, 1, 2, 8, 64, 1024)))
        match random.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << random.randrange(8)
            case 1 if at < len(data):
                data[at] = random.choice(_NUMBERS)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                data[at:end] = random.choice(_ODD)
            case 5:
                data[at:at] = random.choice(_ODD)
            case _:
                other = random.choice(samples)
                begin = random.randrange(len(other) + 1)
                data[at:end] = other[begin : begin + (end - at)]
    return bytes(data)


def of_pem(random: Random, samples: Sequence[bytes]) -> bytes:
    """Of the text, or more often of the DER in it: where one length or tag is another, in a block that is well."""
    if random.random() < 0.2:
        return of_bytes(random, samples)
    inside = [base64.b64decode(b"".join(sample.splitlines()[1:-1])) for sample in samples]
    first, *_, last = random.choice(samples).splitlines()
    return b"\n".join((first, base64.encodebytes(of_bytes(random, inside)).rstrip(b"\n"), last, b""))


def of_json(random: Random, samples: Sequence[bytes]) -> bytes:
    """Of the text, or more often of what it says: members and items gone, doubled, or replaced by values of any kind."""
    if random.random() < 0.3:
        return of_bytes(random, samples)
    value = json.loads(random.choice(samples))
    for _ in range(random.choice((1, 1, 2, 4))):
        altered = _altered(random, value, depth=0)
        # What is longer than any document costs the fuzzer most of its time, and tells nothing new.
        if len(json.dumps(altered)) < _MOST:
            value = altered
    return json.dumps(value).encode()


def _altered(random: Random, value: object, *, depth: int) -> object:
    if random.random() < 0.1 * depth or not isinstance(value, dict | list) or not value:
        if isinstance(value, str) and random.random() < 0.7:
            inside = _inside(value)
            if inside is not None:
                return base64.b64encode(of_bytes(random, [inside])).decode()
            return of_bytes(random, [value.encode(errors="replace")]).decode("latin-1")
        return random.choice(_VALUES)
    if isinstance(value, list):
        at = random.randrange(len(value))
        match random.randrange(4):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return value * random.choice((2, 70))
            case _:
                return [*value[:at], _altered(random, value[at], depth=depth + 1), *value[at + 1 :]]
    name = random.choice(list(value))
    match random.randrange(5):
        case 0:
            return {each: item for each, item in value.items() if each != name}
        case 1:
            return {**value, random.choice(("kid", "use", "x5c", "crit", "aud", "exp", "")): random.choice(_VALUES)}
        case _:
            return {**value, name: _altered(random, value[name], depth=depth + 1)}


def _inside(text: str) -> bytes | None:
    """What is in base64: a certificate in JSON is looked into, too."""
    if len(text) < 100:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def of_protobuf(random: Random, samples: Sequence[bytes]) -> bytes:
    """Of the bytes, or the same message within itself, again and again, or with fields that nobody knows."""
    data = of_bytes(random, samples)
    match random.randrange(8):
        case 0:
            for _ in range(random.choice((1, 10, 150))):
                data = bytes((random.randrange(1, 16) << 3 | 2,)) + _varint(len(data)) + data
            return data[:60_000]
        case 1:
            return data + bytes((random.randrange(256),)) + _varint(random.getrandbits(random.choice((7, 32, 64))))
        case 2:
            return random.choice(samples) + data
        case _:
            return data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*found, number))
