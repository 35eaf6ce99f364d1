"""Plots that people look at: the loss, and where a detector sees anomalies."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.detector.detector import TORCH, Detector
from reconad_plugin.detector.torch_engine import reconstruct
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.images.geometry import resize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.plots.overlays import MAP_COLOURS
from reconad_plugin.training.report import Progress

INK, BLUE, ORANGE, GREY = "#1b2733", "#2b6cb0", "#d9622b", "#98a4ae"
MOST_STRETCHED: Final = 2  # root of length over breadth of a picture in a grid
TITLE_INCHES: Final = 0.28  # between the rows of a grid


def plot_loss(curve: list[Progress], title: str) -> Figure:
    """Plot the loss of training and of held-out images over the steps."""
    figure, axes = new_axes(7, 3.6, title, "step", "loss")
    axes.set_yscale("log")
    steps = [point.step for point in curve]
    axes.plot(steps, [point.loss for point in curve], color=GREY, label="training batch")
    held_out = [point.held_out_loss or float("nan") for point in curve]
    axes.plot(steps, held_out, color=BLUE, label="held out")
    axes.legend(frameon=False)
    names = [point.phase for point in curve]
    for index in range(len(curve)):  # each phase has a loss of its own
        if index and names[index] != names[index - 1]:
            axes.axvline((steps[index - 1] + steps[index]) / 2, color=INK, linewidth=0.6)
    for name in dict.fromkeys(names) if len(set(names)) > 1 else ():
        axes.text(steps[names.index(name)], 0.98, name, transform=axes.get_xaxis_transform())
    return figure


def plot_maps(detector: Detector, images: Pictures, titles: list[str], heading: str = "") -> Figure:
    """Plot (N, 3, S, S) images, their reconstructions where PyTorch scores, and anomaly maps, one
    column an image.

    Pixels above the pixel threshold are outlined in the map, and its title is the score.
    """
    scores = detector.score(images)
    rebuilds = detector.engine.name == TORCH
    rebuilt = (
        [image for batch in reconstruct(detector, detector.as_seen(images)) for image in batch]
        if rebuilds
        else []
    )
    threshold = detector.calibration.image_threshold
    pixel_threshold = detector.calibration.pixel_threshold
    labels = ("image", *["rebuilt"] * rebuilds, "anomaly map")
    figure, grid = _picture_grid(len(images), labels, heading, images.shape)
    for column, title in enumerate(titles):
        score, shown = scores.pred_score[column], scores.anomaly_map[column]
        top, bottom = grid[0, column], grid[-1, column]
        top.imshow(_to_hwc(images[column]), aspect="auto")
        top.set_title(title, fontsize=9, color=INK)
        if rebuilds:
            grid[1, column].imshow(_to_hwc(rebuilt[column]), aspect="auto")
        bottom.imshow(shown, cmap=MAP_COLOURS, vmin=0, vmax=2 * threshold, aspect="auto")
        if pixel_threshold is not None and shown.max() > pixel_threshold:
            bottom.contour(shown, levels=[pixel_threshold], colors="white", linewidths=0.8)
        _title(bottom, f"{score:.2f} {{}}", score > threshold)
    return figure


def plot_disagreement(
    challenger: Detector, champion: Detector, images: Pictures, titles: list[str], heading: str
) -> Figure:
    """Plot (N, 3, S, S) uint8 images and what two versions see in them, one column an image."""
    labels = ("image", "champion", "challenger")
    figure, grid = _picture_grid(len(images), labels, heading, images.shape, fewest=3)
    for column, (image, title) in enumerate(zip(images, titles, strict=True)):
        grid[0, column].imshow(_to_hwc(image), aspect="auto")
        grid[0, column].set_title(title, fontsize=9, color=INK)
    for row, detector in ((1, champion), (2, challenger)):
        scores = detector.score(resize(images, detector.image_size_px))
        calibration = detector.calibration
        p_values = calibration.p_values(scores.pred_score)
        level = calibration.pixel_threshold or calibration.image_threshold
        for axes, anomaly_map, score, p_value in zip(
            grid[row], scores.anomaly_map, scores.pred_score, p_values, strict=True
        ):
            axes.imshow(anomaly_map, cmap=MAP_COLOURS, vmin=0, vmax=2 * level, aspect="auto")
            _title(axes, f"{{}}, p {p_value:.2g}", score > calibration.image_threshold)
    return figure


def plot_simulation(images: Tensor, masks: Tensor, simulated: Tensor, heading: str) -> Figure:
    """Plot a sheet of normal and simulated images, (N, 3, S, S) uint8, and (N, S, S) bool masks,
    four of each a row."""
    figure, grid = _sheet(-(-len(images) // 4), 12, 16, 1.55, heading)
    for index, (image, mask, result) in enumerate(zip(images, masks, simulated, strict=True)):
        shown = grid[index // 4, index % 4 * 3 : index % 4 * 3 + 3]
        shown[0].imshow(_to_hwc(image))
        shown[1].imshow(mask.numpy(), cmap="gray")
        shown[2].imshow(_to_hwc(result))
        for axes, title in zip(shown, ("normal", "mask", "simulated"), strict=True):
            if index < 4:
                axes.set_title(title, fontsize=9, color=INK)
    return figure


def plot_region(
    images: Pictures, inside: NDArray[np.bool_], titles: Sequence[str], heading: str
) -> Figure:
    """Plot a sheet of pictures, (N, 3, S, S) uint8, that are dark outside of where is looked at,
    (N, S, S) bool, and its outline, four a row."""
    figure, grid = _sheet(-(-len(images) // 4), 4, 12, 3.1, heading)
    for axes, image, mask, title in zip(grid.flat, images, inside, titles, strict=False):
        _draw_inside(axes, image, mask)
        axes.set_title(title, fontsize=9, color=INK)
    return figure


def plot_straightened(
    images: Pictures,
    straight: Pictures,
    inside: NDArray[np.bool_],
    titles: Sequence[str],
    heading: str,
) -> Figure:
    """Plot a sheet of pictures as they come, (N, 3, S, S) uint8, each beside itself without the
    distortion of its lens, which is dark outside of where is looked at, (N, S, S) bool; two pairs a
    row."""
    row = 3 * images.shape[-2] / images.shape[-1] + TITLE_INCHES
    figure, grid = _sheet(-(-len(images) // 2), 4, 12, row, heading)
    shown = zip(images, straight, inside, titles, strict=True)
    for index, (image, without, mask, title) in enumerate(shown):
        first, second = grid[index // 2, index % 2 * 2 : index % 2 * 2 + 2]
        first.imshow(_to_hwc(image))
        _draw_inside(second, without, mask)
        for axes, what in ((first, "as it comes"), (second, "as it is seen")):
            axes.set_title(f"{title} {what}".strip(), fontsize=9, color=INK)
    return figure


def _draw_inside(axes: Axes, image: Pictures, mask: NDArray[np.bool_]) -> None:
    picture = _to_hwc(image)
    axes.imshow(np.where(mask[..., None], picture, picture // 4))
    if not mask.all():
        axes.contour(mask, levels=[0.5], colors=ORANGE, linewidths=1.2)


def plot_reconstructions(
    network: AnomalyNetwork, normal: Tensor, imagery: Tensor, heading: str
) -> Figure:
    """Plot pictures over what a network in eval mode rebuilds of them, normal images above
    unrelated imagery: (N, 3, S, S) float in [0, 1] each."""
    with torch.inference_mode():
        rebuilt = [network.reconstruct(pictures) for pictures in (normal, imagery)]
    labels = ("normal", "rebuilt", "unrelated", "rebuilt")
    figure, grid = _picture_grid(len(normal), labels, heading, normal.shape)
    for line, pictures in zip(grid, (normal, rebuilt[0], imagery, rebuilt[1]), strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(_to_hwc(picture), aspect="auto")
    return figure


def plot_scores(
    scores: NDArray[np.float64], calibration_scores: tuple[float, ...], threshold: float, title: str
) -> Figure:
    """Plot the scores of tonight's images over those of held-out normal images, with the
    threshold."""
    figure, axes = new_axes(7, 3.2, title, "pred_score", "density")
    bins = np.histogram_bin_edges(np.concatenate([scores, calibration_scores]), bins=30).tolist()
    shown = ((calibration_scores, GREY, "held-out normal"), (scores, BLUE, "tonight"))
    for values, colour, label in shown:
        axes.hist(values, bins, density=True, color=colour, alpha=0.6, label=label)
    axes.axvline(threshold, color=ORANGE, label="threshold")
    axes.legend(frameon=False)
    return figure


def new_axes(
    width: float, height: float, title: str, xlabel: str, ylabel: str
) -> tuple[Figure, Axes]:
    """Begin a figure of one plot, its size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _sheet(
    rows: int, columns: int, width: float, row_height: float, heading: str
) -> tuple[Figure, NDArray[Any]]:
    """Begin a sheet of pictures without axes, its sizes in inches."""
    figure = Figure(figsize=(width, row_height * rows + 0.6), layout="constrained")
    figure.suptitle(heading)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    return figure, grid


def _picture_grid(
    columns: int, labels: Sequence[str], heading: str, shape: Sequence[int], fewest: int = 1
) -> tuple[Figure, NDArray[np.object_]]:
    """Begin a grid of pictures of a shape (..., H, W), a row a label, at least as wide as so many
    columns."""
    elongation = math.sqrt(shape[-1] / shape[-2])  # of a cell as well, within what a page takes
    elongation = min(max(elongation, 1 / MOST_STRETCHED), MOST_STRETCHED)
    width = 2.1 * elongation * max(columns, fewest)  # inches
    row = 2 / elongation
    height = 0.6 + row * len(labels)
    figure = Figure(figsize=(width, height))  # a computed layout of so many axes takes a second
    figure.suptitle(heading, y=1 - 0.1 / height, verticalalignment="top")
    sides = {"left": 0.35 / width, "right": 1 - 0.1 / width}
    sides |= {"bottom": 0.1 / height, "top": 1 - 0.65 / height}
    gaps = {"wspace": 0.06, "hspace": TITLE_INCHES / (row - TITLE_INCHES)}
    grid = figure.subplots(len(labels), columns, squeeze=False, gridspec_kw={**sides, **gaps})
    for axes, label in zip(grid[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    return figure, grid


def _title(axes: Axes, text: str, is_anomalous: bool) -> None:
    """Write a title with the label in place of its braces, and in its colour."""
    label, colour = ("anomalous", ORANGE) if is_anomalous else ("normal", INK)
    axes.set_title(text.format(label), fontsize=9, color=colour)


def _to_hwc(image: Tensor | NDArray[np.generic]) -> NDArray[np.generic]:
    return np.asarray(image).transpose(1, 2, 0)  # (3, H, W) -> (H, W, 3)
