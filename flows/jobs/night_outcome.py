"""What came of a night's run."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from reconad_plugin.ledger.night_record import NightRecord


class ActionKind(StrEnum):
    """What reconad does about a night, in the words that a person reads."""

    NONE = "none"
    NO_IMAGES = "no images"
    GATHERING = "gathering"
    TRAINED = "trained"
    TRAINED_BEFORE = "trained the first version"
    RETRAINED = "retrained"
    FINETUNED = "fine-tuned"
    FINETUNING_ENDED = "fine-tuning"
    TRAINING_WANTED = "training wanted"
    EVENT_SENT = "drift event sent"
    HELD = "hold for review"
    ALARM_OPEN = "alarm open"


@dataclass(frozen=True)
class Action:
    """What was done about a night.

    Example:
        >>> str(Action(ActionKind.FINETUNED, "promoted", "2"))
        'fine-tuned, promoted 2'
    """

    kind: ActionKind  # which of the actions
    outcome: str = ""  # what the gate made of a version, such as ``promoted``
    version: str = ""  # the version's number
    remark: str = ""  # what else a person is to know; it follows the rest as it is

    def __str__(self) -> str:
        judged = f", {self.outcome} {self.version}" if self.outcome else ""
        return f"{self.kind}{judged}{self.remark}"


@dataclass(frozen=True)
class NightOutcome:
    """What came of a night's run."""

    night: date
    accepted: int  # images that were taken in
    quarantined: int  # images that were quarantined with a reason
    duplicate: int  # images with the bytes or the pixels of one before
    record: NightRecord | None  # what the watch decided; None where no version watched the night
    action: Action  # what was done
