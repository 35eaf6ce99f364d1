"""What has to change in Prefect, and how each change is made."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

UNKNOWN: Final = UUID(int=0)  # of what is not made yet


class Verb(StrEnum):
    """What happens to one thing."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    KEEP = "keep"


@dataclass(frozen=True)
class Change:
    """What happens to one thing of Prefect's."""

    verb: Verb
    kind: str  # work pool, work queue, deployment, block or automation
    name: str
    make: Callable[[], object] = lambda: None  # returns the id of what it creates
    id: UUID | None = None  # of what is there before
    differing: tuple[str, ...] = ()  # what of it, where it is updated

    def done(self, is_dry: bool) -> UUID:
        """Make the change, unless changes are only said; the id of the thing, as far as it has
        one by then."""
        if self.verb is Verb.KEEP or is_dry:
            return self.id or UNKNOWN
        made = self.make()
        return self.id or (made if isinstance(made, UUID) else UNKNOWN)

    def __str__(self) -> str:
        what = f" ({', '.join(self.differing)})" if self.differing else ""
        return f"{self.verb} {self.kind} {self.name}{what}"

    def to_dict(self) -> dict[str, object]:
        """Return what stands in the JSON."""
        parts = {"verb": str(self.verb), "kind": self.kind, "name": self.name}
        return {**parts, "differing": list(self.differing)}
