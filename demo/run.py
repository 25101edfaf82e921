"""The demo: the shop is started, every scene is played, one row each says what was expected and what came."""

import tempfile
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from authz.decision import Verdict
from demo.scenes import SCENES, Edit, Expected, Scene, StopServer
from demo.shop import Outcome, Shop

__all__ = ["is_as_expected", "play", "run"]


# Narrower terminals show the deciding rule below the call that it decided.
_WIDE = 120


def run(console: Console) -> bool:
    """Play all scenes and print them; say whether everything was as expected.

    However this ends, no process is left. The directory stays, private, only where this process is killed outright.

    Raises:
        DemoError: a part did not come up, or ended.
        OSError: a part did not answer.
    """
    # The directory goes last: Envoy reads and writes there until it is gone.
    with tempfile.TemporaryDirectory(prefix="meshward-") as directory:
        with console.status("starting an authority, meshward and four Envoys"):
            shop = Shop(Path(directory))
        with shop:
            good = _play_all(console, shop)
    console.print(f"{good} of {len(SCENES)} as expected", style="bold green" if good == len(SCENES) else "bold red")
    return good == len(SCENES)


def play(scene: Scene, shop: Shop) -> Outcome:
    """Let happen what the scene says, then make its call.

    Raises:
        DemoError: a part of the shop ended.
        OSError: a part of it did not answer.
    """
    match scene.before:
        case Edit(file, old, new, _):
            shop.edit(file, old, new)
        case StopServer():
            shop.server.stop()
        case None:
            pass
    return shop.ask(scene.caller, scene.call)


def _play_all(console: Console, shop: Shop) -> int:
    """How many of the scenes went as expected. What was played is printed even if a later scene breaks off."""
    wide = console.width >= _WIDE
    table = _table(wide=wide)
    good = 0
    try:
        for scene in SCENES:
            with console.status(Text(f"{scene.caller.value}: {scene.call}")):
                outcome = play(scene, shop)
            if scene.before is not None:
                table.add_section()
                table.add_row("", Text(str(scene.before), style="italic"))
            table.add_row(*_row(scene, outcome, wide=wide))
            good += is_as_expected(scene.expected, outcome)
    finally:
        console.print(table)
    return good


def is_as_expected(expected: Expected, outcome: Outcome) -> bool:
    """Whether both the verdict and what decided it are as they should be."""
    return expected == Expected(outcome.verdict, outcome.policy, outcome.rule)


def _table(*, wide: bool) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, title="policies/shop, decided by meshward in front of real Envoys", pad_edge=False
    )
    # Folded, on a narrow terminal: a path that ends in dots would be one of our own making.
    table.add_column("who", overflow="fold")
    table.add_column("what" if wide else "what, and decided by", overflow="fold")
    for name in ("expected", "got"):
        table.add_column(name, no_wrap=True)
    table.add_column("status", justify="right", no_wrap=True)
    if wide:
        table.add_column("decided by", overflow="fold")
    table.add_column("added", justify="right", no_wrap=True)
    return table


def _row(scene: Scene, outcome: Outcome, *, wide: bool) -> list[str | Text]:
    good = is_as_expected(scene.expected, outcome)
    what, decided_by = Text(str(scene.call)), Text(_deciding(outcome))
    return [
        scene.caller.value,
        what if wide else Text("\n").join([what, Text("→ ") + decided_by]),
        scene.expected.verdict.value,
        Text(outcome.verdict.value if good else f"{outcome.verdict.value} ✗", style=_style(outcome, good=good)),
        "closed" if outcome.status is None and outcome.verdict is Verdict.DENY else str(outcome.status or ""),
        *([decided_by] if wide else []),
        "" if outcome.check_us is None else f"{outcome.check_us / 1000:.1f} ms",
    ]


def _style(outcome: Outcome, *, good: bool) -> str:
    if not good:
        return "bold red reverse"
    return "green" if outcome.verdict is Verdict.ALLOW else "red"


def _deciding(outcome: Outcome) -> str:
    if outcome.policy is None:
        return outcome.reason
    return f"{outcome.policy}#{outcome.rule}"
