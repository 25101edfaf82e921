"""The plot of `docs/images`, light and dark: microseconds of a decision against the number of rules, ours beside each peer.

Run as `python -m benchmarks.apart.plots`, from the results that are kept. The same results give the same bytes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.contest import SIZES
from benchmarks.table import RESULTS

IMAGES = Path(__file__).parents[2] / "docs/images"
SHOWN = ("exact path", "path prefix", "mixed")
NAMES = {"meshward": "meshward", "envoy": "Envoy RBAC", "cedarpy": "Cedar", "casbin": "casbin"}
LEAST_APART = 0.25
"""Of a power of ten: labels that are nearer would touch."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours that stay apart for the colour-blind, after Okabe and Ito, on a ground that is not drawn."""

    name: str
    text: str
    grid: str
    lines: dict[str, str]


THEMES = (
    Theme(
        "light",
        "#1f2328",
        "#d0d7de",
        {"meshward": "#0072b2", "envoy": "#9a4f84", "cedarpy": "#b34700", "casbin": "#007a5a"},
    ),
    Theme(
        "dark",
        "#e6edf3",
        "#3d444d",
        {"meshward": "#56b4e9", "envoy": "#e39bc7", "cedarpy": "#f0a04b", "casbin": "#2fc79b"},
    ),
)


def main() -> None:
    """Draw both."""
    mpl.rcParams.update({"svg.hashsalt": "meshward", "svg.fonttype": "none", "font.family": "sans-serif"})
    sets = json.loads((RESULTS / "contest.json").read_text())["result"]["sets"]
    for theme in THEMES:
        figure = Figure(figsize=(10.5, 4.2), layout="constrained")
        axes = figure.subplots(1, len(SHOWN), sharey=True)
        for one, name in zip(axes, SHOWN, strict=True):
            _draw(one, name, sets[name], theme)
        axes[0].set_ylabel("µs a decision, median", color=theme.text)
        figure.savefig(IMAGES / f"decide-{theme.name}.svg", transparent=True, metadata={"Date": None})


def _draw(axes: Axes, name: str, sizes: dict[str, dict[str, dict[str, float]]], theme: Theme) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = {}
    for engine, label in NAMES.items():
        times = [sizes[str(size)][engine]["p50_us"] for size in SIZES]
        own = engine == "meshward"
        axes.plot(SIZES, times, color=theme.lines[engine], marker="o", markersize=4, linewidth=3 if own else 1.6)
        ends[label] = (times[-1], theme.lines[engine])
    at = 0.0
    for label, (last, colour) in sorted(ends.items(), key=lambda end: end[1]):
        at = max(last, at * 10**LEAST_APART)
        axes.annotate(
            label,
            (SIZES[-1], at),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            weight="bold" if label == "meshward" else "normal",
        )
    axes.set_xlim(SIZES[0] * 0.8, SIZES[-1] * 30)
    axes.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    axes.minorticks_off()
    axes.set_ylim(0.5, 200_000)
    axes.set_yticks([1, 10, 100, 1_000, 10_000, 100_000], ["1", "10", "100", "1,000", "10,000", "100,000"])
    axes.set_title(name, color=theme.text, loc="left")
    axes.set_xlabel("rules", color=theme.text)
    axes.grid(visible=True, color=theme.grid, linewidth=0.6)
    axes.tick_params(colors=theme.text, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


if __name__ == "__main__":
    main()
