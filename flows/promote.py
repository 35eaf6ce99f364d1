"""Judge the challenger, and let it into service only when it is proven better."""

import base64
import io
from collections.abc import Sequence
from datetime import date

import torch
from matplotlib.figure import Figure
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.jobs.learning import learnable_rows, read_manifests
from flows.jobs.ledger import sync_history
from flows.jobs.product import Product, open_product
from flows.runtime.events import MODEL_REJECTED, tell, tell_turn
from flows.runtime.locks import JUDGING, MOVING, one_at_a_time, settle
from flows.runtime.steps import fails_clearly, step
from mlflow_models import alias_log, flavor, registry
from mlflow_models.tracking import log_verdict, trained_on
from reconad_plugin.config import parse_night
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import NoChampionError, NotEnoughImagesError
from reconad_plugin.gate.comparison import SIMULATED
from reconad_plugin.gate.golden import ENOUGH_DEFECTS, choose_held_out, read_golden
from reconad_plugin.gate.judge import Verdict, judge
from reconad_plugin.gate.scored_golden import (
    GoldenSet,
    disagreements,
    gather_evidence,
    simulated_golden_set,
)
from reconad_plugin.ledger.manifest import known_nights
from reconad_plugin.plots.figures import plot_disagreement, plot_maps
from reconad_plugin.store.images import load_images

SHOWN_A_KIND = 4  # pictures of normal and of anomalous images in the verdict's plot
SHOWN_APART = 8  # pictures that two versions see differently
PAGE_DPI = 60  # of a verdict's picture on Prefect's page, about 100 kB


@flow(name="promote", flow_run_name="promote {product} {night}")
@fails_clearly
def promote(product: str, night: date, version: int | None = None) -> str:
    """Judge the challenger against the champion on the same images.

    Args:
        product: the product.
        night: the night that this is noted with. All nights that were taken in judge, so that
            an older night cannot bring back what is no good for the newest.
        version: becomes the challenger first.

    Returns:
        ``promoted <version>`` or ``rejected <version>``. A promotion that was interrupted
        half-way is completed.

    Raises:
        NoChampionError: there is no challenger to judge.
        NotEnoughImagesError: there are no held-out images to judge on.
        PlatformError: another champion serves by now, so the verdict says nothing any more.
    """
    night = parse_night(night)
    opened = open_product(product)
    with one_at_a_time(JUDGING, product):
        completed = settle(product)
        if version is not None:
            serving = registry.number_by_alias(product, registry.CHAMPION)
            named = registry.version(product, str(version)).number
            if named == serving:
                return f"{registry.PROMOTED} {named}"  # another that waits goes on waiting
            registry.challenge(product, named)
        challenger = registry.version_by_alias(product, registry.CHALLENGER)
        champion = registry.version_by_alias(product, registry.CHAMPION)
        if challenger is None and completed and completed[-1].by == alias_log.PROMOTION:
            return f"{registry.PROMOTED} {completed[-1].version}"
        if challenger is None:
            raise NoChampionError(
                f"{product} has no challenger to judge: train or fine-tune one first"
            )
        if champion is not None and champion.number == challenger.number:
            registry.withdraw_challenger(product, [champion.number])
            return f"{registry.PROMOTED} {champion.number}"
        rivals = [challenger] if champion is None else [challenger, champion]
        detectors = [flavor.load_model(each.uri) for each in rivals]
        seen = frozenset[str]().union(*(trained_on(each) for each in rivals))
        size_px = max(each.image_size_px for each in detectors)
        golden = gather_golden(opened, night, size_px, seen)
        verdict = judge_versions(opened, challenger, detectors, golden)
        return carry_out(opened, night, challenger, champion, verdict)


def judge_once(product: str, night: date, version: registry.Version) -> str:
    """Let a new version challenge the champion; of a version that was judged before, what came
    of it."""
    state = version.tags.get(registry.STATE_TAG)
    if state is not None:
        return f"{state} {version.number}"
    return promote(product, night, int(version.number))


@step()
def gather_golden(
    product: Product, night: date, size_px: int, seen: frozenset[str] = frozenset()
) -> GoldenSet:
    """Golden images of the bucket, and simulated anomalies on held-out normal images where the
    bucket has few defects or none.

    Args:
        product: whose images.
        night: up to it at least.
        size_px: side of the squares.
        seen: SHA-256 of images that a version was fitted to, and that so cannot judge.
    """
    real = read_golden(product.store, product.layout, size_px, product.limits, seen)
    newest = max([night, *known_nights(product.store, product.layout, before=date.max)])
    rows = learnable_rows(product, newest, read_manifests(product, newest))
    rows = choose_held_out(rows[~rows["sha256"].isin(seen)])
    if rows.empty:
        raise NotEnoughImagesError(
            f"the gate needs held-out normal images; {product.name} has none up to {night}: "
            "bring more normal images"
        )
    normal = load_images(product.store, product.cache, rows, size_px, product.limits)
    names, nights = rows["key"].tolist(), rows["night"].tolist()
    if real is not None and len(real.anomalous) >= ENOUGH_DEFECTS:
        return real.with_normal(normal, names, nights)
    simulated = simulated_golden_set(normal, names, nights, product.settings.seed)
    if real is None:
        return simulated
    return real.with_normal(normal, names, nights).with_anomalous(simulated)


@step()
def judge_versions(
    product: Product,
    challenger: registry.Version,
    detectors: Sequence[Detector],
    golden: GoldenSet,
) -> Verdict:
    """Score the golden images with the challenger and the champion, if there is one, decide, and
    show the reasons."""
    candidate, *serving = detectors
    figures = {"golden_maps.png": _picture(candidate, golden.at(candidate.image_size_px))}
    evidence, *of_serving = gather_evidence(detectors, golden)
    champion_evidence = of_serving[0] if of_serving else None
    if champion_evidence is not None:
        apart = disagreements(evidence, champion_evidence, SHOWN_APART)
        figures["disagreement.png"] = _disagreement(candidate, serving[0], golden, apart.tolist())
    verdict = judge(
        evidence,
        champion_evidence,
        golden.labels,
        product.settings.target_fpr,
        product.settings.seed,
    )
    log_verdict(challenger, verdict.to_dict(), figures)
    create_markdown_artifact(
        key=f"verdict-{product.name.replace('_', '-')}",
        markdown=_page(verdict, list(figures.values())[-1]),
        description=f"Version {challenger.number}: {verdict.reason}",
    )
    return verdict


@step()
def carry_out(
    product: Product,
    night: date,
    challenger: registry.Version,
    champion: registry.Version | None,
    verdict: Verdict,
) -> str:
    """Move the champion's alias or not, and say so everywhere."""
    judged_against = champion.number if champion else None
    content = verdict.to_dict() | {"judged_against": judged_against}
    if verdict.is_passed:
        with one_at_a_time(MOVING, product.name):
            turn = alias_log.promote(product.name, challenger.number, night.isoformat(), content)
            tell_turn(product.name, turn)
            alias_log.close_turn(product.name, turn)
            sync_history(product)
        outcome = registry.PROMOTED
    else:
        alias_log.note_verdict(product.name, challenger.number, content)
        payload = {"version": challenger.number, "judged_against": judged_against}
        payload |= {"night": night.isoformat(), "reason": verdict.reason}
        tell(MODEL_REJECTED, product.name, payload)
        alias_log.reject(product.name, challenger.number)
        outcome = registry.REJECTED
    get_run_logger().info("version %s %s: %s", challenger.number, outcome, verdict.reason)
    return f"{outcome} {challenger.number}"


def _picture(detector: Detector, golden: GoldenSet) -> Figure:
    normal, anomalous = golden.normal[:SHOWN_A_KIND], golden.anomalous[:SHOWN_A_KIND]
    titles = ["normal"] * len(normal)
    titles += [_title(defect) for defect in golden.labels.defects[:SHOWN_A_KIND]]
    images = torch.cat([normal, anomalous])
    return plot_maps(detector, images, titles, "What the challenger sees")


def _disagreement(
    challenger: Detector, champion: Detector, golden: GoldenSet, places: list[int]
) -> Figure:
    """Of images by their places among normal and then anomalous ones."""
    titles = ["normal"] * len(golden.normal) + [_title(each) for each in golden.labels.defects]
    normals = len(golden.normal)
    images = [
        golden.normal[place] if place < normals else golden.anomalous[place - normals]
        for place in places
    ]
    return plot_disagreement(
        challenger,
        champion,
        torch.stack(images),
        [titles[place] for place in places],
        "Where the challenger and the champion differ most",
    )


def _title(defect: str) -> str:
    return f"{defect} anomaly" if defect == SIMULATED else defect


def _page(verdict: Verdict, figure: Figure) -> str:
    """The verdict in Markdown: the picture within it, since Prefect shows no other file."""
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
        sentence = check.sentence.replace("|", "\\|")
        lines.append(f"| {check.rule} | {check.kind} | {passed} | {sentence} |")
    lines += ["", f"![what they see](data:image/jpeg;base64,{encoded})"]
    return "\n".join(lines)
