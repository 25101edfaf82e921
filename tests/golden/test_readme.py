"""The picture of the demo in the README is of the demo as it is."""

import re

from demo.scenes import SCENES, Scene
from tests.golden.transcripts import ROOT


def test_the_readme_shows_every_scene_of_the_demo_in_order() -> None:
    table = re.search(r"^```text\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    assert table is not None
    # A cell that wraps goes on in the next row; a scene's row has the verdict twice, expected and got.
    rows = [line for line in table[1].splitlines() if re.search(r"  (ALLOW|DENY)  ", line)]
    assert len(rows) == len(SCENES)
    for row, scene in zip(rows, SCENES, strict=True):
        assert shows(row, scene), f"{row}\n{scene}"


def shows(row: str, scene: Scene) -> bool:
    who, what, expected, got, *rest = re.split(r" {2,}", row.strip())
    decided = f"{scene.expected.policy}#{scene.expected.rule}" if scene.expected.policy else ""
    return (
        who == scene.caller.value
        and str(scene.call).startswith(what)
        and expected == got == scene.expected.verdict.value
        and any(decided in cell for cell in rest)
    )
