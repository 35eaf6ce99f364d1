"""What a training of a night would learn, and what versions are judged on."""

from contextlib import nullcontext
from datetime import date
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows import promote, train
from flows.jobs import judging, nightly_training
from flows.jobs import training_job as training
from flows.jobs.product import Product
from reconad_plugin.errors import ReconadError
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger import eligibility
from reconad_plugin.ledger.eligibility import Status
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.watch.cause import LIGHT
from tests.golden_master.answers import Json, ReachedError, by_night_and_split, nothing, reach


def training_of(flow: ModuleType, product: Product, ledger: Ledger, night: date) -> Json:
    """What a training or a fine-tuning of the night would learn, or that it is refused."""
    try:
        with (
            patch.object(
                Product, "still_there", lambda _, rows: rows
            ),  # the bucket has no pictures
            # nor has the registry lists of what filled a version
            patch.object(nightly_training, "_with_those_of", lambda _, fillings: fillings),
            patch.multiple(
                flow,
                open_product=lambda _: product,
                choose_images=nightly_training.training_job,
                one_at_a_time=lambda *_: nullcontext(),
                fit_and_register=reach,
                **({"check_first_images": nothing} if flow is train else {}),
            ),
        ):
            getattr(flow, flow.__name__.rpartition(".")[2]).fn.__wrapped__(product.name, night)
    except ReconadError as error:
        return {"refused": type(error).__name__}
    except ReachedError as reached:
        job = reached.found
    known = ledger.as_of(night)
    status = {day: known.status(day) for day in known.records}
    light_from = night if job.cause == LIGHT else None
    with patch.object(eligibility, "most_spare", lambda *_: 0):
        certain = known.training_images(product.settings.target_fpr, light_from)
    learnt = training.find_version(job)
    return {
        "held_nights": [
            day.isoformat() for day in status if status[day] in (Status.HELD, Status.ROLLED_BACK)
        ],
        "nights_of_light": [
            day.isoformat() for day, record in known.records.items() if record.cause == LIGHT
        ],
        "founding_until": known.history.founding_until or night.isoformat(),
        "spare": by_night_and_split(job.images[~job.images["key"].isin(certain["key"])]),
        "purpose": job.purpose,
        "cause": job.cause,
        "base": job.base.name if job.base else None,
        "varies_light": job.training.light_augmentation,
        "images": by_night_and_split(job.images),
        "pictures": _pictures(job),
        "learnt_before_as": learnt.number if learnt else None,
    }


def _pictures(job: training.TrainingJob) -> str:
    """How many pictures train, calibrate and judge; repeated ones count again."""

    def load(_: Product, rows: pd.DataFrame, size_px: int) -> NDArray[np.uint8]:
        shades = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(3, 8, 8)
        return np.tile(shades, (len(rows), 1, 1, 1))

    with patch.object(Product, "load_images", load):
        images = job.load()
    return f"{len(images.train)}, {len(images.calibration)}, {len(images.judge)}"


def judging_images(product: Product) -> Json | None:
    """The normal images of nights that versions are judged on; None before there is one."""

    def simulate(normal: Any, names: list[str], nights: list[str], *_: Any) -> None:
        raise ReachedError(pd.DataFrame({"key": names, "night": nights, "split": "judge"}))

    with (
        patch.object(Product, "load_images", nothing),
        patch.multiple(
            judging,
            read_golden_images=nothing,
            read_golden=nothing,
            simulated_golden_set=simulate,
        ),
    ):
        try:
            promote.gather_golden.__wrapped__(product, date.min, ImageSize.square(32), frozenset())
        except ReachedError as reached:
            return by_night_and_split(reached.found)
        except ReconadError:
            return None
    raise AssertionError("without a golden set anomalies are simulated")
