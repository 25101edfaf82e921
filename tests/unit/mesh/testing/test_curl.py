"""The command that sends a request again is what a shell takes for it, and tells no secret."""

import shlex
import subprocess

import pytest

from mesh.testing.curl import curl_of
from mesh.testing.sent import HttpVersion, Sent


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (Sent(target="/a?b=c"), "curl --path-as-is 'http://api.shop/a?b=c'"),
        (Sent(method="POST", target="/a", hosts=("a:1",)), "curl --path-as-is -X POST http://a:1/a"),
        (Sent(target="/a", version=HttpVersion.HTTP_2), "curl --path-as-is --http2-prior-knowledge http://api.shop/a"),
        (Sent(target="/a", hosts=("a", "b")), "curl --path-as-is -H 'host: b' http://a/a"),
        (
            Sent(target="/a", headers=(("x", "y z"), ("e", ""))),
            "curl --path-as-is -H 'x: y z' -H 'e;' http://api.shop/a",
        ),
        (Sent(target="http://h/a"), "curl --path-as-is --request-target http://h/a http://api.shop/"),
        (Sent(target="/it's"), """curl --path-as-is 'http://api.shop/it'"'"'s'"""),
        (Sent(target="/a\udcff'\\\n"), r"curl --path-as-is $'http://api.shop/a\xff\'\\\n'"),
    ],
)
def test_a_request_is_written_so_that_a_shell_reads_it(sent: Sent, expected: str) -> None:
    assert curl_of(sent, token=None) == expected


def test_a_token_is_a_variable_wherever_it_stands() -> None:
    sent = Sent(target="/a?t=tok.en&u=$x", headers=(("authorization", "Bearer tok.en"), ("cookie", "t=tok.en")))
    assert curl_of(sent, token="tok.en") == (  # noqa: S106  # none
        'curl --path-as-is -H "authorization: Bearer $TOKEN" -H "cookie: t=$TOKEN" '
        "'http://api.shop/a?t='\"$TOKEN\"'&u=$x'"
    )


def test_a_secret_is_a_variable_though_it_is_none_of_ours() -> None:
    sent = Sent(target="/", headers=(("Authorization", "Basic hush"), ("X-Api-Key", "hush"), ("x-role", "guest")))
    written = curl_of(sent, token=None)
    assert "hush" not in written
    assert '-H "Authorization: $SECRET" -H "X-Api-Key: $SECRET" -H \'x-role: guest\'' in written


@pytest.mark.parametrize(
    "text", ["/a'b", '/a"b', "/a`id`", "/a$(id)", "/a!b", "/a\\b", "/a\tb", "/ä", "/a\x7f", "/a\u202eb"]
)
def test_a_shell_takes_it_for_just_that(text: str) -> None:
    command = curl_of(Sent(target=text), token=None).replace("curl --path-as-is", "printf %s", 1)
    printed = subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout  # noqa: S603, S607  # bash
    assert printed == f"http://api.shop{text}".encode()


def test_words_are_quoted_as_python_would_where_they_are_plain() -> None:
    assert shlex.split(curl_of(Sent(target="/a b"), token=None)) == ["curl", "--path-as-is", "http://api.shop/a b"]
