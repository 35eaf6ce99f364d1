"""What a training reports: how far it is, and what it did."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from reconad_plugin.networks.quantiser import CodebookUse


@dataclass(frozen=True)
class Progress:
    """Where a training stands, for a bar and for the curve of the loss."""

    step: int  # taken
    planned_steps: int  # length of the schedule, as far as it is known
    elapsed_s: float  # seconds used
    loss: float  # of the batch
    held_out_loss: float | None = None  # measured at a validation
    separation: float | None = None  # measured with it; see ``training.held_out``
    phase: str = ""  # name of the phase, where there are phases (``training.phases``)


@dataclass(frozen=True)
class TrainingReport:
    """What a training did."""

    steps: int  # steps taken
    # the schedule's length; with it as ``steps`` and a budget that does not bind, the same images
    # and seed give the same weights on the same processor
    planned_steps: int
    elapsed_s: float  # wall-clock seconds, also those before a kill
    ended_by: str  # ``steps``, ``budget`` or ``early_stopping``
    best_step: int  # the step whose averaged weights were kept
    resumed_step: int  # the step of the checkpoint it went on from, 0 where there was none
    curve: list[Progress] = field(repr=False)  # points of the loss over the steps
    # steps of each phase by name; empty for a phase alone
    phases: dict[str, int] = field(default_factory=dict)
    # how pictures were mirrored or turned, also where the settings left it open
    geometry: str = "none"


@dataclass(frozen=True)
class FoundationReport:
    """What a pretraining came to."""

    training: TrainingReport  # steps, seconds and curve
    # use of each by name, over normal images and unrelated pictures, half of each, as in training
    codebooks: Mapping[str, CodebookUse]
    psnr_db: float  # peak signal-to-noise ratio of the normal images' reconstructions, mean
    ssim: float  # their structural similarity, mean
    # (N, 3, H, W) float in [0, 1], the unrelated pictures that were measured
    unrelated: Tensor = field(repr=False)
