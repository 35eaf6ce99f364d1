"""What a loaded model becomes in a server: it is guarded, counted, and follows an alias."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from mlflow_models.serving.figures import Figures
from mlflow_models.serving.follow import Follower, followed_alias, start_following
from mlflow_models.serving.guard import guard_next_application
from mlflow_models.serving.log_settings import LogSettings
from mlflow_models.serving.prediction_log import open_log
from mlflow_models.serving.pyfunc import DetectorPyfunc, ServedVersion
from mlflow_models.serving.settings import ServingSettings, read_settings, variable
from mlflow_models.serving.started import Started, how_started

_SCORING_SERVER: Final = "mlflow.pyfunc.scoring_server.app"
# the registry is asked again soon, so one call may end early; what is set already stays
_IMPATIENT: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

_logger = logging.getLogger(__name__)


def is_server() -> bool:
    """Whether MLflow's scoring server is being started in this process."""
    return _SCORING_SERVER in sys.modules


def serve(
    version: ServedVersion,
    columns: tuple[str, ...],
    model_name: str | None,
    load: Callable[[Path], ServedVersion],
    download: Callable[[str, str], Path],
) -> DetectorPyfunc:
    """Return the pyfunc of a version as its surroundings ask for: plain in a notebook or a job.

    Args:
        version: the first to answer.
        columns: what MLflow hands on of a request.
        model_name: of the registered model that it comes from; None for a mere folder.
        load: reads another version, see ``Follower``.
        download: fetches it.

    Raises:
        ConfigError: a variable breaks its rule.
    """
    log_settings = LogSettings.from_environment(os.environ)
    log = None if log_settings is None else open_log(log_settings)
    if not is_server() and not os.environ.get(variable("follow")):
        return DetectorPyfunc(version.detector, version.number, log=log)
    settings = read_settings(os.environ)
    started = how_started()

    def prepare(loaded: ServedVersion) -> ServedVersion:
        return replace(loaded, detector=loaded.detector.taking(settings.max_image_pixels))

    version = prepare(version)
    most_rows = settings.max_rows if is_server() else None
    pyfunc = DetectorPyfunc(version.detector, version.number, most_rows, columns, log)
    follower = None
    followed = followed_alias(settings.follow, model_name, started.command_line)
    if followed is not None:
        follower = Follower(followed, pyfunc, lambda path: prepare(load(path)), download)
    if is_server():
        _set_up_process(settings, started, pyfunc, follower)
    if follower is not None:
        for name, value in _IMPATIENT.items():
            os.environ.setdefault(name, value)
        start_following(follower, settings.poll_s)
    return pyfunc


def _set_up_process(
    settings: ServingSettings, started: Started, pyfunc: DetectorPyfunc, follower: Follower | None
) -> None:
    _log_to_stderr()
    figures = Figures(pyfunc, started, lambda: follower is None or follower.is_up_to_date)
    guard_next_application(settings, figures)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads_of(started.workers, _cores()))


def threads_of(workers: int, cores: int) -> int:
    """Share the cores out among the workers.

    Example:
        >>> threads_of(workers=3, cores=8)
        2
    """
    return max(1, cores // workers)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _log_to_stderr() -> None:
    logger = logging.getLogger("mlflow_models.serving")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("reconad: %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
