"""A version that answers, and what can hold one."""

from dataclasses import dataclass
from typing import Protocol

from reconad_plugin.detector.detector import Detector


@dataclass(frozen=True)
class ServedVersion:
    """One version, ready to answer."""

    detector: Detector
    number: str  # in the registry, or ``unregistered``


class Holder(Protocol):
    """Holds a version, which may be exchanged at any time."""

    columns: tuple[str, ...]  # of a request, that MLflow hands on

    @property
    def number(self) -> str | None:
        """Number of the version; None while there is none."""

    def take(self, version: ServedVersion) -> None:
        """Put another version in."""
