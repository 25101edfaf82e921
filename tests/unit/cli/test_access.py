"""However the matrix and the graph are printed, they say the same, and nothing in a name is obeyed."""

import re
from collections.abc import Callable
from io import StringIO
from xml.etree import ElementTree as ET

import pytest

from authz.mesh_config import MeshConfig
from authz.model import Condition, Operation, Policy, Rule, Source
from authz.workload import Workload
from cli.graph import document_of_graph, dot_of, mermaid_of, text_of_graph
from cli.graph_svg import svg_of_graph
from cli.matrix import document_of_matrix, markdown_of, print_sheets, sheet_of
from cli.matrix_svg import svg_of_sheets
from cli.picture import Kind, Twig
from cli.picture_graphs import dot_of_twigs, mermaid_of_twigs
from mesh.access.graph import Graph, graph
from mesh.access.matrix import matrices
from mesh.snapshot import Snapshot

EVIL = '</svg><script>"\\|`*&\x1b[2J\u202e'
IN_PATHS = '</svg>"|`&\u202e;'
"""As far as a path may hold it."""


def mesh(evil: str = "") -> Snapshot:
    """Somebody may call the API, and everybody sees one page of it."""
    rules = (
        Rule(
            sources=(Source(principals=("cluster.local/ns/shop/sa/web",)),),
            operations=(Operation(methods=("GET",), paths=(f"/items{evil and IN_PATHS}",)),),
        ),
        Rule(
            sources=(Source(namespaces=("ops",)),),
            conditions=(Condition(key=f"request.headers[x-role{evil}]", values=("a",)),),
        ),
        Rule(operations=(Operation(paths=("/open",)),)),
    )
    return Snapshot(
        policies=[Policy(namespace="shop", name=f"p{evil}", rules=rules)],
        workloads=[
            Workload(namespace="shop", name=f"api{evil}", service_account=f"api{evil}", ports=(8080,)),
            Workload(namespace="shop", name="web", service_account="web"),
        ],
        config=MeshConfig(),
        revision="r",
    )


def text_of(snapshot: Snapshot, *, colour: bool = False) -> str:
    out = StringIO()
    print_sheets([sheet_of(each, snapshot) for each in matrices(snapshot)], out, colour=colour)
    return out.getvalue()


def markdown(snapshot: Snapshot) -> str:
    return markdown_of(sheet_of(each, snapshot) for each in matrices(snapshot))


def matrix_svg(snapshot: Snapshot) -> str:
    return svg_of_sheets([sheet_of(each, snapshot) for each in matrices(snapshot)])


def of_graph(how: Callable[[Graph], str]) -> Callable[[Snapshot], str]:
    return lambda snapshot: how(graph(snapshot, matrices(snapshot)))


FORMS: dict[str, Callable[[Snapshot], str]] = {
    "text": text_of,
    "markdown": markdown,
    "matrix svg": matrix_svg,
    "graph text": of_graph(text_of_graph),
    "dot": of_graph(dot_of),
    "mermaid": of_graph(mermaid_of),
    "graph svg": of_graph(svg_of_graph),
}


@pytest.mark.parametrize("form", FORMS)
def test_nothing_in_a_name_moves_a_cursor(form: str) -> None:
    said = FORMS[form](mesh(EVIL))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", said)
    assert "items" in said


@pytest.mark.parametrize("form", ["matrix svg", "graph svg"])
def test_a_picture_is_a_document_with_all_its_words_in_it(form: str) -> None:
    svg = FORMS[form](mesh(EVIL))
    root = ET.fromstring(svg)  # noqa: S314  # our own
    assert {each.tag.rpartition("}")[2] for each in root.iter()} <= {
        "svg",
        "title",
        "style",
        "rect",
        "g",
        "text",
        "path",
    }
    assert "prefers-color-scheme:dark" in svg
    across, down = (float(root.attrib[side]) for side in ("width", "height"))
    for each in root.iter():
        if "x" in each.attrib:
            assert 0 <= float(each.attrib["x"]) <= across
            assert 0 <= float(each.attrib["y"]) <= down
    for each in root.iter("{http://www.w3.org/2000/svg}rect"):
        if "x" in each.attrib:
            assert float(each.attrib["x"]) + float(each.attrib["width"]) <= across
            assert float(each.attrib["y"]) + float(each.attrib["height"]) <= down


def test_boxes_of_a_graph_do_not_lie_on_each_other() -> None:
    root = ET.fromstring(FORMS["graph svg"](mesh()))  # noqa: S314  # our own
    boxes = [
        tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        for group in root.iter("{http://www.w3.org/2000/svg}g")
        if "node" in group.attrib["class"]
        for rect in group.iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert len(boxes) == 3
    for place, (x, y, width, height) in enumerate(boxes):
        for left, top, its_width, its_height in boxes[place + 1 :]:
            assert x + width <= left or left + its_width <= x or y + height <= top or top + its_height <= y


@pytest.mark.parametrize("form", ["matrix svg", "text", "markdown"])
def test_a_cell_says_in_words_what_its_colour_says(form: str) -> None:
    said = FORMS[form](mesh())
    assert all(re.search(rf"\b{word}\b", said) for word in ("allow", "deny", "depends"))


def test_colours_are_for_terminals_and_change_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = text_of(mesh(), colour=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text_of(mesh())
    assert "\x1b[" in coloured


def test_a_table_of_markdown_has_as_many_cells_in_each_row() -> None:
    rows = [line for line in markdown(mesh(EVIL)).splitlines() if line.startswith("|")]
    assert len(rows) > 4
    counts = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(counts) <= 2  # a table for each of two workloads


def test_dot_and_mermaid_quote_what_would_end_a_text() -> None:
    snapshot = mesh(EVIL)
    for line in FORMS["dot"](snapshot).splitlines():
        assert len(re.findall(r'(?<!\\)(?:\\\\)*"', line)) % 2 == 0
    for line in FORMS["mermaid"](snapshot).splitlines():
        assert line.count('"') in (0, 2)
        assert "<script" not in line


def test_the_documents_have_what_the_pictures_have() -> None:
    snapshot = mesh()
    (api, _) = matrices(snapshot)
    document = document_of_matrix(api, snapshot)
    assert document["workloads"] == ["shop/api"]
    assert len(document["cells"]) == len(document["routes"]) == len(api.routes)
    web = next(n for n, group in enumerate(document["callers"]) if group[0]["name"] == "shop/web")
    items = next(n for n, route in enumerate(document["routes"]) if route["name"] == "GET /items")
    cell = document["cells"][items][web]
    assert (cell["answer"], cell["by"]["policy"], cell["by"]["rule"], cell["denied"]) == ("allow", "shop/p", 0, None)
    assert cell["allowed"]["request"]["path"] == "/items"
    assert cell["allowed"]["source"] == {"principal": "spiffe://cluster.local/ns/shop/sa/web"}
    whole = document_of_graph(graph(snapshot, [api]))
    assert whole["edges"] == [
        {
            "source": "namespace ops",
            "target": "shop/api",
            "allowed": ["any /open"],
            "depends": whole["edges"][0]["depends"],
        },
        {"source": "shop/web", "target": "shop/api", "allowed": ["GET /items", "any /open"], "depends": []},
    ]


def test_trees_are_written_for_graphviz_and_mermaid() -> None:
    tree = Twig(Kind.ROOT, 'a"b', twigs=(Twig(Kind.ALLOW, "ALLOW p#0", "if x"), Twig(Kind.DENY, "DENY q#0")))
    assert dot_of_twigs([tree]).splitlines()[3:] == [
        '  n0 [label="a\\"b", shape="oval"];',
        '  n1 [label="ALLOW p#0\\nif x", shape="box"];',
        "  n0 -> n1;",
        '  n2 [label="DENY q#0", shape="box"];',
        "  n0 -> n2;",
        "}",
    ]
    assert mermaid_of_twigs([tree]).splitlines()[1:4] == [
        '  n0(["a#34;b"])',
        '  n1["ALLOW p#35;0<br/>if x"]',
        "  n0 --> n1",
    ]
