"""What the check of the first images found, as it is kept beside the records of the nights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from reconad_plugin.ledger.read_back import check_types


@dataclass(frozen=True)
class FirstCheck:
    """Which of the first images stand out from the others."""

    checked: str  # a hash of the images and of the limit
    images: int  # how many were checked
    held: Mapping[str, float]  # SHA-256 of each that stands out -> by how many deviations

    def to_json(self) -> bytes:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "FirstCheck":
        """Read it back."""
        return check_types(cls(**json.loads(content)))
