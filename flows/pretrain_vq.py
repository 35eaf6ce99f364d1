"""Pretrain what DSR stands on, on the normal images of one or more products."""

from datetime import date

from prefect import flow

from flows.jobs.fitting import pretrain_and_log, pretraining_settings
from flows.jobs.nightly_training import newest_training_set, pretraining_job
from flows.jobs.product import open_product
from flows.jobs.training_job import TrainingJob, find_version
from flows.runtime.locks import TRAINING, one_at_a_time
from flows.runtime.steps import fails_clearly, step
from reconad_plugin.config.names import parse_night

choose_images = step(name="choose_images")(newest_training_set)


@flow(name="pretrain-vq", flow_run_name="pretrain-vq {name}")
@fails_clearly
def pretrain_vq(
    products: list[str],
    name: str,
    budget_s: float | None = None,
    steps: int | None = None,
    width: str | None = None,
    image_size_px: int | str = 256,
    textures: str | None = None,
    seed: int = 0,
    night: date | None = None,
) -> str:
    """Train a two-level quantised autoencoder, and register it as ``reconad-vq-<name>``.

    Args:
        products: whose normal images are learnt, as a training would choose them.
        name: of the registered model.
        budget_s: seconds.
        steps: at most so many.
        width: of DSR: ``tiny``, ``small`` or ``paper``.
        image_size_px: budget of pixels, as the side of a square, or height x width.
        textures: a folder or ``s3://bucket/prefix``; the packaged ones where None.
        seed: of first weights, order, variation and patterns.
        night: the last night to learn from; the last one of each product where None.

    Returns:
        The address of the version. The same pretraining is not done twice.

    Raises:
        NotEnoughImagesError: too few images.
        CodebookCollapsedError: a codebook is hardly used.
    """
    training = {"budget_s": budget_s, "steps": steps, "textures": textures}
    settings = pretraining_settings(width, image_size_px, seed, training)
    until = None if night is None else parse_night(night)
    job = pretraining_job(
        name, settings, [choose_images(open_product(product), until) for product in products]
    )
    with one_at_a_time(TRAINING, job.product):
        return pretrain_and_register(job)


@step()
def pretrain_and_register(job: TrainingJob) -> str:
    """Train, log and register; where the same job was done before, take that version."""
    known = find_version(job)
    return pretrain_and_log(job).version.uri if known is None else known.uri
