"""The picture of what changes: which cells are marked, how, and that nothing in a name is obeyed."""

import re
from xml.etree import ElementTree as ET

import pytest

from authz.invariants import Assumed
from authz.mesh_config import MeshConfig
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.workload import Workload
from cli.overlay_svg import svg_of_overlays
from cli.reports.differences import headlines
from mesh.access import overlay as overlay_module
from mesh.access.matrix import TooLargeError
from mesh.access.overlay import overlays
from mesh.comparing import compare
from mesh.differences import told_of
from mesh.snapshot import Snapshot

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '</svg><script>"\\|`*&\x1b[2J\u202e'
WEB = Source(principals=("cluster.local/ns/shop/sa/web",))


def mesh(*rules: Rule, name: str = "p", denied: tuple[Rule, ...] = (), workload: str = "api") -> Snapshot:
    return Snapshot(
        policies=[
            Policy(namespace="shop", name=name, rules=rules, selector={"app": "api"}),
            *([Policy(namespace="shop", name="d", action=Action.DENY, rules=denied)] if denied else []),
        ],
        workloads=[
            Workload(namespace="shop", name=workload, labels={"app": "api"}, service_account="api"),
            Workload(namespace="shop", name="web", labels={"app": "web"}, service_account="web"),
        ],
        config=MeshConfig(),
        revision="r",
    )


def to(*paths: str, methods: tuple[str, ...] = (), source: Source | None = WEB) -> Rule:
    return Rule(sources=() if source is None else (source,), operations=(Operation(paths=paths, methods=methods),))


def picture(old: Snapshot, new: Snapshot) -> str:
    comparison = compare(old, new, assumed=Assumed())
    found = told_of(comparison, old, new)
    some = overlays(old, new, comparison.changed, assumed=Assumed())
    return svg_of_overlays(some, found, old=old, new=new, head=headlines(found))


def texts(svg: str) -> list[str]:
    return [str(each.text) for each in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  # written by us


def cells(svg: str) -> dict[tuple[str, str], str]:
    """What stands in each cell, by its row and its column."""
    root = ET.fromstring(svg)  # noqa: S314  # written by us

    def place(text: ET.Element) -> tuple[float, float]:
        return float(text.attrib["x"]), float(text.attrib["y"])

    heads = {
        place(text)[0]: str(text.text)
        for group in root.iter(f"{SVG}g")
        for text in group.iter(f"{SVG}text")
        if text.get("class") == "head"
    }
    rows = {place(text)[1]: str(text.text) for text in root.iter(f"{SVG}text") if text.get("class") == "route"}
    return {
        (rows[place(text)[1]], heads[place(text)[0]]): str(text.text)
        for group in root.iter(f"{SVG}g")
        if group.get("class", "").startswith("cell")
        for text in group.iter(f"{SVG}text")
    }


def in_words(svg: str) -> dict[tuple[str, str], str]:
    return {place: re.sub(r"[✓✗◐∅] |\d+ ?", "", text).strip() for place, text in cells(svg).items()}


def test_what_is_newly_allowed_is_marked_and_nothing_else_is() -> None:
    found = in_words(picture(mesh(to("/a")), mesh(to("/a"), to("/b"))))
    assert found["any /b", "shop/web"] == "+ allow (was deny)"
    assert found["any /a", "shop/web"] == "allow"
    assert [place for place, text in found.items() if "was" in text] == [("any /b", "shop/web")]


def test_what_only_the_older_version_names_has_its_row_and_its_column() -> None:
    ops = Source(namespaces=("ops",))
    found = in_words(picture(mesh(to("/a"), to("/gone", source=ops)), mesh(to("/a"))))
    assert found["any /gone", "namespace ops"] == "− deny (was allow)"  # noqa: RUF001
    assert found["any /gone", "shop/web"] == "deny"


def test_a_cell_in_which_some_is_allowed_and_some_denied_says_so() -> None:
    def when(value: str) -> Rule:
        return Rule(
            operations=(Operation(paths=("/a",)),),
            conditions=(Condition(key="request.headers[x-role]", values=(value,)),),
        )

    found = in_words(picture(mesh(when("one")), mesh(when("two"))))
    assert found["any /a", "everyone"] == "± depends (was depends)"


def test_what_depends_now_and_was_allowed_is_newly_denied() -> None:
    narrower = Rule(
        sources=(WEB,),
        operations=(Operation(paths=("/a",)),),
        conditions=(Condition(key="request.headers[x-role]", values=("one",)),),
    )
    found = in_words(picture(mesh(to("/a")), mesh(narrower)))
    assert found["any /a", "shop/web"] == "− depends (was allow)"  # noqa: RUF001


def test_what_no_cell_shows_is_told_below() -> None:
    crossed = to("/b/*")
    svg = picture(mesh(to("*.png"), crossed), mesh(to("*.png"), crossed, denied=(to("/b/*", methods=("GET",)),)))
    assert "not shown by any of these cells:" in texts(svg)
    below = " ".join(texts(svg)[texts(svg).index("not shown by any of these cells:") :])
    assert "− newly denied: " in below  # noqa: RUF001
    assert re.search(r"e\.g\. GET /b/\S*\.png to shop/api", below)


def test_where_every_change_has_its_cell_nothing_is_told_below() -> None:
    assert "not shown by any of these cells:" not in texts(picture(mesh(to("/a")), mesh(to("/a", "/b"))))


def test_workloads_for_which_nothing_changes_are_counted_in_a_line() -> None:
    found = texts(picture(mesh(to("/a")), mesh(to("/b"))))
    assert [each for each in found if each.startswith("not drawn")] == [
        "not drawn: 1 workload, for which nothing changes (proved)"
    ]
    assert sum("(sidecar)" in each for each in found) == 1


def test_two_versions_that_are_the_same_have_a_picture_too() -> None:
    svg = picture(mesh(to("/a")), mesh(to("/a")))
    assert texts(svg)[0] == "same: nothing changes for 2 workloads (proved)"
    assert not cells(svg)


def test_a_mark_is_more_than_a_colour_and_there_are_two_sets_of_colours() -> None:
    svg = picture(mesh(to("/a")), mesh(to("/b")))
    assert "prefers-color-scheme:dark" in svg
    assert any(text.startswith("+ ") and text.endswith("(was deny)") for text in cells(svg).values())
    assert ".changed .frame{stroke-width:" in svg


def test_nothing_in_a_name_is_markup_or_moves_a_cursor() -> None:
    old, new = (
        mesh(
            to(f"/{path}"),
            Rule(conditions=(Condition(key=f"request.headers[x{EVIL}]", values=("a",)),)),
            name=f"p{EVIL}",
            workload=f"api{EVIL}",
        )
        for path in ("a", '</svg>"|`&\u202e;')
    )
    svg = picture(old, new)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", svg)
    root = ET.fromstring(svg)  # noqa: S314  # written by us
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= {"svg", "title", "style", "rect", "g", "text"}
    across, down = (float(root.attrib[side]) for side in ("width", "height"))
    for each in root.iter(f"{SVG}rect"):
        if "x" in each.attrib:
            assert float(each.attrib["x"]) + float(each.attrib["width"]) <= across
            assert float(each.attrib["y"]) + float(each.attrib["height"]) <= down
    for each in root.iter(f"{SVG}text"):
        # The least that a letter of one width takes in the two sizes that there are.
        assert float(each.attrib["x"]) + 6.35 * len(str(each.text)) <= across + 1
        assert float(each.attrib["y"]) <= down


def test_a_picture_that_nobody_looks_at_is_refused_before_anything_is_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = mesh(to("/a")), mesh(to("/b"))
    comparison = compare(old, new, assumed=Assumed())
    monkeypatch.setattr(overlay_module, "MOST_CELLS", 3)
    with pytest.raises(TooLargeError, match="more than 3 cells; compare fewer workloads, or as text"):
        overlays(old, new, comparison.changed, assumed=Assumed())
