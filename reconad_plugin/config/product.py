"""Settings of one product, and of its trainings."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import pydantic
from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
)

from reconad_plugin.config.base import Frozen, Positive
from reconad_plugin.config.night import NightlyAt, TimeZone
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Box
from reconad_plugin.images.size import ImageSize, check_image_size, settle_size, window_pictures
from reconad_plugin.networks.registry import MODELS, Option, check_witness, model_spec
from reconad_plugin.simulation.presets import DEFAULT_PRESET
from reconad_plugin.simulation.presets import preset as find_preset

DEFAULT_MODEL = "ae"
AUTO = "auto"  # the model that is advised when the first training begins


def _known_model(name: str) -> str:
    if name != AUTO:
        model_spec(name)
    return name


def _known_preset(name: str) -> str:
    find_preset(name)
    return name


_GROUPS: Final = {
    "position_pattern": "the camera's position, as in '_(left|right)_'",
    "part_pattern": "the part, as in 'part([0-9]+)_'",
}


def _pattern_with_a_group(pattern: str, info: ValidationInfo) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(
            f"{info.field_name} must be a regular expression; got {pattern!r}: {error}"
        ) from None
    if groups != 1:
        means = _GROUPS[info.field_name or ""]
        raise ValueError(
            f"{info.field_name} must have one group, which is {means}; got {groups} in {pattern!r}"
        )
    return pattern


_Pattern = Annotated[str, AfterValidator(_pattern_with_a_group)]
_ImageSize = Annotated[
    int | ImageSize,
    PlainValidator(check_image_size),
    PlainSerializer(lambda asked: getattr(asked, "setting", asked)),
]


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class _GivenBox(Box):
    """A box in ``regions``."""


class TrainingSettings(Frozen):
    """One training: it ends after ``steps`` or ``budget_s``, whichever is first.

    With a budget and no steps the schedule is stretched to the budget. With neither, the number
    of images gives the steps (``training.schedule``).
    """

    steps: Annotated[int, Field(ge=1)] | None = None
    budget_s: Positive | None = None
    learning_rate: Positive | None = None  # the model's
    # the model's; batch norm needs two, and more than these fit into no memory
    batch_size: Annotated[int, Field(ge=2, le=4096)] | None = None
    light_augmentation: bool = False
    geometric_augmentation: Literal["auto", "none", "mirror", "rotate"] = "auto"
    preset: Annotated[str, AfterValidator(_known_preset)] = DEFAULT_PRESET
    textures: str | None = None  # a folder or s3://bucket/prefix; None: the packaged ones
    early_stopping: bool = True


class FinetuneSettings(TrainingSettings):
    """A fine-tuning. The light is varied whenever the cause is light, whatever is set here."""

    steps: Annotated[int, Field(ge=1)] | None = 300
    budget_s: Positive | None = 300


class ProductSettings(Frozen):
    """One product: a camera that looks at one kind of part."""

    model: Annotated[str, AfterValidator(_known_model)] = DEFAULT_MODEL
    width: str | None = None  # None: the model's default
    options: dict[str, Option] = Field(default_factory=dict)  # of the model
    vq: Annotated[str, Field(min_length=1)] | None = None  # what dsr stands on; None: its own
    features: Annotated[str, Field(min_length=1)] | None = (
        None  # weights for fre; None: the wheel's
    )
    witness: str | None = None  # a second model, which scores beside the first in one version
    # a budget of pixels, as the side of a square, or a size; where none is given the model's own
    image_size_px: _ImageSize = 128
    witness_image_size_px: _ImageSize | None = None  # None: as the model's
    windows: bool = False  # whether pictures are also seen in windows of their own pixels
    train: TrainingSettings = TrainingSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    nightly_at: NightlyAt = "02:00"
    timezone: TimeZone = "UTC"
    first_training_nights: Annotated[int, Field(ge=1)] = 3
    retrain_every_nights: Annotated[int, Field(ge=0)] = 0  # 0: only drift leads to learning
    # image_AUROC on the real golden defects, below which the champion is trained anew; None: never
    golden_floor: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    min_training_images: Annotated[int, Field(ge=2)] = 10
    max_training_images: Annotated[int, Field(ge=100)] = 10_000  # evenly of nights and positions
    training_nights: Annotated[int, Field(ge=0)] = 0  # that are learnt, the newest; 0: all
    target_fpr: Annotated[float, Field(gt=0, lt=1)] = 0.02
    position_pattern: _Pattern | None = None
    # whether each position of the camera has a normal map and a threshold of its own
    contexts: bool = False
    part_pattern: _Pattern | None = None  # pictures of one part fall on one side of the splits
    split_by: Literal["image", "time"] = "image"  # how pictures whose part nothing tells are dealt
    # where to look, in place of the masks under ``regions/`` in the bucket
    regions: tuple[_GivenBox, ...] = ()
    # calibration of the camera's lens, whose distortion is taken out: a file or s3://bucket/key
    lens: Annotated[str, Field(min_length=1)] | None = None
    false_alarms_per_year: Positive = 1.0
    defects_as_fillings: bool = False  # whether confirmed defects fill simulated anomalies
    # whether the watch takes what was said of a picture when it was served, from the prediction log
    watch_served: bool = False
    # exported with each training, so that a version is served without PyTorch
    engine: Literal["none", "openvino"] = "none"
    max_image_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    min_image_side_px: Annotated[int, Field(ge=3)] = 16
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # what numpy and torch both take

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_thresholds_by_light(cls, given: object) -> object:
        if not isinstance(given, dict) or "calibrate_by" not in given:
            return given
        if (asked := given["calibrate_by"]) != "none":
            raise ValueError(
                f"calibrate_by is no setting any more, since contexts have thresholds; got "
                f"{asked!r}: leave it out, and where names tell exposures, such as _exp3_, set "
                "position_pattern = '_(exp[0-9])_' and contexts = true"
            )
        return {name: value for name, value in given.items() if name != "calibrate_by"}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _size_of_the_model(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("image_size_px") is not None:
            return given
        given = {name: value for name, value in given.items() if name != "image_size_px"}
        spec = MODELS.get(given.get("model", DEFAULT_MODEL))
        return given if spec is None else {**given, "image_size_px": spec.image_size_px}

    @pydantic.model_validator(mode="after")
    def _boxes_fit_what_is_seen(self) -> "ProductSettings":
        for name in (self.model, self.witness):
            if self.regions and name in MODELS and MODELS[name].is_of_whole_pictures:
                raise ValueError(f"{name} is of whole pictures; got it with regions: leave one out")
        if self.regions and self.windows:
            raise ValueError(
                "regions are of pictures that are seen as a whole; got them and windows = true: "
                "leave one of them out"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _width_and_options_belong_to_model(self) -> "ProductSettings":
        if self.model == AUTO:
            of_a_model = ("width", "options", "vq", "witness", "witness_image_size_px")
            named = [name for name in of_a_model if getattr(self, name)]
            if named:
                raise ValueError(f"{named[0]} belongs to a model; got it with {AUTO}: name a model")
            return self
        spec = MODELS[self.model]
        spec.check_width(self.model, self.width)
        spec.check_options(self.model, self.options)
        if self.vq is not None and spec.foundation is None:
            founded = ", ".join(name for name, each in MODELS.items() if each.foundation)
            raise ValueError(f"vq belongs to {founded}; got it with {self.model}: leave it out")
        if self.witness is not None:
            check_witness(self.model, self.witness)
        if self.witness_image_size_px is not None and (self.witness is None or self.windows):
            raise ValueError(
                "witness_image_size_px belongs to a witness, of a model that sees pictures as a "
                "whole: name a witness, and leave windows out"
            )
        if self.features is not None and not self.takes_features:
            taking = ", ".join(name for name, each in MODELS.items() if each.pretrained)
            raise ValueError(f"features belong to {taking}; got them with {self.model}")
        return self

    @property
    def takes_features(self) -> bool:
        """Whether one of its models has weights of other pictures."""
        names = [name for name in (self.model, self.witness) if name is not None]
        return any(MODELS[name].pretrained for name in names)

    @property
    def of_witness(self) -> "ProductSettings | None":
        """Settings that the witness alone is trained with; None without one."""
        if self.witness is None:
            return None
        return self.model_copy(
            update={
                "model": self.witness,
                "width": None,
                "options": {},
                "vq": None,
                "witness": None,
                "witness_image_size_px": None,
            }
        )

    @property
    def asked_size_px(self) -> int | ImageSize | None:
        """With ``auto``: the image size that was asked for, if one was."""
        return self.image_size_px if "image_size_px" in self.model_fields_set else None

    def settled(
        self,
        model: str,
        width: str | None,
        image_size_px: int | ImageSize,
        options: Mapping[str, Option] | None = None,
    ) -> "ProductSettings":
        """Return the same settings for a model in place of ``auto``."""
        features = self.features if model_spec(model).pretrained else None
        chosen = {"model": model, "width": width, "image_size_px": image_size_px}
        rest = {**chosen, "options": dict(options or {}), "features": features}
        return ProductSettings.model_validate({**self.model_dump(), **rest})

    @property
    def architecture(self) -> dict[str, Option]:
        """Arguments of the network's builder besides the image size."""
        return model_spec(self.model).architecture(self.width, self.options)

    @property
    def image_size(self) -> ImageSize:
        """Size that the network takes; a square where only a budget is known."""
        return settle_size(self.image_size_px, [])

    def size_of_pictures(
        self, size: ImageSize, pictures: Sequence[tuple[int, int]]
    ) -> ImageSize | None:
        """Return the size that pictures are brought to where it is another than the network's.

        Args:
            size: what the network takes.
            pictures: (width, height) of each, as they come.

        Raises:
            ConfigError: they are smaller than a window, or the witness would see less than the
                network.
        """
        if self.windows:
            return window_pictures(pictures, size)
        if self.witness_image_size_px is None:
            return None
        whole = settle_size(self.witness_image_size_px, pictures)
        if whole.height_px < size.height_px or whole.width_px < size.width_px:
            raise ConfigError(
                f"a witness must see at least what the model does, {size} px; got {whole} px: "
                "raise witness_image_size_px, or leave it out"
            )
        return None if whole == size else whole

    def with_image_size(self, size: ImageSize) -> "ProductSettings":
        """Return the same settings, with the size settled."""
        return self.model_copy(update={"image_size_px": size})

    @property
    def limits(self) -> ImageLimits:
        """Allowed image sizes."""
        return ImageLimits(self.max_image_pixels, self.min_image_side_px)
