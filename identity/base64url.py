"""Base64url as Envoy and SPIFFE read it: the segments of a token, the numbers of a key."""

import binascii
import re
from base64 import urlsafe_b64decode

__all__ = ["decode"]

_FORM = re.compile(r"[A-Za-z0-9_-]*={0,2}")
_WHITESPACE = str.maketrans("", "", " \t\n\v\f\r")
_QUANTUM = 4
# From the alphabet to the one that `binascii` knows; what is none of it becomes a character that it refuses.
_PLAIN = bytes(
    {ord("-"): ord("+"), ord("_"): ord("/")}.get(code, code if chr(code).isalnum() and code < 128 else ord("!"))
    for code in range(256)
)
_PADDING = (b"", b"===", b"==", b"=")


def decode(text: str) -> bytes:
    """The bytes that `text` stands for.

    White space is skipped; padding may be left out but not be wrong; the bits that the last character has too many are
    ignored. Envoy does the same, and some issuers pad. What is signed is the text, so none of it lets a token be changed.

    Raises:
        ValueError: a character is none of the alphabet, or the length cannot be.
    """
    try:
        # Without padding and white space, as RFC 7515 has it and as all but a few tokens come, and much faster.
        return binascii.a2b_base64(text.encode("ascii").translate(_PLAIN) + _PADDING[len(text) % 4], strict_mode=True)
    except ValueError:
        return _lenient(text)


def _lenient(text: str) -> bytes:
    digits = text.translate(_WHITESPACE)
    # The standard library would skip whatever it does not know.
    if not _FORM.fullmatch(digits):
        raise ValueError("a character that base64url does not have")
    bare = digits.rstrip("=")
    if len(bare) % _QUANTUM == 1 or (bare != digits and len(digits) % _QUANTUM):
        raise ValueError("a length that base64url does not have")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % _QUANTUM))
