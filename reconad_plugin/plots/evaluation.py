"""Plots of an evaluation on labelled images: the rankings, the scores, and the worst mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from reconad_plugin.metrics.image import Scores, image_ap, image_auroc, label_scores
from reconad_plugin.plots.figures import BLUE, GREY, INK, ORANGE, new_axes
from reconad_plugin.plots.overlays import MAP_COLOURS

EXAMPLES_A_ROW: Final = 4
WHITE: Final = 255


@dataclass(frozen=True)
class Example:
    """One image beside its map."""

    picture: NDArray[np.uint8]  # (H, W, 3) uint8
    # (H', W') uint8 as it is served: the threshold is mid-grey. It is stretched over the picture.
    anomaly_map: NDArray[np.uint8]
    title: str  # over the picture, one short line
    map_title: str  # over the map


def plot_roc(normal: Scores, anomalous: Scores, false_alarms: int, found: int) -> Figure:
    """Plot recall over the false-positive rate for every threshold, with the labels that were
    given.

    Args:
        normal: (N,) scores of normal images.
        anomalous: (M,) scores of anomalous images.
        false_alarms: how many of the N were labelled anomalous.
        found: how many of the M were.
    """
    false_positive_rate, recall, _ = roc_curve(*label_scores(normal, anomalous))
    figure, axes = _unit_square("ROC of images", "false-positive rate", "recall")
    auroc = image_auroc(normal, anomalous)
    axes.plot(false_positive_rate, recall, color=BLUE, label=f"image_AUROC {auroc:.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="no better than a coin")
    _mark(axes, "fpr", false_alarms / len(normal), "recall", found / len(anomalous))
    axes.legend(frameon=False, loc="lower right")
    return figure


def plot_precision_recall(
    normal: Scores, anomalous: Scores, false_alarms: int, found: int
) -> Figure:
    """Plot precision over recall for every threshold; see ``plot_roc``.

    Without any alarm there is no precision to mark.
    """
    precision, recall, _ = precision_recall_curve(*label_scores(normal, anomalous))
    figure, axes = _unit_square("Precision and recall of images", "recall", "precision")
    label = f"image_AP {image_ap(normal, anomalous):.3f}"  # the area under these steps
    axes.plot(recall, precision, color=BLUE, drawstyle="steps-post", label=label)
    coin = len(anomalous) / (len(normal) + len(anomalous))
    axes.axhline(coin, color=GREY, linestyle=":", label="no better than a coin")
    if false_alarms + found:
        share_right = found / (false_alarms + found)
        _mark(axes, "recall", found / len(anomalous), "precision", share_right)
    axes.legend(frameon=False, loc="lower left")
    return figure


def plot_labelled_scores(normal: Scores, anomalous: Scores, thresholds: Sequence[float]) -> Figure:
    """Plot histograms of the scores of normal and of anomalous images, with the thresholds.

    Each of the two is a share of its own images, so that few images of one kind are seen beside
    many of the other.
    """
    figure, axes = new_axes(7, 3.2, "Scores by label", "pred_score", "share of its images")
    bins = np.histogram_bin_edges(np.concatenate([normal, anomalous, thresholds]), 40).tolist()
    for scores, colour, name in ((normal, BLUE, "normal"), (anomalous, ORANGE, "anomalous")):
        shares = np.full(len(scores), 1 / len(scores))
        label = f"{len(scores)} {name}"
        axes.hist(scores, bins, weights=shares, color=colour, alpha=0.6, label=label)
    for threshold in sorted(thresholds):
        axes.axvline(threshold, color=INK, linestyle="--", label=f"threshold {threshold:.3g}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(frameon=False)
    return figure


def plot_examples(examples: Sequence[Example], heading: str) -> Figure:
    """Plot each image, at least one, beside its map, four of these pairs a row."""
    pairs = min(len(examples), EXAMPLES_A_ROW)
    rows = -(-len(examples) // pairs)
    side_ratio = max(example.picture.shape[0] / example.picture.shape[1] for example in examples)
    size = (max(3.4 * pairs, 6), (1.65 * side_ratio + 0.3) * rows + 0.5)  # inches
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(heading, color=INK, fontsize=11)
    grid = figure.subplots(rows, 2 * pairs, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for (left, right), example in zip(grid.reshape(-1, 2), examples, strict=False):
        height, width = example.picture.shape[:2]
        left.imshow(example.picture)
        over_picture = (-0.5, width - 0.5, height - 0.5, -0.5)
        right.imshow(example.anomaly_map, cmap=MAP_COLOURS, vmin=0, vmax=WHITE, extent=over_picture)
        left.set_title(example.title, fontsize=9, color=INK, loc="left")
        right.set_title(example.map_title, fontsize=9, color=INK, loc="left")
    return figure


def _unit_square(title: str, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure, axes = new_axes(4.8, 4.8, title, xlabel, ylabel)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure, axes


def _mark(axes: Axes, x_name: str, x: float, y_name: str, y: float) -> None:
    """Mark where the threshold in force puts the labels."""
    label = f"at the threshold: {x_name} {x:.1%}, {y_name} {y:.1%}"
    axes.plot(x, y, "o", color=ORANGE, markersize=8, label=label, clip_on=False)
