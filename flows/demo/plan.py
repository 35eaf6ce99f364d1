"""What the demo plays: its pictures, its nights, and what is noted of each."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

from flows.jobs.night_outcome import Action
from flows.platform.servers import CHECKOUT, EmbeddedPlatform
from reconad_plugin.errors import PlatformError
from reconad_plugin.ledger.night_record import NightRecord

PRODUCT: Final = "ball_screw"
BUCKET: Final = "factory"
DATA: Final = CHECKOUT / "demo" / PRODUCT
LAMP_POWER: Final = (0.65, 0.55, 0.4)  # of red, green and blue that the worn lamp still gives

SETTINGS: Final = """\
# Written by the demo.
[storage]
bucket = "{bucket}"
cache_dir = "{state}/cache"

[monitoring]
workspace = "{workspace}"

[products.ball_screw]
model = "ae"
image_size_px = 128
first_training_nights = 3       # so that the thresholds have seen nights differ
position_pattern = '_(\\d+_\\d+)\\.'  # the camera looks at fifteen positions of the screw
[products.ball_screw.train]
steps = {train_steps}
budget_s = 600
[products.ball_screw.finetune]
steps = {finetune_steps}
budget_s = 600
learning_rate = 5e-4
"""


@dataclass(frozen=True)
class DemoPlan:
    """What the factory does."""

    nights: tuple[date, ...]  # the real days that are replayed
    worn_from: date = date(2020, 9, 4)  # from here on the lamp gives ``LAMP_POWER`` of its light
    broken_night: date = date(2020, 8, 31)  # the night with files that are no pictures
    train_steps: int = 500  # of the first training
    finetune_steps: int = 250  # of a fine-tuning


@dataclass(frozen=True)
class DemoNight:
    """One row of the demo's table: what truly happened."""

    night: str  # ``YYYY-MM-DD``
    images: int  # accepted
    quarantined: int  # refused with a reason
    duplicates: int  # same bytes or pixels as an image before
    is_alarm: bool  # whether the watch raised one
    cause: str
    explanation: str  # what happened and why, in words
    action: Action  # what was done
    champion: str  # the version in service afterwards
    served: str  # the version that the running server answered with then; ``-`` before there is one
    suspects: int  # images that look anomalous with the light matched
    waiting: int  # images on the night's review list
    pitted: int  # pictures with pitting by the data set's labels, which the system never sees
    is_simulated: bool  # whether the night's defects are simulated
    record: NightRecord | None = field(repr=False)  # the night's record, where one was written

    @property
    def causes(self) -> list[str]:
        """The cause of an alarm and what else was seen; empty without one."""
        return [self.cause, *self.record.also] if self.is_alarm and self.record else []


def version_name(number: str) -> str:
    """Return a version as people see it.

    Example:
        >>> version_name("2"), version_name("-")
        ('v2', '-')
    """
    return number if number == "-" else f"v{number}"


def full_plan() -> DemoPlan:
    """Plan all fourteen days."""
    return DemoPlan(nights=tuple(sorted({row.night for row in labels()})))


def short_plan() -> DemoPlan:
    """Plan nine days and a short first training: the same story for the tests."""
    days = full_plan().nights
    nights = (*days[:8], days[10])
    return DemoPlan(nights, worn_from=days[6], train_steps=200)  # so that a quiet night follows


def write_settings(platform: EmbeddedPlatform, plan: DemoPlan) -> None:
    """Write the demo's ``reconad.toml`` into the platform's state."""
    content = SETTINGS.format(
        bucket=BUCKET,
        state=platform.state,
        workspace=platform.evidently_workspace,
        train_steps=plan.train_steps,
        finetune_steps=plan.finetune_steps,
    )
    Path(platform.environment["RECONAD_CONFIG"]).write_text(content, encoding="utf-8")


@dataclass(frozen=True)
class Label:
    """One picture of the demo's data."""

    path: Path
    night: date  # the real day it was taken on
    is_pitted: bool  # whether it shows pitting. For the report alone


def labels() -> Iterator[Label]:
    """Read what the data set says of each picture of the demo.

    Raises:
        PlatformError: this is an installed package without the pictures.
    """
    if not DATA.exists():
        raise PlatformError(
            f"the demo needs its pictures; {DATA} is not there: run it in a checkout"
        )
    with (DATA / "manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            day = date.fromisoformat(Path(row["path"]).parent.name)
            yield Label(DATA / row["path"], day, row["label"] != "normal")
