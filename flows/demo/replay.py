"""The demo: fourteen real days of a ball screw replayed as nights, on real servers.

The factory's side is here, and only here: which picture arrives on which night, that the lamp
gives less light from one night on, that a few broken files come along. The system is told none
of it. The labels of the data set are used for the report alone.
"""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from flows.demo.plan import BUCKET, LAMP_POWER, PRODUCT, DemoNight, DemoPlan, Label, labels
from flows.jobs.night_outcome import Action, ActionKind
from flows.jobs.scoring_client import ScoringClient
from flows.platform.servers import EmbeddedPlatform, s3_client
from reconad_plugin.images.decode import decode_image
from reconad_plugin.images.geometry import stack_images
from reconad_plugin.images.light import dim_lamp
from reconad_plugin.ledger.history import FINETUNE
from reconad_plugin.ledger.night_record import WAITING
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.simulation.presets import PRESETS
from reconad_plugin.watch.cause import NONE

JPEG_QUALITY: Final = 95
FINETUNE_TIMEOUT_S: Final = 900
FINETUNE_START_TIMEOUT_S: Final = 90
FOLLOWING_TIMEOUT_S: Final = 30  # for a running server to take up a new champion


def replay(
    platform: EmbeddedPlatform, plan: DemoPlan, on_night: Callable[[DemoNight], None]
) -> list[DemoNight]:
    """Let the nights arrive and run, one after the other.

    Should no real night have been found to hold defects, a night of simulated defects
    follows, so that this branch is seen too; it is labelled as simulated. The platform has
    deployments and a worker; ``on_night`` is called as each night ends.
    """
    factory = _Factory(platform, plan)
    nights: list[DemoNight] = []
    served = _Served(platform)

    def run_night(night: date, pitted: int, is_simulated: bool = False) -> None:
        row = _run_night(night, pitted, is_simulated)
        picture = factory.example(plan.nights[-1] if is_simulated else night)
        nights.append(replace(row, served=served.version(row.champion, picture)))
        on_night(nights[-1])

    for night in plan.nights:
        factory.deliver(night)
        run_night(night, factory.pitted(night))
    if not any("defects" in row.causes for row in nights):
        extra = plan.nights[-1] + timedelta(days=1)
        factory.deliver_simulated_defects(extra)
        run_night(extra, pitted=0, is_simulated=True)
    return nights


def _run_night(night: date, pitted: int, is_simulated: bool) -> DemoNight:
    from flows.jobs.product import open_product
    from flows.nightly import nightly
    from mlflow_models import registry

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
        cause=record.cause if record else NONE,
        explanation=record.explanation if record else "No version served yet.",
        action=action,
        champion=champion.number if champion else "-",
        served="-",
        suspects=record.statistics.suspects.above if record else 0,
        waiting=int((review["decision"] == WAITING).sum()),
        pitted=pitted,
        is_simulated=is_simulated,
        record=record,
    )


def _await_finetuning(night: date) -> Action:
    """Wait for the run that the automation starts on the drift event; what came of it."""
    from mlflow_models import registry

    run = _await_run(night)
    if run is None:
        return Action(ActionKind.EVENT_SENT, remark=", but no fine-tuning started")
    mine = (night.isoformat(), FINETUNE)
    learnt = [each for each in registry.versions(PRODUCT) if (each.night, each.purpose) == mine]
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

    start_s, finetunings = time.monotonic(), FlowFilter(name=FlowFilterName(any_=["finetune"]))
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_flow_runs(flow_filter=finetunings)
            mine = [run for run in runs if run.parameters.get("night") == night.isoformat()]
            ended = [run for run in mine if run.state and run.state.is_final()]
            if ended:
                return ended[0]
            waited_s = time.monotonic() - start_s
            if waited_s > (FINETUNE_TIMEOUT_S if mine else FINETUNE_START_TIMEOUT_S):
                return None
            time.sleep(0.5)


class _Served:
    """``mlflow models serve`` on the champion, from the first one on; nobody starts it anew."""

    def __init__(self, platform: EmbeddedPlatform) -> None:
        self._platform = platform
        self._client: ScoringClient | None = None

    def version(self, champion: str, picture: bytes) -> str:
        """Return which version answers, once it is the champion or some seconds have passed."""
        from mlflow_models import registry

        if champion == "-":
            return "-"
        if self._client is None:
            uri = f"models:/{registry.model_name(PRODUCT)}@{registry.CHAMPION}"
            self._client = ScoringClient(self._platform.serve_model(uri))
        deadline_s = time.monotonic() + FOLLOWING_TIMEOUT_S
        while True:
            (row,) = self._client.ask([picture])
            if row.model_version == champion or time.monotonic() > deadline_s:
                return row.model_version
            time.sleep(0.2)


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
            whole = self._of(night)[0].path.read_bytes()
            self._put(night, "cut-off.jpg", whole[: len(whole) // 2])
            self._put(night, "empty.jpg", b"")
            self._put(night, "notes.png", b"Shift handed over, lamp to be replaced on Thursday.\n")
            self._put(night, "zz-sent-twice.jpg", whole)

    def deliver_simulated_defects(self, night: date) -> None:
        """Put a night of normal pictures with simulated defects into the bucket."""
        last_good = max(row.night for row in self._labels if self.pitted(row.night) == 0)
        normal = [row for row in self._of(last_good) if not row.is_pitted]
        pictures = [decode_image(self._picture(row.path, night)) for row in normal]
        generator = torch.Generator().manual_seed(0)
        images = torch.from_numpy(stack_images(pictures, pictures[0].shape[1]))
        damaged = simulate_anomalies(images, generator, PRESETS["electronics"]).pixels
        for row, image, picture in zip(normal, damaged, pictures, strict=True):
            height, width = picture.shape[:2]
            resized = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((width, height))
            self._put(night, f"simulated-{row.path.name}", _to_jpeg(resized))

    def example(self, night: date) -> bytes:
        """Return one of the night's pictures, as it was delivered."""
        return self._picture(self._of(night)[0].path, night)

    def pitted(self, night: date) -> int:
        """Count the night's pictures that show pitting, by the data set's labels."""
        return sum(row.is_pitted for row in self._of(night))

    def _of(self, night: date) -> list[Label]:
        return [row for row in self._labels if row.night == night]

    def _picture(self, path: Path, night: date) -> bytes:
        content = path.read_bytes()
        if night < self._plan.worn_from:
            return content
        pixels = torch.from_numpy(decode_image(content).astype(np.float32) / 255)
        lit = dim_lamp(pixels, torch.tensor(LAMP_POWER))  # (H, W, 3)
        return _to_jpeg(Image.fromarray((lit * 255).round().byte().numpy()))

    def _put(self, night: date, name: str, content: bytes) -> None:
        key = f"{PRODUCT}/incoming/{night.isoformat()}/{name}"
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)


def _to_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
