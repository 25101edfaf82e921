"""SPIFFE-ID standard, section 2, clause by clause."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from identity import IdentityError, InvalidSpiffeIdError, InvalidTrustDomainError, SpiffeId, TrustDomain

VECTORS = Path(__file__).parents[2] / "vectors" / "spiffe_id"
VALID = yaml.safe_load((VECTORS / "valid.yaml").read_text(encoding="utf-8"))
INVALID = yaml.safe_load((VECTORS / "invalid.yaml").read_text(encoding="utf-8"))

IN_TRUST_DOMAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")
IN_SEGMENT = IN_TRUST_DOMAIN | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

CLUSTER = TrustDomain.parse("cluster.local")


def is_spiffe_id(text: str) -> bool:
    try:
        SpiffeId.parse(text)
    except InvalidSpiffeIdError:
        return False
    return True


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: repr(vector["id"]))
def test_a_canonical_id_parses_into_its_parts(vector: dict[str, str]) -> None:
    spiffe_id = SpiffeId.parse(vector["id"])
    assert (str(spiffe_id.trust_domain), spiffe_id.path) == (vector["trust_domain"], vector["path"])
    assert str(spiffe_id) == vector["id"]


@pytest.mark.parametrize("vector", INVALID, ids=lambda vector: repr(vector["id"]))
def test_what_is_no_canonical_id_is_refused_with_the_reason(vector: dict[str, str]) -> None:
    with pytest.raises(InvalidSpiffeIdError) as caught:
        SpiffeId.parse(vector["id"])
    assert vector["reason"] in caught.value.reason
    assert caught.value.text == vector["id"]


def test_a_trust_domain_has_only_the_characters_of_the_standard() -> None:
    # 256 code points, and with them every byte that Latin-1 could have been read from.
    taken = {code for code in range(256) if is_spiffe_id(f"spiffe://a{chr(code)}b/p") and chr(code) != "/"}
    assert taken == IN_TRUST_DOMAIN


def test_a_path_segment_has_only_the_characters_of_the_standard() -> None:
    taken = {code for code in range(256) if is_spiffe_id(f"spiffe://td/a{chr(code)}b") and chr(code) != "/"}
    assert taken == IN_SEGMENT


def test_a_name_may_not_end_in_any_other_character_either() -> None:
    assert {code for code in range(256) if is_spiffe_id(f"spiffe://td{chr(code)}")} == IN_TRUST_DOMAIN
    assert {code for code in range(256) if is_spiffe_id(f"spiffe://td/a{chr(code)}")} == IN_SEGMENT


def test_a_trust_domain_parses_alone_by_the_same_alphabet() -> None:
    for code in set(range(256)) - IN_TRUST_DOMAIN:
        with pytest.raises(InvalidTrustDomainError) as caught:
            TrustDomain.parse(f"td{chr(code)}")
        assert caught.value.text == f"td{chr(code)}"
    for code in IN_TRUST_DOMAIN:
        assert str(TrustDomain.parse(f"td{chr(code)}")) == f"td{chr(code)}"


@pytest.mark.parametrize("text", ["", "spiffe://td", "td/path", "Td", "td\n", "\u2170"])
def test_what_is_no_trust_domain_is_refused(text: str) -> None:
    with pytest.raises(InvalidTrustDomainError):
        TrustDomain.parse(text)


def test_a_trust_domain_of_255_bytes_is_the_longest() -> None:
    assert str(TrustDomain.parse("a" * 255)) == "a" * 255
    with pytest.raises(InvalidTrustDomainError, match="longer than 255 bytes"):
        TrustDomain.parse("a" * 256)
    with pytest.raises(InvalidSpiffeIdError, match="longer than 255 bytes"):
        SpiffeId.parse("spiffe://" + "a" * 256 + "/p")


def test_an_id_of_2048_bytes_is_the_longest() -> None:
    longest = "spiffe://td/" + "a" * (2048 - len("spiffe://td/"))
    assert len(str(SpiffeId.parse(longest))) == 2048
    with pytest.raises(InvalidSpiffeIdError, match="longer than 2048 bytes"):
        SpiffeId.parse(longest + "a")


def test_an_id_with_the_longest_trust_domain_may_be_as_long_as_any() -> None:
    start = "spiffe://" + "t" * 255 + "/"
    assert is_spiffe_id(start + "a" * (2048 - len(start)))
    with pytest.raises(InvalidSpiffeIdError):
        SpiffeId.parse(start + "a" * (2049 - len(start)))


def test_values_cannot_be_made_around_the_parser() -> None:
    with pytest.raises(InvalidTrustDomainError):
        TrustDomain("Cluster.local")
    with pytest.raises(InvalidSpiffeIdError, match="does not begin with a slash"):
        SpiffeId(CLUSTER, "ns/shop")
    with pytest.raises(InvalidSpiffeIdError, match="dot segment"):
        dataclasses.replace(SpiffeId.parse("spiffe://td/a"), path="/..")


def test_values_are_frozen_and_compare_by_content() -> None:
    one, other = SpiffeId.parse("spiffe://td/a"), SpiffeId.parse("spiffe://td/a")
    assert {one} == {other}
    assert one != SpiffeId.parse("spiffe://td/A")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.path = "/b"  # type: ignore[misc]  # the point of the test


def test_a_trust_domain_has_an_id_without_a_path() -> None:
    assert str(CLUSTER.id) == "spiffe://cluster.local"
    assert SpiffeId.parse(str(CLUSTER.id)) == CLUSTER.id


def test_a_workload_is_named_as_istio_names_it() -> None:
    spiffe_id = SpiffeId.for_workload(CLUSTER, namespace="shop", service_account="web")
    assert str(spiffe_id) == "spiffe://cluster.local/ns/shop/sa/web"
    assert spiffe_id.workload == ("shop", "web")
    assert spiffe_id.workload.service_account == "web"


@pytest.mark.parametrize("name", ["", ".", "..", "a/sa/b", "a/b", "/", "a\n", "a b", "é"])
def test_a_workload_named_with_more_or_less_than_a_segment_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpiffeIdError):
        SpiffeId.for_workload(CLUSTER, namespace=name, service_account="web")
    with pytest.raises(InvalidSpiffeIdError):
        SpiffeId.for_workload(CLUSTER, namespace="shop", service_account=name)


@pytest.mark.parametrize(
    "path",
    ["", "/ns/shop", "/ns/shop/sa", "/ns/shop/sa/web/x", "/x/ns/shop/sa/web", "/NS/shop/sa/web", "/sa/web/ns/shop"],
)
def test_a_path_of_another_shape_names_no_istio_workload(path: str) -> None:
    assert SpiffeId(CLUSTER, path).workload is None


def test_an_error_shows_strange_input_on_one_short_line() -> None:
    with pytest.raises(IdentityError) as caught:
        SpiffeId.parse("spiffe://td/a\nforged log line" + "x" * 5000)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
