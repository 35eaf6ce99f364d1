"""Pretrain what DSR stands on, on the normal images of one or more products."""

from dataclasses import dataclass
from datetime import date

import pandas as pd
import torch
from prefect import flow
from torch import Tensor

from flows.jobs.learning import learnable_rows, read_manifests
from flows.jobs.pretraining import Pretraining, pretrain_and_log, pretraining_settings
from flows.jobs.product import Product, open_product
from flows.runtime.locks import TRAINING, one_at_a_time
from flows.runtime.steps import fails_clearly, step
from mlflow_models import registry
from mlflow_models.foundation import registered_name
from reconad_plugin.config import ProductSettings, parse_night
from reconad_plugin.errors import NotEnoughImagesError
from reconad_plugin.ledger.manifest import known_nights
from reconad_plugin.store.images import load_images


@dataclass(frozen=True)
class Material:
    """The images of one product that are learnt from: their rows, and its manifests."""

    product: Product
    rows: pd.DataFrame
    manifests: dict[str, pd.DataFrame]


@flow(name="pretrain-vq", flow_run_name="pretrain-vq {name}")
@fails_clearly
def pretrain_vq(
    products: list[str],
    name: str,
    budget_s: float | None = None,
    steps: int | None = None,
    width: str | None = None,
    image_size_px: int = 256,
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
        image_size_px: side of the square.
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
    materials = [gather(open_product(product), until) for product in products]
    with one_at_a_time(TRAINING, registered_name(name)):
        return pretrain_and_register(name, settings, materials)


@step()
def gather(product: Product, night: date | None) -> Material:
    """The normal images of a product that may be learnt from."""
    night = night or max(known_nights(product.store, product.layout, date.max), default=None)
    if night is None:
        raise NotEnoughImagesError(
            f"a product to pretrain on must have a night with images; {product.name} has none: "
            f"take one in with nightly/{product.name}"
        )
    manifests = read_manifests(product, night)
    rows = learnable_rows(product, night, manifests)
    return Material(product, rows.assign(uri=rows["key"].map(product.store.uri)), manifests)


@step()
def pretrain_and_register(name: str, settings: ProductSettings, materials: list[Material]) -> str:
    """Train, log and register; where the same was learnt before, take that version."""
    table = pd.concat([material.rows for material in materials], ignore_index=True)

    def load(split: str) -> Tensor:
        return torch.cat([_load(material, split, settings.image_size_px) for material in materials])

    sources = {uri: table for each in materials for uri, table in each.manifests.items()}
    job = Pretraining(name, settings, table, load, sources)
    learnt = registry.find_by_request(registered_name(name), job.request)
    return pretrain_and_log(job).version.uri if learnt is None else learnt.uri


def _load(material: Material, split: str, size_px: int) -> Tensor:
    product, rows = material.product, material.rows
    chosen = rows[rows["split"] == split]
    return load_images(product.store, product.cache, chosen, size_px, product.limits)
