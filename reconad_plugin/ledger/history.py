"""Which versions a product has had, and what became of them.

These are facts of history: what was learnt once stays learnt, and what was taken out of service
vouches for nothing, also when somebody tidies the registry up. So they are kept in the bucket,
beside the records of the nights that they explain, and only ever added to.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date

from reconad_plugin.ledger.read_back import check_types

FINETUNE = "finetune"  # purpose of a version that goes on from another one
REJECTED = "rejected"  # state of a version that the gate refused


@dataclass(frozen=True)
class VersionFacts:
    """What became of one version."""

    number: str  # as the registry counts, `"1"`, `"2"`...
    run_id: str  # the run that trained it; tells it from another version of the same number
    night: str  # the last night that it learnt from, `YYYY-MM-DD`; empty for one made by hand
    purpose: str = ""  # `train` or `finetune`
    cause: str = ""  # of the alarm that led to it, or `none`
    state: str | None = None  # `promoted`, `rejected` or `rolled_back`; None before any of these
    has_served: bool = False  # is or was the champion
    promoted_night: str | None = None  # the night that it was let into service on
    rolled_back_night: str | None = None  # the night that a person took it out of service on
    serves: bool = False  # is the champion, when this was last looked at


@dataclass(frozen=True)
class History:
    """The versions that a product has or had, oldest first."""

    versions: tuple[VersionFacts, ...] = ()  # also those that are no longer in the registry
    # the last night that the first version to serve was trained on, `YYYY-MM-DD`. Up to it images
    # are normal on the owner's word. None while no version has served; empty where the first was
    # made by hand and names no night
    founding_until: str | None = None

    @property
    def rolled_back(self) -> frozenset[str]:
        """Numbers of the versions that were rolled back: what they said vouches for nothing."""
        return frozenset(each.number for each in self.versions if each.rolled_back_night)

    @property
    def champion(self) -> VersionFacts | None:
        """The version that serves, when this was last looked at; None where none did."""
        return next((each for each in self.versions if each.serves), None)

    def is_closed(self, night: date) -> bool:
        """Say whether the first version to serve was already trained on a night: what arrives for
        it from then on has no score to vouch for it."""
        return self.founding_until is not None and night.isoformat() <= self.founding_until

    def adapted_nights(self, before: str) -> frozenset[str]:
        """Return the nights that a version was fine-tuned for which then came into service, before
        this night, ``YYYY-MM-DD``."""
        return frozenset(
            each.night
            for each in self.versions
            if each.purpose == FINETUNE
            and each.night
            and each.promoted_night is not None
            and each.promoted_night < before
            and not each.rolled_back_night
        )

    def last_trained(self, before: str) -> str | None:
        """Return the last night before another one that a version learnt from, or None."""
        nights = [each.night for each in self.versions if each.night and each.night < before]
        return max(nights, default=None)

    def finetuned(self, night: str, cause: str) -> VersionFacts | None:
        """Return the newest judged version that was fine-tuned on a night for a cause, or None."""
        wanted = (FINETUNE, night, cause)
        found = [each for each in self.versions if (each.purpose, each.night, each.cause) == wanted]
        return next((each for each in reversed(found) if each.state is not None), None)

    def updated(self, registered: Iterable[VersionFacts]) -> "History":
        """Take in what the registry says now; what it no longer has stays as it was last seen."""
        known = {(each.number, each.run_id): replace(each, serves=False) for each in self.versions}
        for each in registered:
            before = known.get((each.number, each.run_id), each)
            known[each.number, each.run_id] = replace(
                each, has_served=each.has_served or before.has_served
            )
        versions = tuple(sorted(known.values(), key=lambda each: int(each.number)))
        first = next((each.night for each in versions if each.has_served), None)
        return History(versions, first if self.founding_until is None else self.founding_until)

    def to_json(self) -> bytes:
        """Write the history as JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "History":
        """Read a history back."""
        found = json.loads(content)
        versions = tuple(VersionFacts(**each) for each in found["versions"])
        dates = [found["founding_until"], *(each.night for each in versions)]
        for night in filter(None, dates):
            date.fromisoformat(night)
        ordered = sorted(versions, key=lambda each: int(each.number))
        return check_types(cls(tuple(ordered), dates[0]))
