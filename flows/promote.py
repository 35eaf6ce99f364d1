"""Judge the challenger, and let it into service only when it is proven better."""

from datetime import date
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from torch import Tensor

from flows.events import MODEL_PROMOTED, MODEL_REJECTED, tell
from flows.learning import learnable_rows, read_manifests
from flows.product import Product, open_product
from flows.steps import fails_clearly, step
from mlflow_models import flavor, registry
from mlflow_models.tracking import log_verdict
from reconad_plugin.config import parse_night
from reconad_plugin.errors import NoChampionError, NotEnoughImagesError
from reconad_plugin.evidence import GoldenSet, gather_evidence, simulated_golden_set
from reconad_plugin.gate import Verdict, judge
from reconad_plugin.plots import plot_maps
from reconad_plugin.scoring import Detector
from reconad_plugin.store.golden import read_golden
from reconad_plugin.store.images import load_images
from reconad_plugin.store.splits import JUDGE

SHOWN_A_KIND = 4  # pictures of normal and of anomalous images in the verdict's plot


@flow(name="promote", flow_run_name="promote {product} {night}")
@fails_clearly
def promote(product: str, night: date) -> str:
    """Judge the challenger against the champion on the same images.

    Returns:
        ``promoted <version>`` or ``rejected <version>``. A promotion that was interrupted
        half-way is completed.

    Raises:
        NoChampionError: there is no challenger to judge.
        NotEnoughImagesError: there are no held-out images to judge on.
    """
    night = parse_night(night)
    opened = open_product(product)
    challenger = registry.version_by_alias(product, registry.CHALLENGER)
    if challenger is None:
        raise NoChampionError(f"{product} has no challenger to judge: train or fine-tune one first")
    champion = registry.version_by_alias(product, registry.CHAMPION)
    if champion is not None and champion.number == challenger.number:
        registry.finish_promotion(product, champion.number, night.isoformat())
        return f"{registry.PROMOTED} {champion.number}"
    golden = gather_golden(opened, night)
    verdict = judge_versions(opened, challenger, champion, golden)
    return carry_out(opened, night, challenger, verdict)


def judge_once(product: str, night: date, version: registry.Version) -> str:
    """Let a new version challenge the champion; of a version that was judged before, what came
    of it."""
    state = version.tags.get(registry.STATE_TAG)
    if state is not None:
        return f"{state} {version.number}"
    registry.challenge(product, version.number)
    return promote(product, night)


@step()
def gather_golden(product: Product, night: date) -> GoldenSet:
    """Golden images of the bucket, or simulated anomalies on held-out normal images."""
    real = read_golden(
        product.store, product.layout, product.settings.image_size_px, product.limits
    )
    rows = learnable_rows(product, night, read_manifests(product, night))
    rows = rows[rows["split"] == JUDGE]
    if rows.empty:
        raise NotEnoughImagesError(
            f"the gate needs held-out normal images; {product.name} has none up to {night}: "
            "bring more normal images"
        )
    normal = load_images(
        product.store, product.cache, rows, product.settings.image_size_px, product.limits
    )
    return real.with_normal(normal) if real else simulated_golden_set(normal, product.settings.seed)


@step()
def judge_versions(
    product: Product,
    challenger: registry.Version,
    champion: registry.Version | None,
    golden: GoldenSet,
) -> Verdict:
    """Score the golden images with both versions, decide, and keep the reasons with the run."""
    candidate = flavor.load_model(challenger.uri)
    target_fpr = product.settings.target_fpr
    evidence = gather_evidence(candidate, golden, target_fpr)
    serving = (
        gather_evidence(flavor.load_model(champion.uri), golden, target_fpr) if champion else None
    )
    verdict = judge(evidence, serving, target_fpr, golden.kind)
    log_verdict(challenger, verdict.to_dict(), {"golden_maps.png": _picture(candidate, golden)})
    return verdict


@step()
def carry_out(product: Product, night: date, challenger: registry.Version, verdict: Verdict) -> str:
    """Move the champion's alias or not, and say so everywhere."""
    content = verdict.to_dict()
    create_table_artifact(
        key=f"verdict-{product.name.replace('_', '-')}",
        table=content["checks"],
        description=f"Version {challenger.number}, night {night}: {verdict.reason}",
    )
    payload: dict[str, Any] = {"version": challenger.number, "night": night.isoformat()}
    payload["reason"] = verdict.reason
    if verdict.is_passed:
        registry.promote(product.name, challenger.number, night.isoformat(), content)
        tell(MODEL_PROMOTED, product.name, payload)
        outcome = registry.PROMOTED
    else:
        registry.reject(product.name, challenger.number, content)
        tell(MODEL_REJECTED, product.name, payload)
        outcome = registry.REJECTED
    get_run_logger().info("version %s %s: %s", challenger.number, outcome, verdict.reason)
    return f"{outcome} {challenger.number}"


def _picture(detector: Detector, golden: GoldenSet) -> Any:
    import torch

    normal, anomalous = golden.normal[:SHOWN_A_KIND], golden.anomalous[:SHOWN_A_KIND]
    images: Tensor = torch.cat([normal, anomalous])
    titles = ["normal"] * len(normal) + [f"{golden.kind} anomaly"] * len(anomalous)
    return plot_maps(detector, images, titles, "What the challenger sees")
