"""What a loaded model becomes in a server: it is guarded, counted, and follows an alias."""

import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from mlflow_models.serving.figures import Figures
from mlflow_models.serving.follow import Follower, followed_alias, start_following, try_out
from mlflow_models.serving.guard import guard_next_application
from mlflow_models.serving.log_settings import LOG_VARIABLE, LogSettings
from mlflow_models.serving.prediction_log import PredictionLog
from mlflow_models.serving.process_log import open_log
from mlflow_models.serving.pyfunc import DetectorPyfunc
from mlflow_models.serving.settings import ServingSettings, read_settings, variable
from mlflow_models.serving.shadow import Shadow
from mlflow_models.serving.shared_folder import (
    has_others,
    keep_version,
    kept_threshold,
    kept_version,
    note_serving,
    open_shared_folder,
)
from mlflow_models.serving.started import Started, how_started
from mlflow_models.serving.version import ServedVersion
from reconad_plugin.detector.engine import thread_count
from reconad_plugin.errors import ConfigError, ReconadError

WRONG_START: Final = 2  # as of a command with wrong input
PAUSE_S: Final = 5.0  # until a worker that could not start is started again
_SCORING_SERVER: Final = "mlflow.pyfunc.scoring_server.app"
# the registry is asked again soon, so one call may end early; what is set already stays
_IMPATIENT: Final = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}

_logger = logging.getLogger(__name__)


def is_server() -> bool:
    """Whether MLflow's scoring server is being started in this process."""
    return _SCORING_SERVER in sys.modules


@dataclass(frozen=True)
class Origin:
    """Where a served model comes from, and how another version of it is had."""

    model_name: str | None  # of the registered model; None for a mere folder
    columns: tuple[str, ...]  # of a request, that MLflow hands on
    load: Callable[[Path], ServedVersion]  # reads the folder of a saved model
    download: Callable[[str, str], Path]  # fetches a model URI into a folder


def serve(model: Path, origin: Origin) -> DetectorPyfunc:
    """Return the pyfunc of a saved model, as its surroundings ask for: plain in a notebook or a
    job.

    Raises:
        ConfigError: a variable breaks its rule; a server ends with one line in place of it.
        ModelFormatError: an alias is to be followed, and the model comes from no registry; or the
            version fails its self-test.
    """
    if not is_server():
        return _serve(model, origin, None)
    started = how_started()
    try:
        return _serve(model, origin, started)
    except Exception as error:
        if not isinstance(error, ReconadError | OSError):
            traceback.print_exc()
        print(f"reconad: the server cannot start: {error}", file=sys.stderr, flush=True)
        _end_start(started)


def _end_start(started: Started) -> NoReturn:
    """End this process, and its server too unless others serve in it already."""
    if started.supervisor != os.getpid():  # which starts another worker, for ever
        if has_others(started.supervisor):
            time.sleep(PAUSE_S)
        else:
            os.kill(started.supervisor, signal.SIGTERM)
    os._exit(WRONG_START)


def _serve(model: Path, origin: Origin, started: Started | None) -> DetectorPyfunc:
    settings = read_settings(os.environ)
    log_settings = LogSettings.from_environment(os.environ)
    log = None if log_settings is None else open_log(log_settings)
    if started is None and settings.follow is None:
        version = origin.load(model)
        return DetectorPyfunc(version, log=log)
    shared = None
    if started is not None:
        _log_to_stderr()
        if "OMP_NUM_THREADS" not in os.environ:
            _take_threads(threads_of(started.workers, thread_count()))
        if started.workers > 1:
            shared = open_shared_folder(started.supervisor)
    most_pixels, load = settings.max_image_pixels, origin.load

    def load_with_limit(path: Path) -> ServedVersion:
        loaded = load(path)
        return replace(loaded, loaded=loaded.loaded.taking(most_pixels))

    origin = replace(origin, load=load_with_limit)
    version = _first_version(model, origin, shared)
    most_rows = None if started is None else settings.max_rows
    pyfunc = DetectorPyfunc(version, most_rows, origin.columns, log)
    command_line = () if started is None else started.command_line
    followed = followed_alias(settings.follow, origin.model_name, command_line)
    follower = None
    if followed is not None:
        keep = None if shared is None else partial(keep_version, shared)
        follower = Follower(followed, pyfunc, origin.load, origin.download, keep=keep)
    if started is not None:
        figures = _set_up_process(settings, shared, pyfunc, follower)
        if log is not None:
            log.count_by(figures.count_logged)
    if follower is not None:
        start_following(follower, settings.poll_s)
    if settings.shadow is not None:
        _add_shadow(settings, origin, log)
    if shared is not None:
        note_serving(shared)
    return pyfunc


def _first_version(model: Path, origin: Origin, shared: Path | None) -> ServedVersion:
    """Return what a server begins with, checked and warm: a version that another worker took up,
    else that of the model."""
    version = origin.load((shared and kept_version(shared)) or model)
    if shared is not None:
        version = replace(version, threshold=kept_threshold(shared, version.number))
    try_out(version)
    return version


def _add_shadow(settings: ServingSettings, origin: Origin, log: PredictionLog | None) -> None:
    if log is None:
        raise ConfigError(
            f"{variable('shadow')} needs {LOG_VARIABLE}, since what a shadow says stands in the "
            "prediction log alone: set that too"
        )
    alias = followed_alias(settings.shadow, origin.model_name, ())
    if alias is not None:
        log.shadow = Shadow(settings.shadow_share, origin.columns)
        holder, load, download = log.shadow, origin.load, origin.download
        start_following(Follower(alias, holder, load, download, holder.drop), settings.poll_s)


def _set_up_process(
    settings: ServingSettings,
    shared: Path | None,
    pyfunc: DetectorPyfunc,
    follower: Follower | None,
) -> Figures:
    figures = Figures(pyfunc, shared, lambda: follower is None or follower.is_up_to_date)
    guard_next_application(settings, figures)
    for name, value in _IMPATIENT.items():
        os.environ.setdefault(name, value)
    return figures


def threads_of(workers: int, cores: int) -> int:
    """Share the cores out among the workers.

    Example:
        >>> threads_of(workers=3, cores=8)
        2
    """
    return max(1, cores // workers)


def _take_threads(count: int) -> None:
    """Let engines take so many threads; PyTorch looks at the variable when it is imported."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if (pytorch := sys.modules.get("torch")) is not None:
        pytorch.set_num_threads(count)


def _log_to_stderr() -> None:
    logger = logging.getLogger("mlflow_models.serving")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("reconad: %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
