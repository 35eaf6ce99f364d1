"""A threshold that a person set on a version in place of the calibrated one: who did, and why."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.deciding import check_person
from reconad_plugin.ledger.read_back import check_types

MOST_THRESHOLD: Final = 1e9
MOST_REASON: Final = 200  # characters
MOST_SETTINGS: Final = 100  # of one version
MOST_CHARACTERS: Final = 90_000  # of all of them; a tag of MLflow's registry has 100,000


@dataclass(frozen=True)
class ThresholdSetting:
    """What a person set."""

    threshold: float | None  # of the score; None: back to the calibrated one
    by: str  # the person
    why: str
    at: str  # when, ISO 8601

    def check(self) -> "ThresholdSetting":
        """Return it with its texts tidied.

        Raises:
            ConfigError: the threshold is no number above 0; the name or the reason is missing, too
                long, or has characters that cannot be shown.
        """
        threshold = self.threshold
        if threshold is not None and not 0 < threshold <= MOST_THRESHOLD:
            raise ConfigError(
                f"a threshold must be a number above 0, at most {MOST_THRESHOLD:g}; got "
                f"{threshold:g}: correct it"
            )
        why = " ".join(self.why.split())
        if not why or len(why) > MOST_REASON or printable(why) != why:
            raise ConfigError(
                f"a threshold needs its reason, of at most {MOST_REASON} characters that can be "
                f"shown; got {len(why)}: say why"
            )
        return ThresholdSetting(threshold, check_person(self.by), why, self.at)

    def __str__(self) -> str:
        said = "the calibrated one" if self.threshold is None else f"{self.threshold:g}"
        return f"{said}, by {self.by} on {self.at[:10]}: {self.why}"


def in_force(settings: Sequence[ThresholdSetting]) -> float | None:
    """Return the threshold that was set last; None where the calibrated one holds."""
    return settings[-1].threshold if settings else None


def read_settings(text: str, version: str) -> tuple[ThresholdSetting, ...]:
    """Read what ``write_settings`` wrote on a version, oldest first; an error names the version.

    Raises:
        ModelFormatError: it is something else.
    """
    try:
        settings = tuple(check_types(ThresholdSetting(**each)) for each in json.loads(text))
        if not all(_is_threshold(each.threshold) for each in settings):
            raise ValueError("a threshold is no number above 0")
    except (TypeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise ModelFormatError(
            f"the thresholds that persons set on {version} must be as reconad wrote them; "
            f"{text[:80]!r} is not ({why}): delete its tag reconad.threshold in MLflow, the "
            "calibrated one holds then"
        ) from None
    return settings


def write_settings(before: Sequence[ThresholdSetting], new: ThresholdSetting) -> str:
    """Write what persons set, the new one last.

    Raises:
        ConfigError: there are so many already that there is no room.
    """
    if len(before) >= MOST_SETTINGS:
        raise ConfigError(
            f"a version keeps up to {MOST_SETTINGS} thresholds that persons set; it has "
            f"{len(before)}: train the next one"
        )
    text = json.dumps([asdict(each) for each in (*before, new)], ensure_ascii=False)
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"what persons set on a version has room for {MOST_CHARACTERS} characters; it would "
            f"have {len(text)}: give a shorter reason, or train the next version"
        )
    return text


def _is_threshold(threshold: float | None) -> bool:
    return threshold is None or (math.isfinite(threshold) and 0 < threshold <= MOST_THRESHOLD)
