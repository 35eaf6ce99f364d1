"""The engine that a training exports beside its version, where the product asks for one."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from reconad_plugin.detector.calibration import Calibration
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.engine import EngineKind, engine_kind
from reconad_plugin.detector.engine_export import MOST_LEARNT, ExportImages, export_engine
from reconad_plugin.errors import ModelFormatError
from reconad_plugin.training.images import NormalImages

NONE: Final = "none"
MOST_MOVE: Final = 0.01  # of a held-out score, in deviations of these scores

_logger = logging.getLogger(__name__)


@contextmanager
def engine_beside(detector: Detector, images: NormalImages, engine: str) -> Iterator[Path | None]:
    """Export an engine of a detector that was just trained on these images.

    Yields:
        The folder that has it; None where ``none`` is asked for. Neither is there one where the
        export fails, or its scores are not those of PyTorch: one line says why, and the training
        goes on.
    """
    if engine == NONE:
        yield None
        return
    with tempfile.TemporaryDirectory() as name:
        yield (
            Path(name) if _is_exported(detector, images, engine_kind(engine), Path(name)) else None
        )


def _is_exported(detector: Detector, images: NormalImages, kind: EngineKind, folder: Path) -> bool:
    learnt = images.train[:: -(-len(images.train) // MOST_LEARNT)].numpy()
    none = learnt[:0]
    try:
        engined = export_engine(
            detector, kind, ExportImages(learnt, images.calibration.numpy(), none, none), folder
        )
        _check(detector.calibration, engined.calibration)
    except Exception as error:  # converters raise almost anything, and no night may fail of it
        reason = " ".join(str(error).split())
        _logger.warning("the version is logged without the engine %s: %s", kind.name, reason)
        return False
    return True


def _check(before: Calibration, after: Calibration) -> None:
    """Raise where an engine's held-out scores are others than PyTorch's."""
    was, found = (np.array(each.normal_scores) for each in (before, after))
    allowed = MOST_MOVE * max(float(was.std()), MOST_MOVE * float(np.abs(was).max()))
    moved = float(np.abs(found - was).max())
    if not moved <= allowed:
        raise ModelFormatError(
            f"it moves a held-out score by {moved:.3g}, and {allowed:.3g} is allowed"
        )
