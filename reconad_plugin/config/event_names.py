"""Names of the events that reconad emits, each about a product."""

from typing import Final

DRIFT_DETECTED: Final = "reconad.drift.detected"
MODEL_PROMOTED: Final = "reconad.model.promoted"
MODEL_REJECTED: Final = "reconad.model.rejected"
MODEL_ROLLED_BACK: Final = "reconad.model.rolled_back"
IMAGES_QUARANTINED: Final = "reconad.images.quarantined"
IMAGES_HELD: Final = "reconad.images.held"
ALARM_OPENED: Final = "reconad.alarm.opened"
ALARM_ENDED: Final = "reconad.alarm.ended"
NIGHT_HELD: Final = "reconad.night.held"  # of a night that opened no alarm itself
NIGHT_ENDED: Final = "reconad.night.ended"  # of a scheduled run, whatever it found
