"""A picture shows what led to a decision, however large the tree, and is a document that anybody's viewer takes."""

from io import StringIO
from xml.etree import ElementTree as ET

import pytest

from authz.attributes import Protocol
from authz.mesh_config import MeshConfig
from authz.model import Condition, Operation, Policy, Rule
from authz.trail import Trail, follow
from authz.tree import DecisionTree, compile_policies
from benchmarks.adversarial import SETS, Set
from cli.picture import Kind, Mark, Twig, picture
from cli.picture_svg import svg_of
from cli.picture_text import print_twigs
from mesh.snapshot import Snapshot

SIZE = 1000


def drawn(policies: tuple[Policy, ...], tree: DecisionTree, trail: Trail | None) -> Twig:
    snapshot = Snapshot(policies=policies, workloads=(), config=MeshConfig(), revision="r")
    return picture("shop/api", tree.root(Protocol.HTTP), snapshot, trail)


def every(twig: Twig) -> list[Twig]:
    return [twig, *(each for below in twig.twigs for each in every(below))]


def text_of(twig: Twig) -> str:
    out = StringIO()
    print_twigs([twig], out, colour=False)
    return out.getvalue()


@pytest.mark.parametrize("rules", SETS, ids=lambda rules: rules.name)
def test_the_picture_of_a_tree_is_small_and_shows_what_decides(rules: Set) -> None:
    policies = rules.policies(SIZE)
    tree = compile_policies(policies, trust_domains=("cluster.local",))
    for attributes in (None, *rules.requests(SIZE).values()):
        trail = None if attributes is None else follow(tree, attributes)
        twig = drawn(policies, tree, trail)
        twigs = every(twig)
        assert len(twigs) < 400
        deciding = 0 if trail is None else len(trail.deciding)
        assert sum(each.mark is Mark.DECIDES for each in twigs) >= deciding
        assert (twig.mark is Mark.LEADS) is (deciding > 0)
        assert max(map(len, text_of(twig).splitlines())) < 2000
        ET.fromstring(svg_of([twig]))  # noqa: S314  # our own


def test_nothing_in_a_policy_becomes_markup_or_moves_a_cursor() -> None:
    evil = "/<script>&\"'\x1b[2J\u202e"
    rules = (
        Rule(
            operations=(Operation(paths=(evil,)),),
            conditions=(Condition(key="request.headers[\x1b[2J<b>]", values=("a",)),),
        ),
    )
    policies = (Policy(namespace="shop", name="<b>", rules=rules),)
    twig = drawn(policies, compile_policies(policies, trust_domains=("cluster.local",)), None)
    text, svg = text_of(twig), svg_of([twig])
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script" not in svg
    assert "<b>" not in svg
    ET.fromstring(svg)  # noqa: S314  # our own


def test_an_svg_says_in_full_what_its_boxes_cut_short_and_fetches_nothing() -> None:
    svg = svg_of([Twig(Kind.ROOT, "a" * 500, "b" * 500)])
    assert "a" * 500 in svg
    assert "b" * 500 in svg
    assert "prefers-color-scheme:dark" in svg
    assert "url(" not in svg
    assert "href" not in svg
