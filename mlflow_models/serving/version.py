"""A version that answers, and what can hold one."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from reconad_plugin.detector.detector import Detector


@dataclass(frozen=True)
class ServedVersion:
    """One version, ready to answer."""

    loaded: Detector  # as it was calibrated
    number: str  # in the registry, or ``unregistered``
    threshold: float | None = None  # that a person set; None: the calibrated one holds

    @cached_property
    def detector(self) -> Detector:
        """What answers: held against the threshold that holds."""
        return self.loaded if self.threshold is None else self.loaded.held_against(self.threshold)


class Holder(Protocol):
    """Holds a version, which may be exchanged at any time."""

    columns: tuple[str, ...]  # of a request, that MLflow hands on

    @property
    def served(self) -> ServedVersion | None:
        """The version; None while there is none."""

    def take(self, version: ServedVersion) -> None:
        """Put another version in."""
