"""What a training is to learn, and what came of it, whoever asked for it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import pandas as pd
from matplotlib.figure import Figure
from pydantic import BaseModel, ValidationError

from mlflow_models import registry, version_tags
from mlflow_models.foundation import Foundation, find_foundation, foundation_tags
from mlflow_models.tracking import TrainingRecord
from reconad_plugin.config.base import one_line
from reconad_plugin.config.names import FOUNDATION_PREFIX
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.lens import Lens
from reconad_plugin.images.region import Region
from reconad_plugin.images.size import ImageSize
from reconad_plugin.ledger.history import FINETUNE
from reconad_plugin.ledger.manifest import manifest_digest
from reconad_plugin.networks.base import FoundationNetwork
from reconad_plugin.networks.registry import model_spec
from reconad_plugin.training.images import NormalImages, parts_told, positions_told
from reconad_plugin.training.pretrained_features import hash_weights_file
from reconad_plugin.training.report import FoundationReport, Progress, TrainingReport
from reconad_plugin.watch.cause import LIGHT, NONE

TRAINING: Final = "train"
FINETUNING: Final = FINETUNE
PRETRAINING: Final = "pretrain"

FINGERPRINT_FORMAT: Final = 2
PICTURES: Final = 6  # of a kind, in a training's plots
CHECKPOINTS: Final = Path(".reconad/checkpoints")
_YOUNGER: Final = (  # settings that came later
    "features windows regions part_pattern split_by contexts witness watch_served engine "
    "nightly_at timezone golden_floor defects_as_fillings lens max_training_images training_nights "
    "witness_image_size_px"
)
_DECISIVE: Final = "model width options image_size_px target_fpr seed"  # settings
# what was a setting, as it stands in fingerprints of before
_NO_SETTING: Final = {"calibrate_by": "none"}

Checked = TypeVar("Checked", bound=BaseModel)
Learnt = TypeVar("Learnt", Detector, FoundationNetwork)
Report = TypeVar("Report", TrainingReport, FoundationReport)


@dataclass(frozen=True)
class BaseVersion:
    """The version that a fine-tuning starts from."""

    name: str  # as a run shows it
    run_id: str  # of the run that trained it; an alias may move, a run stays
    tags: Mapping[str, str]  # what was noted of it
    load: Callable[[], Detector]


@dataclass(frozen=True)
class TrainingJob:
    """What is to be learnt, and from what."""

    product: str  # whose model it becomes; of a foundation the name it is registered by
    purpose: str  # ``train``, ``finetune`` or ``pretrain``
    run_name: str  # as the list of runs shows it
    settings: ProductSettings  # model, seed and what is asked of the image size
    training: TrainingSettings  # steps, budget, learning rate, variations
    # ``uri``, ``sha256`` and ``split`` of each training image; ``night`` and ``position`` where
    # nights are told apart, and ``part`` where parts are
    images: pd.DataFrame
    sources: Mapping[str, pd.DataFrame]  # address -> table of images there; the run's inputs
    load: Callable[[], NormalImages]  # reads the pixels
    textures: Mapping[str, str] = field(default_factory=dict)  # name -> hash; none: the packaged
    # ``uri``, ``sha256`` and ``split`` of confirmed defects that simulated anomalies are filled
    # from, with ``position`` and ``beside``, and of those that a base's were
    fillings: pd.DataFrame = field(default_factory=pd.DataFrame)
    base: BaseVersion | None = None  # the version to start from, if there is one
    foundation: Foundation | None = None  # where it is given; a base has its own
    cause: str = NONE  # of the alarm that led here, or ``none``
    region: Region | None = None  # where to look; None: everywhere
    lens: Lens | None = None  # whose distortion is taken out; None: of none
    tags: Mapping[str, str] = field(default_factory=dict)  # besides those of every training
    image_size: ImageSize | None = None  # that its pictures led to; None: what the settings say
    picture_size: ImageSize | None = None  # where it is more than the network sees

    @property
    def settled(self) -> ProductSettings:
        """The settings with the image size that its pictures led to."""
        return self.settings.with_image_size(self.image_size or self.settings.image_size)

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the weights."""
        return self._fingerprint(self.settled)

    @property
    def square_fingerprint(self) -> str:
        """The fingerprint of the same job at a time when all pictures became squares."""
        return self._fingerprint(self.settings)

    def _fingerprint(self, settings: ProductSettings) -> str:
        columns = ["sha256", "split", "night"] + ["position"] * (self.cause == LIGHT)
        content = {
            "format": FINGERPRINT_FORMAT,
            "product": self.product,
            "purpose": self.purpose,
            "images": self.images.reindex(columns=columns).fillna("").to_numpy().tolist(),
            "settings": _NO_SETTING
            | settings.model_dump(mode="json", include={*_DECISIVE.split()}),
            "training": self.training.model_dump(mode="json", exclude={"textures"}),
            "textures": dict(self.textures),
            "base": self.base.run_id if self.base else None,
            "foundation": self.foundation.sha256 if self.foundation else None,
            "cause": self.cause,
        }
        if self.picture_size is not None:
            content["windows"] = self.picture_size.setting
        if self.settings.witness is not None:
            content["witness"] = self.settings.witness
        if parts := parts_told(self.images):
            content["parts"] = parts
        told = positions_told(self.images)
        if self.settings.contexts and self._has_normal_map and len({*told} - {""}) > 1:
            content["contexts"] = told
        if self.settings.takes_features and self.base is None:  # it has its own
            content["features"] = hash_weights_file(self.settings.features)
        if len(self.fillings):
            content["fillings"] = self.cut_from
        if self.region is not None:
            content["region"] = self.region.sha256
        if self.lens is not None:
            content["lens"] = self.lens.sha256
        return hash_of(content)

    @property
    def cut_from(self) -> list[list[str]]:
        """What decides the cuts of defects besides the images: which they are, and positions."""
        defects, images = (
            table.reindex(columns=columns).fillna("").to_numpy()
            for table, columns in (
                (self.fillings, ["sha256", "position", "beside"]),
                (self.images, ["position"]),
            )
        )
        return [*defects.tolist(), images[:, 0].tolist()]

    @property
    def _has_normal_map(self) -> bool:
        names = [self.settings.model, self.settings.witness]
        return any(model_spec(name).has_normal_map for name in names if name is not None)

    def noting(self, cause: str) -> "TrainingJob":
        """Return the same job with another cause in its tags alone, since the weights do not follow
        from it."""
        return replace(self, tags={**self.tags, **version_tags.cause_tags(cause)})

    @property
    def title(self) -> str:
        """What a bar and a plot are called."""
        return f"{self.purpose} {self.product}"

    @property
    def checkpoint_folder(self) -> Path:
        """Where the training's state is kept."""
        return CHECKPOINTS / self.fingerprint[:16]

    @property
    def foundation_tags(self) -> dict[str, str]:
        """What the version says of what it stands on."""
        if self.foundation is not None:
            return self.foundation.tags
        return foundation_tags(self.base.tags if self.base else {})

    @property
    def _listed(self) -> pd.DataFrame:
        return pd.concat([self.images, self.fillings]) if len(self.fillings) else self.images

    def record(
        self,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        curve: list[Progress],
        figures: Mapping[str, Figure],
        tags: Mapping[str, str] | None = None,
    ) -> TrainingRecord:
        """Return what MLflow keeps of this job and of its result."""
        return TrainingRecord(
            product=self.product,
            run_name=self.run_name,
            params={"purpose": self.purpose, **params},
            metrics=metrics,
            curve=curve,
            sources=self.sources,
            images=self._listed.drop_duplicates("sha256"),
            figures=figures,
            tags={
                **version_tags.training_tags(
                    self.fingerprint,
                    self.purpose,
                    self.settled.image_size,
                    self.picture_size,
                    self.settings.part_pattern,
                ),
                **self.foundation_tags,
                **self.tags,
                **(tags or {}),
            },
        )


@dataclass(frozen=True)
class TrainingRun(Generic[Learnt, Report]):
    """What came of a training job."""

    version: registry.Version  # as registered
    model: Learnt  # a detector, or the network of a foundation
    report: Report  # steps and figures
    warning: str | None = None  # what to tell whoever asked for it


def checked(settings: type[Checked], values: Mapping[str, object]) -> Checked:
    """Build settings of what was typed.

    Raises:
        ConfigError: a rule is broken.
    """
    try:
        return settings(**values)
    except ValidationError as error:
        raise ConfigError(one_line(error)) from None


def named_foundation(settings: ProductSettings) -> Foundation | None:
    """Find what the settings name for the model to stand on, if they name something.

    Raises:
        ConfigError: there is none of that name.
        ModelFormatError: it is something else.
    """
    spec = model_spec(settings.model).foundation
    return find_foundation(settings.vq, spec) if settings.vq and spec else None


def hash_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def find_version(job: TrainingJob) -> registry.Version | None:
    """Find the version that the same job led to before."""
    before = job.square_fingerprint, earlier_fingerprint(job)
    return registry.find_by_fingerprint(job.product, job.fingerprint, *before)


def earlier_fingerprint(job: TrainingJob) -> str:
    """Return the fingerprint of a job on nights as it was before it had a format.

    With it a version of that time is found, so that its night, run again, trains nothing anew.
    """
    if job.purpose == PRETRAINING:
        return hash_of(
            {
                "purpose": job.purpose,
                "name": job.product.removeprefix(FOUNDATION_PREFIX),
                "images": sorted(job.images["sha256"] + job.images["split"]),
                "settings": _NO_SETTING
                | job.settings.model_dump(mode="json", exclude={*_YOUNGER.split()}),
                "textures": dict(job.textures),
            }
        )
    content = {
        "purpose": job.purpose,
        "images": (job.images["sha256"] + job.images["split"]).tolist(),
        "positions": job.images["position"].tolist() if job.cause == LIGHT else [],
        "manifests": [manifest_digest(manifest) for manifest in job.sources.values()],
        "settings": job.training.model_dump(exclude={"textures"} if job.textures else None),
        "textures": dict(job.textures),
        **_NO_SETTING,
        **job.settings.model_dump(mode="json", include={*_DECISIVE.split()}),
        "base": job.base.name if job.base else None,
        "cause": job.cause,
        **({"vq": job.foundation.sha256} if job.foundation else {}),
        **({"witness": job.settings.witness} if job.settings.witness else {}),
        **({"fillings": job.cut_from} if len(job.fillings) else {}),
    }
    return hash_of(content)
