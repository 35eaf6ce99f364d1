"""The one prediction log of a process: opened when a model is loaded, closed when it ends."""

import atexit
import os
import signal
import threading
from functools import cache
from types import FrameType

from mlflow_models.serving.log_settings import SPOOL_VARIABLE, LogSettings
from mlflow_models.serving.prediction_log import PredictionLog
from reconad_plugin.errors import ConfigError
from reconad_plugin.store.objects import open_bucket


@cache
def open_log(settings: LogSettings) -> PredictionLog:
    """Open the log of this process; the same one, however often a model is loaded.

    Raises:
        ConfigError: the bucket can be none, or the spool cannot be written.
    """
    store = open_bucket(settings.bucket)
    try:
        log = PredictionLog(settings, store)
    except OSError as error:
        raise ConfigError(
            f"{SPOOL_VARIABLE} must be a folder on a local disk that can be written; got "
            f"{settings.spool}: {error}"
        ) from None
    atexit.register(log.close)
    if threading.current_thread() is threading.main_thread():
        _flush_on_sigterm(log)
    return log


def _flush_on_sigterm(log: PredictionLog) -> None:
    """Write and send when the process is told to end.

    A server that listens to the signal ends itself when it has answered, and repeats the signal for
    itself then, which would end this process before the log is closed: that one is kept out. What
    does not listen ends here.
    """
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        if callable(before):
            log.end_soon()
            signal.pthread_sigmask(signal.SIG_BLOCK, {number})  # of this thread alone
            before(number, frame)
        elif before == signal.SIG_DFL:
            log.close()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
