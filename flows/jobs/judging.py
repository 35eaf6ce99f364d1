"""What judging a version takes: the contenders, the golden set, the verdict and its page."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from flows.jobs.product import Product
from mlflow_models import alias_log, flavor, registry
from mlflow_models.tracking import filled_from, log_verdict, trained_on
from mlflow_models.version_names import version_to_load
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import NoChampionError, NotEnoughImagesError
from reconad_plugin.gate.comparison import disagreements
from reconad_plugin.gate.golden import (
    SIMULATED,
    GoldenSet,
    choose_held_out,
    read_golden,
    simulated_golden_set,
)
from reconad_plugin.gate.judge import Verdict, judge
from reconad_plugin.gate.limits import LIMITS
from reconad_plugin.gate.rules import LivePictures
from reconad_plugin.gate.scored_golden import score_golden_set
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.eligibility import Use, allows
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.served import read_shadowed, served_nights
from reconad_plugin.plots.figures import plot_disagreement, plot_maps
from reconad_plugin.store.golden_images import read_golden_images

MAPS_A_KIND: Final = 4  # pictures of normal and of anomalous images in the plot of maps
MOST_DISAGREEMENTS: Final = 8  # pictures that two versions see differently
PAGE_DPI: Final = 60  # of a verdict's picture on Prefect's page, about 100 kB


@dataclass(frozen=True)
class PromotionOutcome:
    """What became of a version.

    Example:
        >>> str(PromotionOutcome(registry.PROMOTED, "2"))
        'promoted 2'
    """

    kind: str  # ``promoted``, ``rejected`` or ``rolled_back``
    version: str

    def __str__(self) -> str:
        """Return the kind and the number, as logs and reports show them."""
        return f"{self.kind} {self.version}"


@dataclass(frozen=True)
class Contenders:
    """The challenger, and the champion that it is judged against."""

    challenger: registry.Version  # the version in question
    champion: registry.Version | None  # the version that serves; None before the first
    detectors: tuple[Detector, ...]  # of the challenger, then of the champion

    @property
    def size(self) -> ImageSize:
        """A size that is as high and as wide as what each of them sees."""
        return reduce(ImageSize.covering, (each.image_size_px for each in self.detectors))

    @property
    def fitted_to(self) -> frozenset[str]:
        """SHA-256 of the images that one of them was fitted to, which so cannot judge."""
        return frozenset[str]().union(*(trained_on(each) for each in self.versions))

    @property
    def filled_from(self) -> frozenset[str]:
        """SHA-256 of the defects that simulated anomalies of one of them were filled from, which so
        cannot judge."""
        return frozenset[str]().union(*(filled_from(each)["sha256"] for each in self.versions))

    @property
    def versions(self) -> list[registry.Version]:
        """The challenger, and the champion if there is one."""
        return [self.challenger] if self.champion is None else [self.challenger, self.champion]


def outcome_of(version: registry.Version) -> PromotionOutcome | None:
    """Return what became of a version that was judged before; None for one that was not."""
    return PromotionOutcome(version.state, version.number) if version.state else None


def choose_contenders(
    product: str, version: int | None, completed: Sequence[alias_log.AliasMove]
) -> Contenders | PromotionOutcome:
    """Choose and load the versions to judge; return the outcome where the version serves already.

    Args:
        product: its name.
        version: becomes the challenger first.
        completed: alias moves of earlier runs that were completed just now.

    Raises:
        ConfigError: there is no such version.
        NoChampionError: there is no challenger to judge.
    """
    if version is not None:
        named = version_to_load(product, str(version)).number
        if named == registry.number_by_alias(product, registry.CHAMPION):
            return PromotionOutcome(registry.PROMOTED, named)  # another challenger goes on waiting
        registry.challenge(product, named)
    challenger = registry.version_by_alias(product, registry.CHALLENGER)
    champion = registry.version_by_alias(product, registry.CHAMPION)
    if challenger is None and completed and completed[-1].by == registry.PROMOTION:
        return PromotionOutcome(registry.PROMOTED, completed[-1].version)
    if challenger is None:
        raise NoChampionError(f"{product} has no challenger to judge: train or fine-tune one first")
    if champion is not None and champion.number == challenger.number:
        registry.withdraw_challenger(product, [champion.number])
        return PromotionOutcome(registry.PROMOTED, champion.number)
    versions = [challenger] if champion is None else [challenger, champion]
    detectors = tuple(flavor.load_model(each.uri) for each in versions)
    return Contenders(challenger, champion, detectors)


def build_golden_set(
    product: Product,
    rows: pd.DataFrame,
    size: ImageSize,
    fitted_to: frozenset[str],
    filled_from: frozenset[str] = frozenset(),
) -> GoldenSet:
    """Collect the golden images of the bucket and held-out normal images, and simulate anomalies
    on these where the bucket has few defects or none.

    Args:
        product: whose images.
        rows: learnable rows of the manifests of all nights.
        size: of the pictures.
        fitted_to: SHA-256 of images that a version was fitted to, and that so cannot judge.
        filled_from: the same of defects that its simulated anomalies were filled from.

    Raises:
        NotEnoughImagesError: there are no held-out images.
        InvalidImageError: a golden image cannot be read, or lies in no folder; or a region is not
            as it must be.
    """
    golden = read_golden_images(product.store, product.cache, product.layout, product.limits)
    real = read_golden(golden, size, product.intake_limits, fitted_to, filled_from)
    rows = choose_held_out(rows[~rows["sha256"].isin(fitted_to)])
    if rows.empty:
        raise NotEnoughImagesError(
            f"the gate needs held-out normal images; {product.name} has none: bring more normal "
            "images"
        )
    normal = product.load_images(rows, size)
    names, nights = rows["key"].tolist(), rows["night"].tolist()
    if real is not None and len(real.anomalous) >= LIMITS.enough_defects:
        chosen = real.with_normal(normal, names, nights)
    else:
        region = product.region(rows, size)
        chosen = simulated_golden_set(normal, names, nights, product.settings.seed, region)
        if real is not None:
            chosen = real.with_normal(normal, names, nights).with_anomalous(chosen)
    if product.part_of is None:
        return chosen
    return replace(chosen, labels=chosen.labels.with_parts(product.part_of))


def judge_contenders(
    product: Product,
    contenders: Contenders,
    golden: GoldenSet,
    live: LivePictures | None = None,
) -> tuple[Verdict, str]:
    """Score the golden set with the contenders, decide, and log the reasons with the challenger.

    Returns:
        The verdict, and the page that shows it, in Markdown.
    """
    candidate, *serving = contenders.detectors
    figures = {"golden_maps.png": _plot_golden(candidate, golden.at(candidate.image_size_px))}
    ours, *others = score_golden_set(contenders.detectors, golden)
    theirs = others[0] if others else None
    if theirs is not None:
        indices = disagreements(ours, theirs, MOST_DISAGREEMENTS).tolist()
        figures["disagreement.png"] = _plot_disagreement(candidate, serving[0], golden, indices)
    target_fpr, seed = product.settings.target_fpr, product.settings.seed
    verdict = judge(ours, theirs, golden.labels, target_fpr, seed, live)
    log_verdict(contenders.challenger, verdict.to_dict(), figures)
    return verdict, _page(verdict, list(figures.values())[-1])


def read_live_pictures(
    product: Product, contenders: Contenders, ledger: Ledger
) -> LivePictures | None:
    """Read what both said of the pictures that were served on ordinary nights, since those of
    another may be defects; None where none were, and before a first version."""
    served = served_nights(product.store, product.layout)
    if contenders.champion is None or not served:
        return None
    nights = [each for each in served if allows(ledger.status(each), Use.COUNT_SUSPECTS)]
    numbers = contenders.champion.number, contenders.challenger.number
    recent = nights[-LIMITS.recent_nights :]
    seen = read_shadowed(product.store, product.layout, *numbers, recent)
    return LivePictures(seen["shadow_label"].to_numpy(), seen["pred_label"].to_numpy())


def _plot_golden(detector: Detector, golden: GoldenSet) -> Figure:
    normal, anomalous = golden.normal[:MAPS_A_KIND], golden.anomalous[:MAPS_A_KIND]
    titles = ["normal"] * len(normal)
    titles += [_title(defect) for defect in golden.labels.defects[:MAPS_A_KIND]]
    images = np.concatenate([normal, anomalous])
    return plot_maps(detector, images, titles, "What the challenger sees")


def _plot_disagreement(
    challenger: Detector, champion: Detector, golden: GoldenSet, indices: list[int]
) -> Figure:
    """Plot images by their index among normal and then anomalous ones."""
    names = ["normal"] * len(golden.normal) + [_title(each) for each in golden.labels.defects]
    titles = [names[index] for index in indices]
    pictures = [*golden.normal, *golden.anomalous]  # views: nothing is copied
    images = np.stack([pictures[index] for index in indices])
    heading = "Where the challenger and the champion differ most"
    return plot_disagreement(challenger, champion, images, titles, heading)


def _title(defect: str) -> str:
    """Name a type of defect in a plot, where dollars would begin a formula."""
    return f"{defect} anomaly" if defect == SIMULATED else defect.replace("$", r"\$")


def _page(verdict: Verdict, figure: Figure) -> str:
    """Write the verdict in Markdown: the picture within it, since Prefect shows no other file."""
    picture = io.BytesIO()
    figure.savefig(picture, format="jpeg", dpi=PAGE_DPI)
    encoded = base64.b64encode(picture.getvalue()).decode()
    lines = [
        f"**{'Passed' if verdict.is_passed else 'Refused'}**, on {verdict.golden_kind} anomalies",
        "",
        "| rule | of | | because |",
        "|---|---|---|---|",
    ]
    for check in verdict.checks:
        passed = "passed" if check.is_passed else "**failed**"
        rule, sentence = (each.replace("|", "\\|") for each in (check.rule, check.sentence))
        lines.append(f"| {rule} | {check.kind} | {passed} | {sentence} |")
    lines += ["", f"![what they see](data:image/jpeg;base64,{encoded})"]
    return "\n".join(lines)
