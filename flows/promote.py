"""Judge the challenger, and let it into service only when it is proven better."""

from datetime import date

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.jobs import judging
from flows.jobs.judging import Contenders, PromotionOutcome
from flows.jobs.ledger import open_ledger, open_ledger_to_train, see_history, sync_history
from flows.jobs.product import Product, open_product
from flows.runtime.events import emit, emit_alias_move
from flows.runtime.locks import JUDGING, MOVING, one_at_a_time, recover
from flows.runtime.steps import fails_clearly, step
from mlflow_models import alias_log, registry
from reconad_plugin.config.event_names import MODEL_REJECTED
from reconad_plugin.config.names import parse_night
from reconad_plugin.gate.golden import GoldenSet
from reconad_plugin.gate.judge import Verdict
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.glance import note_glance


@flow(name="promote", flow_run_name="promote {product} {night}")
@fails_clearly
def promote(product: str, night: date, version: int | None = None) -> PromotionOutcome:
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
        completed = recover(product).moves
        if completed:
            sync_history(opened)
        contenders = judging.choose_contenders(product, version, completed)
        if isinstance(contenders, PromotionOutcome):
            return contenders
        learnt = contenders.fitted_to, contenders.filled_from
        golden = gather_golden(opened, night, contenders.size, *learnt)
        verdict = judge_versions(opened, contenders, golden)
        return carry_out(opened, night, contenders, verdict)


def judge_once(product: str, night: date, version: registry.Version) -> PromotionOutcome:
    """Let a new version challenge the champion; of a version that was judged before, return what
    became of it."""
    return judging.outcome_of(version) or promote(product, night, int(version.number))


@step()
def gather_golden(
    product: Product,
    night: date,
    size: ImageSize,
    fitted_to: frozenset[str],
    filled_from: frozenset[str] = frozenset(),
) -> GoldenSet:
    """Collect the images that judge; see ``judging.build_golden_set``."""
    newest = max([night, *product.known_nights()])
    rows = open_ledger_to_train(product).as_of(newest).training_images(product.settings.target_fpr)
    return judging.build_golden_set(product, rows, size, fitted_to, filled_from)


@step()
def judge_versions(product: Product, contenders: Contenders, golden: GoldenSet) -> Verdict:
    """Judge the contenders and show the reasons."""
    ledger = open_ledger(product, see_history(product))
    live = judging.read_live_pictures(product, contenders, ledger)
    verdict, page = judging.judge_contenders(product, contenders, golden, live)
    create_markdown_artifact(
        key=f"verdict-{product.name.replace('_', '-')}",
        markdown=page,
        description=f"Version {contenders.challenger.number}: {verdict.reason}",
    )
    return verdict


@step()
def carry_out(
    product: Product, night: date, contenders: Contenders, verdict: Verdict
) -> PromotionOutcome:
    """Move the champion's alias or not, and emit the event."""
    number, champion = contenders.challenger.number, contenders.champion
    judged_against = champion.number if champion else None
    content = verdict.to_dict() | {"judged_against": judged_against}
    if verdict.is_passed:
        with one_at_a_time(MOVING, product.name):
            move = alias_log.promote(product.name, number, night.isoformat(), content)
            emit_alias_move(product.name, move)
            sync_history(product)
            alias_log.finish(product.name, move)
        outcome = PromotionOutcome(registry.PROMOTED, number)
    else:
        alias_log.note_verdict(product.name, number, content)
        payload = {"version": number, "judged_against": judged_against}
        payload |= {"night": night.isoformat(), "reason": verdict.reason}
        emit(MODEL_REJECTED, product.name, payload)
        alias_log.reject(product.name, number)
        outcome = PromotionOutcome(registry.REJECTED, number)
    note_glance(product.store, product.layout)
    get_run_logger().info("version %s %s: %s", number, outcome.kind, verdict.reason)
    return outcome
