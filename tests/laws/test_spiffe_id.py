"""Laws of SPIFFE IDs: the parser is total, it round-trips, and its alphabet is closed."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from identity import InvalidSpiffeIdError, InvalidTrustDomainError, SpiffeId, TrustDomain

# Written from the standard's grammar, apart from the parser's own expressions.
STANDARD = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)*")

trust_domains = st.from_regex(r"[a-z0-9._-]{1,40}", fullmatch=True)
segments = st.from_regex(r"[A-Za-z0-9._-]{1,20}", fullmatch=True).filter(lambda segment: segment not in {".", ".."})
paths = st.lists(segments, max_size=8).map(lambda parts: "".join(f"/{part}" for part in parts))
spiffe_ids = st.builds(lambda trust_domain, path: f"spiffe://{trust_domain}{path}", trust_domains, paths)

bytes_as_text = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
anything = st.one_of(
    st.text(max_size=40),
    bytes_as_text,
    st.text(alphabet="spife:/td.ns%A\n\0é", max_size=20),
    st.builds("spiffe://{}/{}".format, st.text(max_size=10), bytes_as_text),
    spiffe_ids,
)


@given(anything)
@example("spiffe://td.example/a\n")
@example("spiffe://td.example\n")
@example("spiffe://td/\udc80")
def test_any_text_is_an_id_by_the_standard_or_raises_the_one_error(text: str) -> None:
    by_the_standard = STANDARD.fullmatch(text) is not None
    try:
        spiffe_id = SpiffeId.parse(text)
    except InvalidSpiffeIdError as error:
        str(error).encode("utf-8")  # an error that cannot be logged would hide the attempt
        assert (by_the_standard, error.text) == (False, text)  # noqa: PT017  # a law has both outcomes
    else:
        assert by_the_standard
        assert str(spiffe_id) == text


@given(anything)
def test_any_text_is_a_trust_domain_or_raises_the_one_error(text: str) -> None:
    try:
        trust_domain = TrustDomain.parse(text)
    except InvalidTrustDomainError as error:
        str(error).encode("utf-8")
    else:
        assert str(trust_domain) == text
        assert SpiffeId.parse(f"spiffe://{text}") == trust_domain.id


@given(spiffe_ids)
def test_printing_inverts_parsing(text: str) -> None:
    assert str(SpiffeId.parse(text)) == text
    assert SpiffeId.parse(str(SpiffeId.parse(text))) == SpiffeId.parse(text)


@given(spiffe_ids, spiffe_ids)
def test_two_ids_are_equal_exactly_if_their_texts_are(one: str, other: str) -> None:
    assert (SpiffeId.parse(one) == SpiffeId.parse(other)) == (one == other)


@given(spiffe_ids, st.integers(min_value=0), st.characters(exclude_characters="/"))
def test_no_other_character_is_let_in_anywhere(text: str, place: int, character: str) -> None:
    place %= len(text) + 1
    changed = text[:place] + character + text[place:]
    try:
        SpiffeId.parse(changed)
    except InvalidSpiffeIdError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._-]", character)


@given(trust_domains, segments, segments)
def test_a_workload_name_survives_the_id_made_of_it(trust_domain: str, namespace: str, service_account: str) -> None:
    spiffe_id = SpiffeId.for_workload(
        TrustDomain.parse(trust_domain),
        namespace=namespace,
        service_account=service_account,
    )
    assert SpiffeId.parse(str(spiffe_id)).workload == (namespace, service_account)
