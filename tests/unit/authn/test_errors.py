"""How errors show what they are about."""

import pytest

from authn.errors import shown


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://idp.example/keys", "`https://idp.example/keys`"),
        ("https://user:secret@idp.example:8443/keys?token=secret#secret", "`https://idp.example:8443/keys`"),
        ("https://secret@idp.example", "`https://idp.example`"),
        ("https://idp.example/a\u0085b", "`https://idp.example/a\\x85b`"),
        ("https://[::1", "an address that cannot be read"),
        ("user:secret@idp.example/keys", "an address without a host"),
        ("https://idp.example/" + "x" * 100, f"`https://idp.example/{'x' * 60}…`"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, text: str) -> None:
    assert shown(url) == text
