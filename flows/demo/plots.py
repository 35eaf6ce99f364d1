"""The demo's plots: how the nights went."""

from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flows.demo.plan import DemoNight
from reconad_plugin.plots.figures import BLUE, GREY, INK, ORANGE

CAUSE_COLOURS: Final = {
    "light": "#e0a400",
    "defects": ORANGE,
    "process": "#7b5bb5",
    "camera": "#2f8f83",
    "unclear": "#8a6d5a",
}


def plot_story(nights: list[DemoNight], manifests: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Plot light, scores and suspects of every image over the nights, with alarms and versions.

    Args:
        nights: the rows of the demo's table.
        manifests: accepted images of all nights, with ``night`` and ``luminance``.
        scores: score tables of all watched nights, with ``is_pitted`` from the labels.
    """
    figure = Figure(figsize=(12, 10), layout="constrained")
    light, score, share = figure.subplots(3, 1, sharex=True)
    index = {row.night: number for number, row in enumerate(nights)}

    _dots(light, manifests, index, "luminance", GREY)
    means = manifests.groupby("night")["luminance"].mean()
    light.plot([index[night] for night in means.index], means, color=INK, label="night mean")
    light.set_ylabel("brightness")
    light.legend(frameon=False, loc="lower left")

    _dots(score, scores[~scores["is_pitted"]], index, "pred_score", BLUE, "no pitting by label")
    _dots(score, scores[scores["is_pitted"]], index, "pred_score", ORANGE, "pitting by label")
    for version, rows in scores.groupby("model_version"):
        span = [index[night] for night in rows["night"].unique()]
        threshold = rows["image_threshold"].iloc[0]
        ends = [min(span) - 0.5, max(span) + 0.5]
        score.plot(ends, [threshold] * 2, color=INK, linewidth=1.5)
        start, name = (ends[0], threshold), f"threshold v{version}"
        score.annotate(name, start, (2, 3), textcoords="offset points")
    score.set(ylabel="score", yscale="log")
    score.legend(frameon=False, loc="upper left")

    watched = scores.groupby("night")[["is_suspect", "is_pitted"]].mean()
    at = np.array([index[night] for night in watched.index])
    pitted, suspects = "pitted by label (not shown to it)", "suspects named by reconad"
    share.bar(at - 0.2, watched["is_pitted"], 0.4, color=GREY, label=pitted)
    share.bar(at + 0.2, watched["is_suspect"], 0.4, color=BLUE, label=suspects)
    share.set(ylabel="share of the night's images", ylim=(0, 1.05))
    share.legend(frameon=False, loc="upper left")

    for axes in (light, score, share):
        _mark_nights(axes, nights)
    share.set_xticks(range(len(nights)), [row.night[5:] for row in nights])
    _name_events(light, nights)
    return figure


def _dots(
    axes: Axes, rows: pd.DataFrame, index: dict[str, int], column: str, colour: str, label: str = ""
) -> None:
    spread = np.random.default_rng(0).uniform(-0.25, 0.25, len(rows))
    at = rows["night"].map(index).to_numpy() + spread
    axes.plot(at, rows[column], ".", color=colour, markersize=4, alpha=0.6, label=label or None)


def _mark_nights(axes: Axes, nights: list[DemoNight]) -> None:
    for number, row in enumerate(nights):
        if row.is_alarm:
            colour = CAUSE_COLOURS[row.cause]
            axes.axvspan(number - 0.5, number + 0.5, color=colour, alpha=0.15, linewidth=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(-0.5, len(nights) - 0.5)


def _name_events(axes: Axes, nights: list[DemoNight]) -> None:
    """Cause and promotion of each night above the first plot."""
    before = "-"
    for number, row in enumerate(nights):
        words = list(row.causes)
        if row.champion != before:
            words.append(f"v{row.champion} serves")
            before = row.champion
        style: dict[str, Any] = {"ha": "center", "fontsize": 9, "color": INK}
        style |= {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate("\n".join(words), (number, 1.0), (0, 6), **style)
