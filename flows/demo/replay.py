"""The demo: fourteen real days of a ball screw replayed as nights, on real servers.

The factory's side is here, and only here: which picture arrives on which night, that the lamp
gives less light from one night on, that a few broken files come along. The system is told none
of it. The labels of the data set are used for the report alone.
"""

import csv
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from flows.jobs.night_outcome import Action, ActionKind
from flows.platform.servers import CHECKOUT, EmbeddedPlatform, s3_client
from reconad_plugin.errors import PlatformError
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.images.light import dim_lamp
from reconad_plugin.ledger.night_record import NightRecord
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import PRESETS

PRODUCT: Final = "ball_screw"
BUCKET: Final = "factory"
DATA: Final = CHECKOUT / "demo" / PRODUCT
LAMP_POWER: Final = 0.6  # share of the light that the worn lamp still gives
JPEG_QUALITY: Final = 95
FINETUNE_TIMEOUT_S: Final = 600
FINETUNE_START_TIMEOUT_S: Final = 90

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
budget_s = 300
learning_rate = 5e-4
"""


@dataclass(frozen=True)
class DemoPlan:
    """What the factory does.

    Attributes:
        nights: the real days that are replayed.
        dimmed_from: the lamp gives ``LAMP_POWER`` of its light from this night on.
        broken_night: the night with files that are no pictures.
        train_steps: of the first training.
        finetune_steps: of a fine-tuning.
    """

    nights: tuple[date, ...]
    dimmed_from: date = date(2020, 9, 3)
    broken_night: date = date(2020, 8, 31)
    train_steps: int = 500
    finetune_steps: int = 250


@dataclass(frozen=True)
class DemoNight:
    """One row of the demo's table: what truly happened.

    Attributes:
        night: ``YYYY-MM-DD``.
        images: accepted.
        quarantined: refused with a reason.
        duplicates: same bytes as an image before.
        is_alarm: whether the watch raised one.
        cause: its cause.
        explanation: what happened and why, in words.
        action: what was done.
        champion: the version in service afterwards.
        suspects: images that look anomalous with the light matched.
        waiting: images on the night's review list.
        pitted: how many of the pictures show pitting by the data set's labels. The system never
            sees this.
        is_simulated: whether the night's defects are simulated.
        duration_s: wall-clock seconds.
        record: the night's record, where one was written.
    """

    night: str
    images: int
    quarantined: int
    duplicates: int
    is_alarm: bool
    cause: str
    explanation: str
    action: Action
    champion: str
    suspects: int
    waiting: int
    pitted: int
    is_simulated: bool
    duration_s: float
    record: NightRecord | None = field(repr=False)

    @property
    def causes(self) -> list[str]:
        """The cause of an alarm and what else was seen; empty without one."""
        return [self.cause, *self.record.also] if self.is_alarm and self.record else []


def full_plan() -> DemoPlan:
    """All fourteen days."""
    return DemoPlan(nights=tuple(sorted({row.night for row in labels()})))


def short_plan() -> DemoPlan:
    """Nine days and a short first training: the same story for the tests."""
    days = full_plan().nights
    return DemoPlan(nights=(*days[:8], days[10]), train_steps=200)


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


def replay(
    platform: EmbeddedPlatform, plan: DemoPlan, on_night: Callable[[DemoNight], None]
) -> list[DemoNight]:
    """Let the nights arrive and run, one after the other.

    Should no real night have been found to hold defects, a night of simulated defects
    follows, so that this branch is seen too; it is labelled as simulated.

    Args:
        platform: with deployments and a worker.
        plan: what the factory does.
        on_night: called as each night ends.
    """
    factory = _Factory(platform, plan)
    nights: list[DemoNight] = []
    for night in plan.nights:
        factory.deliver(night)
        nights.append(_run_night(night, factory.pitted(night), is_simulated=False))
        on_night(nights[-1])
    if not any("defects" in row.causes for row in nights):
        extra = plan.nights[-1] + timedelta(days=1)
        factory.deliver_simulated_defects(extra)
        nights.append(_run_night(extra, pitted=0, is_simulated=True))
        on_night(nights[-1])
    return nights


def _run_night(night: date, pitted: int, is_simulated: bool) -> DemoNight:
    from flows.jobs.product import open_product
    from flows.nightly import nightly
    from mlflow_models import registry

    start_s = time.monotonic()
    outcome = nightly(PRODUCT, night)
    record, action = outcome.record, outcome.action
    if record and record.is_learning:
        action = _await_finetuning(night)
    champion = registry.version_by_alias(PRODUCT, registry.CHAMPION)
    review = open_product(PRODUCT).records.review(night)
    return DemoNight(
        night=night.isoformat(),
        images=outcome.accepted,
        quarantined=outcome.quarantined,
        duplicates=outcome.duplicate,
        is_alarm=bool(record and record.is_alarm),
        cause=record.cause if record else "none",
        explanation=record.explanation if record else "No version served yet.",
        action=action,
        champion=champion.number if champion else "-",
        suspects=record.statistics.suspects.above if record else 0,
        waiting=int((review["decision"] == "waiting").sum()),
        pitted=pitted,
        is_simulated=is_simulated,
        duration_s=time.monotonic() - start_s,
        record=record,
    )


def _await_finetuning(night: date) -> Action:
    """Wait for the run that the automation starts on the drift event; what came of it."""
    from mlflow_models import registry

    run = _await_run(night)
    if run is None:
        return Action(ActionKind.EVENT_SENT, remark=", but no fine-tuning started")
    learnt = [
        version
        for version in registry.versions(PRODUCT)
        if (version.night, version.purpose) == (night.isoformat(), "finetune")
    ]
    if not learnt:
        message = run.state.message if run.state else ""
        remark = f" {run.state_name.lower()}: {message}"
        return Action(ActionKind.FINETUNING_ENDED, remark=remark)
    newest = learnt[-1]
    return Action(ActionKind.FINETUNED, newest.state or "not judged", newest.number)


def _await_run(night: date) -> Any:
    """Wait for a night's fine-tuning run to end; None where none starts or ends in time."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    start_s = time.monotonic()
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=["finetune"]))
            )
            mine = [run for run in runs if run.parameters.get("night") == night.isoformat()]
            ended = [run for run in mine if run.state and run.state.is_final()]
            if ended:
                return ended[0]
            waited_s = time.monotonic() - start_s
            if waited_s > (FINETUNE_TIMEOUT_S if mine else FINETUNE_START_TIMEOUT_S):
                return None
            time.sleep(0.5)


class _Factory:
    """The other side of the bucket: cameras that deliver pictures."""

    def __init__(self, platform: EmbeddedPlatform, plan: DemoPlan) -> None:
        self._client = s3_client(platform.environment)
        self._plan = plan
        self._labels = list(labels())

    def deliver(self, night: date) -> None:
        """Put the night's pictures into the bucket."""
        for row in self._of(night):
            self._put(night, row.path.name, self._picture(row.path, night))
        if night == self._plan.broken_night:
            for name, content in self._broken_files(night):
                self._put(night, name, content)

    def deliver_simulated_defects(self, night: date) -> None:
        """Put a night of normal pictures with simulated defects into the bucket."""
        last_good = max(row.night for row in self._labels if self.pitted(row.night) == 0)
        normal = [row for row in self._of(last_good) if not row.is_pitted]
        pictures = [decode_image(self._picture(row.path, night)) for row in normal]
        generator = torch.Generator().manual_seed(0)
        images = stack_images(pictures, pictures[0].shape[1])
        damaged = simulate_anomalies(images, generator, PRESETS["electronics"]).pixels
        for row, image, picture in zip(normal, damaged, pictures, strict=True):
            height, width = picture.shape[:2]
            resized = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height))
            self._put(night, f"simulated-{row.path.name}", _to_jpeg(resized))

    def pitted(self, night: date) -> int:
        """How many of the night's pictures show pitting, by the data set's labels."""
        return sum(row.is_pitted for row in self._of(night))

    def _of(self, night: date) -> list["Label"]:
        return [row for row in self._labels if row.night == night]

    def _picture(self, path: Path, night: date) -> bytes:
        content = path.read_bytes()
        if night < self._plan.dimmed_from:
            return content
        pixels = torch.from_numpy(decode_image(content).astype(np.float32) / 255)
        dimmed = (dim_lamp(pixels, LAMP_POWER) * 255).round().byte().numpy()
        return _to_jpeg(Image.fromarray(dimmed))

    def _broken_files(self, night: date) -> Iterator[tuple[str, bytes]]:
        whole = self._of(night)[0].path.read_bytes()
        yield "cut-off.jpg", whole[: len(whole) // 2]
        yield "empty.jpg", b""
        yield "notes.png", b"Shift handed over, lamp to be replaced on Thursday.\n"
        yield "zz-sent-twice.jpg", whole

    def _put(self, night: date, name: str, content: bytes) -> None:
        key = f"{PRODUCT}/incoming/{night.isoformat()}/{name}"
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)


@dataclass(frozen=True)
class Label:
    """One picture of the demo's data.

    Attributes:
        path: its file.
        night: the real day it was taken on.
        is_pitted: whether it shows pitting. For the report alone.
    """

    path: Path
    night: date
    is_pitted: bool


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


def _to_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
