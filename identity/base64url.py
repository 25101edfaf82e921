"""Base64url as Envoy and SPIFFE read it: the segments of a token, the numbers of a key."""

import re
from base64 import urlsafe_b64decode

__all__ = ["decode"]

_FORM = re.compile(r"[A-Za-z0-9_-]*={0,2}")
_WHITESPACE = str.maketrans("", "", " \t\n\v\f\r")
_QUANTUM = 4


def decode(text: str) -> bytes:
    """The bytes that `text` stands for.

    White space is skipped; padding may be left out but not be wrong; the bits that the last character has too many are
    ignored. Envoy does the same, and some issuers pad. What is signed is the text, so none of it lets a token be changed.

    Raises:
        ValueError: a character is none of the alphabet, or the length cannot be.
    """
    digits = text.translate(_WHITESPACE)
    # The standard library would skip whatever it does not know.
    if not _FORM.fullmatch(digits):
        raise ValueError("a character that base64url does not have")
    bare = digits.rstrip("=")
    if len(bare) % _QUANTUM == 1 or (bare != digits and len(digits) % _QUANTUM):
        raise ValueError("a length that base64url does not have")
    return urlsafe_b64decode(bare + "=" * (-len(bare) % _QUANTUM))
