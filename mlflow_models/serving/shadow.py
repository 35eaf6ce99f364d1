"""A second version that sees some of the pictures as well, and whose answers nobody gets: what it
would have said stands in the prediction log, where the gate reads it."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Final

from mlflow_models.serving.version import ServedVersion
from reconad_plugin.detector.answer import Prediction
from reconad_plugin.detector.prediction import predict_contents, with_own_turns

_DIGITS: Final = 8  # of a hash that decide

_logger = logging.getLogger(__name__)


@dataclass
class Shadow:
    """Holds the version, which a ``Follower`` exchanges; safe for many threads."""

    share: float  # of the pictures that it sees
    columns: tuple[str, ...]  # that the server hands on
    served: ServedVersion | None = None  # None while there is none
    failed: ServedVersion | None = None  # the last one that could not score, which the log knows

    def take(self, version: ServedVersion) -> None:
        """Put another version in."""
        self.served = version

    def drop(self) -> None:
        """Put the version out: its alias is gone."""
        self.served = None

    def look(self, content: bytes, sha256: str, context: str | None) -> Prediction | None:
        """Return what it says of a picture file; None where it does not see it, or fails.

        Which pictures it sees follows from their contents, so that equal ones are drawn alike, by
        any worker.
        """
        version = self.served
        if version is None or int(sha256[:_DIGITS], 16) >= self.share * 16**_DIGITS:
            return None
        read, told = [partial(bytes, content)], [context]
        try:
            with with_own_turns():
                return predict_contents(version.detector, read, version.number, contexts=told)[0]
        except Exception as error:  # is no reason to lose what was answered
            if version is not self.failed:
                _logger.warning("version %s fails as a shadow: %r", version.number, error)
            self.failed = version
            return None
