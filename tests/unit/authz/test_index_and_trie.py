"""The index and the trie, against trying one matcher after the other."""

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.attributes import Value
from authz.index import Index
from authz.matcher import Matcher, Namespace, matches
from authz.trie import Trie
from tests.unit.authz import strategies as some

law = settings(max_examples=600)
prefixes = st.text(alphabet="ab/*", max_size=6)


@law
@given(st.lists(prefixes, max_size=12, unique=True), prefixes)
def test_a_trie_finds_every_prefix_of_a_text_and_no_other(keys: list[str], text: str) -> None:
    lanes = {key: 1 << number for number, key in enumerate(keys)}
    found = Trie(lanes).lookup(text)
    assert found == sum(bit for key, bit in lanes.items() if text.startswith(key))


def test_prefixes_of_each_other_may_be_ten_thousand_deep() -> None:
    depth = 10_000
    trie = Trie({"a" * length: 1 << length for length in range(depth)})
    assert trie.lookup("a" * (depth - 1)) == (1 << depth) - 1
    assert trie.lookup("aab") == 0b111


@law
@given(st.lists(some.matchers, max_size=8, unique=True), st.lists(some.values, max_size=3))
def test_an_index_finds_what_trying_each_matcher_finds(matchers: list[Matcher], values: list[Value]) -> None:
    lanes = {matcher: 1 << number for number, matcher in enumerate(matchers)}
    expected = sum(bit for matcher, bit in lanes.items() if any(matches(matcher, value) for value in values))
    assert Index(lanes).lookup(tuple(values)) == expected


def test_a_namespace_with_a_newline_in_it_is_found_like_any_other() -> None:
    assert Index({Namespace(("a\nb",)): 1}).lookup(("spiffe://td/ns/a\nb/sa/c",)) == 1
