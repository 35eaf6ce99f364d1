"""Plots that people look at: the loss, and where a detector sees anomalies."""

from typing import Final

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from reconad_plugin.detector.detector import Detector
from reconad_plugin.images.geometry import resize
from reconad_plugin.networks.base import AnomalyNetwork
from reconad_plugin.training.report import Progress

INK, BLUE, ORANGE, GREY = "#1b2733", "#2b6cb0", "#d9622b", "#98a4ae"
MAP_COLOURS: Final = "inferno"


def plot_loss(curve: list[Progress], title: str) -> Figure:
    """Plot the loss of training and of held-out images over the steps."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.add_subplot()
    steps = [point.step for point in curve]
    axes.plot(steps, [point.loss for point in curve], color=GREY, label="training batch")
    held_out = [point.held_out_loss or float("nan") for point in curve]
    axes.plot(steps, held_out, color=BLUE, label="held out")
    axes.set(title=title, xlabel="step", ylabel="loss", yscale="log")
    axes.legend(frameon=False)
    names = [point.phase for point in curve]
    for index in range(len(curve)):  # each phase has a loss of its own
        if index and names[index] != names[index - 1]:
            axes.axvline((steps[index - 1] + steps[index]) / 2, color=INK, linewidth=0.6)
    for name in dict.fromkeys(names) if len(set(names)) > 1 else ():
        axes.text(steps[names.index(name)], 0.98, name, transform=axes.get_xaxis_transform())
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_maps(detector: Detector, images: Tensor, titles: list[str], heading: str = "") -> Figure:
    """Plot image, reconstruction and anomaly map, one column an image.

    Pixels above the pixel threshold are outlined in the map.

    Args:
        detector: the model.
        images: (N, 3, S, S) uint8, a few.
        titles: one an image; the score is added.
        heading: above all.
    """
    scores = detector.score(images)
    rebuilt = [image for batch in detector.reconstructions(images) for image in batch]
    threshold = detector.calibration.image_threshold
    pixel_threshold = detector.calibration.pixel_threshold
    figure = Figure(figsize=(2.1 * len(images), 6.6), layout="constrained")
    figure.suptitle(heading)
    grid = figure.subplots(3, len(images), squeeze=False)
    for column, title in enumerate(titles):
        score = scores.pred_score[column]
        is_anomalous = score > threshold
        pictures = (_to_hwc(images[column]), rebuilt[column].permute(1, 2, 0).numpy())
        for axes, picture in zip(grid[:, column], pictures, strict=False):
            axes.imshow(picture, aspect="auto")
        grid[2, column].imshow(
            scores.anomaly_map[column], cmap=MAP_COLOURS, vmin=0, vmax=2 * threshold, aspect="auto"
        )
        if pixel_threshold is not None and scores.anomaly_map[column].max() > pixel_threshold:
            grid[2, column].contour(
                scores.anomaly_map[column], levels=[pixel_threshold], colors="white", linewidths=0.8
            )
        grid[0, column].set_title(title, fontsize=9, color=INK)
        grid[2, column].set_title(
            f"{score:.2f} {'anomalous' if is_anomalous else 'normal'}",
            fontsize=9,
            color=ORANGE if is_anomalous else INK,
        )
    for axes, label in zip(grid[:, 0], ("image", "rebuilt", "anomaly map"), strict=True):
        axes.set_ylabel(label)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def plot_disagreement(
    challenger: Detector, champion: Detector, images: Tensor, titles: list[str], heading: str
) -> Figure:
    """Plot images and what two versions see in them, one column an image.

    Args:
        challenger: the new version.
        champion: the one in service.
        images: (N, 3, S, S) uint8, a few.
        titles: one an image.
        heading: above all.
    """
    figure = Figure(figsize=(2.1 * max(len(images), 3), 6.6), layout="constrained")
    figure.suptitle(heading)
    grid = figure.subplots(3, len(images), squeeze=False)
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
            is_anomalous = score > calibration.image_threshold
            axes.set_title(
                f"{'anomalous' if is_anomalous else 'normal'}, p {p_value:.2g}",
                fontsize=9,
                color=ORANGE if is_anomalous else INK,
            )
    for axes, label in zip(grid[:, 0], ("image", "champion", "challenger"), strict=True):
        axes.set_ylabel(label)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    return figure


def plot_simulation(images: Tensor, masks: Tensor, simulated: Tensor, heading: str) -> Figure:
    """Plot a sheet of normal images, masks and simulated anomalies, four pictures a row.

    Args:
        images: (N, 3, S, S) uint8.
        masks: (N, S, S) bool.
        simulated: (N, 3, S, S) uint8.
        heading: above all.
    """
    rows = -(-len(images) // 4)
    figure = Figure(figsize=(16, 1.55 * rows + 0.6), layout="constrained")
    figure.suptitle(heading)
    grid = figure.subplots(rows, 12, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for index, (image, mask, result) in enumerate(zip(images, masks, simulated, strict=True)):
        shown = grid[index // 4, index % 4 * 3 : index % 4 * 3 + 3]
        shown[0].imshow(_to_hwc(image))
        shown[1].imshow(mask.numpy(), cmap="gray")
        shown[2].imshow(_to_hwc(result))
        for axes, title in zip(shown, ("normal", "mask", "simulated"), strict=True):
            if index < 4:
                axes.set_title(title, fontsize=9, color=INK)
    return figure


def plot_reconstructions(
    network: AnomalyNetwork, normal: Tensor, imagery: Tensor, heading: str
) -> Figure:
    """Plot pictures over what a network rebuilds of them, normal images above unrelated imagery.

    Args:
        network: in eval mode.
        normal: (N, 3, S, S) float in [0, 1], a few.
        imagery: (N, 3, S, S) float in [0, 1].
        heading: above all.
    """
    with torch.inference_mode():
        rebuilt = [network.reconstruct(pictures) for pictures in (normal, imagery)]
    labels = ("normal", "rebuilt", "unrelated", "rebuilt")
    rows = (normal, rebuilt[0], imagery, rebuilt[1])
    figure = Figure(figsize=(2.1 * len(normal), 8.6), layout="constrained")
    figure.suptitle(heading)
    grid = figure.subplots(len(rows), len(normal), squeeze=False)
    for line, label, pictures in zip(grid, labels, rows, strict=True):
        line[0].set_ylabel(label)
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture.permute(1, 2, 0).numpy(), aspect="auto")  # (3, S, S) -> (S, S, 3)
            axes.set(xticks=[], yticks=[])
    return figure


def plot_scores(
    scores: NDArray[np.float64], calibration_scores: tuple[float, ...], threshold: float, title: str
) -> Figure:
    """Plot the scores of tonight's images over those of held-out normal images, with the
    threshold."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.add_subplot()
    bins = np.histogram_bin_edges(np.concatenate([scores, calibration_scores]), bins=30).tolist()
    axes.hist(
        calibration_scores, bins, density=True, color=GREY, alpha=0.6, label="held-out normal"
    )
    axes.hist(scores, bins, density=True, color=BLUE, alpha=0.6, label="tonight")
    axes.axvline(threshold, color=ORANGE, label="threshold")
    axes.set(title=title, xlabel="pred_score", ylabel="density")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _to_hwc(image: Tensor) -> NDArray[np.uint8]:
    return image.permute(1, 2, 0).numpy()  # (3, S, S) -> (S, S, 3)
