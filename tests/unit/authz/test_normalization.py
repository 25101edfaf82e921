"""What becomes of a path: each line of the tables was seen on Envoy 1.40; an integration test asks it again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.mesh_config import PathNormalization
from authz.normalization import RefusedPathError, normalize_path

NONE, BASE, MERGE, DECODE = PathNormalization

SEEN = (
    # sent, and what BASE, MERGE_SLASHES and DECODE_AND_MERGE_SLASHES make of it
    ("/", "/", "/", "/"),
    ("/public/../admin", "/admin", "/admin", "/admin"),
    ("//admin", "//admin", "/admin", "/admin"),
    ("/%61dmin", "/admin", "/admin", "/admin"),
    ("/public/%2e%2E/admin", "/admin", "/admin", "/admin"),
    ("/public\\..\\admin", "/admin", "/admin", "/admin"),
    ("/public/..%2fadmin", "/public/..%2fadmin", "/public/..%2fadmin", "/admin"),
    ("/public%5c..%5Cadmin", "/public%5c..%5Cadmin", "/public%5c..%5Cadmin", "/admin"),
    ("/a%2f%2Fb", "/a%2f%2Fb", "/a%2f%2Fb", "/a/b"),
    ("/a/..;x/b", "/b", "/b", "/b"),
    ("/a/.;/b", "/a/b", "/a/b", "/a/b"),
    ("/a/..;x\\b", "/", "/", "/"),
    ("/a\\..;x\\b", "/a/..;x/b", "/a/..;x/b", "/a/..;x/b"),
    ("/a/%2e%2e;x/b", "/a/..;x/b", "/a/..;x/b", "/a/..;x/b"),
    ("/a/..;%2fb/c", "/c", "/c", "/b/c"),
    ("/a/...;/b", "/a/...;/b", "/a/...;/b", "/a/...;/b"),
    ("/a/..%3b/b", "/a/..%3b/b", "/a/..%3b/b", "/a/..%3b/b"),
    ("/a;b/c", "/a;b/c", "/a;b/c", "/a;b/c"),
    ("/a/..", "/", "/", "/"),
    ("/a/.", "/a/", "/a/", "/a/"),
    ("/../../etc", "/etc", "/etc", "/etc"),
    ("/a//../b", "/a/b", "/a/b", "/a/b"),
    ("///a///b//", "///a///b//", "/a/b/", "/a/b/"),
    # A path of nothing but slashes keeps two.
    ("///", "///", "//", "//"),
    ("/%252e", "/%252e", "/%252e", "/%252e"),
    ("/%25%32%65", "/%252e", "/%252e", "/%252e"),
    ("/%zz%4", "/%zz%4", "/%zz%4", "/%zz%4"),
    ("/%%341", "/%2541", "/%2541", "/%2541"),
    ("/%%30%30", "/%2500", "/%2500", "/%2500"),
    ("/%3%30%30", "/%25300", "/%25300", "/%25300"),
    ("/%%%41%41", "/%%25AA", "/%%25AA", "/%%25AA"),
    ('/"<>^`{|}', "/%22%3C%3E%5E%60%7B%7C%7D", "/%22%3C%3E%5E%60%7B%7C%7D", "/%22%3C%3E%5E%60%7B%7C%7D"),
    ("/[x]'()!*,:@=&$+%20", "/[x]'()!*,:@=&$+%20", "/[x]'()!*,:@=&$+%20", "/[x]'()!*,:@=&$+%20"),
    ("/Admin/", "/Admin/", "/Admin/", "/Admin/"),
    ("/a/..?x=//b/../%2f", "/?x=//b/../%2f", "/?x=//b/../%2f", "/?x=//b/../%2f"),
    ("/a#/../b", "/a", "/a", "/a"),
    ("/a?x#y", "/a?x", "/a?x", "/a?x"),
)


@pytest.mark.parametrize(("sent", "base", "merge", "decode"), SEEN, ids=lambda text: text)
def test_a_path_becomes_what_envoy_makes_of_it(sent: str, base: str, merge: str, decode: str) -> None:
    assert normalize_path(sent, NONE) == sent.partition("#")[0]
    assert [normalize_path(sent, option) for option in (BASE, MERGE, DECODE)] == [base, merge, decode]


@pytest.mark.parametrize("sent", ["", "*", "admin", "?x", "#x", "/a b", "/a\t", "/a\n", "/\x7f"])
@pytest.mark.parametrize("option", PathNormalization)
def test_a_path_that_no_proxy_takes_is_refused(sent: str, option: PathNormalization) -> None:
    with pytest.raises(RefusedPathError):
        normalize_path(sent, option)


@pytest.mark.parametrize("sent", ["/a/%00", "/%00/../a", "/%%00"])
def test_an_escaped_nul_is_refused_unless_nothing_is_normalized(sent: str) -> None:
    assert normalize_path(sent, NONE) == sent
    for option in (BASE, MERGE, DECODE):
        with pytest.raises(RefusedPathError, match="NUL"):
            normalize_path(sent, option)


def test_a_nul_in_the_parameters_of_dots_goes_with_them() -> None:
    assert normalize_path("/a/..;%00/b", BASE) == "/b"


@given(st.text(st.sampled_from("/.;%2eEfFcC5\\ax#?01"), max_size=20), st.sampled_from([BASE, MERGE, DECODE]))
def test_no_dot_segment_and_no_backslash_survives(rest: str, option: PathNormalization) -> None:
    try:
        target = normalize_path("/" + rest, option).partition("?")[0]
    except RefusedPathError:
        return
    assert target.startswith("/")
    assert "\\" not in target
    assert not {".", ".."} & set(target.split("/"))


@pytest.mark.parametrize("path", ["/é", "/\udcff", "/a/../é?é"])
def test_bytes_outside_ascii_get_their_escapes_in_the_path_and_only_there(path: str) -> None:
    assert normalize_path(path, PathNormalization.NONE) == path
    for option in set(PathNormalization) - {PathNormalization.NONE}:
        assert normalize_path(path, option) == {"/é": "/%C3%A9", "/\udcff": "/%FF", "/a/../é?é": "/%C3%A9?é"}[path]
