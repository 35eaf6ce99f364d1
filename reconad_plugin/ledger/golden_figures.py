"""What the version that scored a night makes of the real golden defects, and whether that is too
little."""

from dataclasses import dataclass
from typing import Final

GOLDEN_FLOOR: Final = "golden_floor"  # why a version was trained: noted in place of a cause


@dataclass(frozen=True)
class GoldenFigures:
    """Figures on the real golden defects, as of a night."""

    images: str  # SHA-256 of the golden images that they are of, all together
    defects: int  # images that show one
    normals: int  # held-out normal images of the version, and golden ones
    auroc: float  # image_AUROC of these
    # the same without the defect, or the part of several, that lies lowest: no single one decides
    auroc_but_one: float
    recall: float  # share of the defects above the threshold
    image_threshold: float  # the one in force on the night
    floor: float | None = None  # ``golden_floor`` on the night; None where none was set

    @property
    def is_below(self) -> bool:
        """Whether the image_AUROC is below the floor, whichever one defect is left out."""
        return self.floor is not None and self.auroc_but_one < self.floor

    def __str__(self) -> str:
        """Return the figures in a sentence.

        Example:
            >>> print(GoldenFigures("", 12, 80, 0.9, 0.93, 0.5, 0.3, 0.95))
            image_AUROC 0.900 on 12 defects (0.930 without the lowest), below 0.95; recall 50%
        """
        held = (
            ""
            if self.floor is None
            else f", {'below' if self.is_below else 'floor'} {self.floor:g}"
        )
        return (
            f"image_AUROC {self.auroc:.3f} on {self.defects} defects "
            f"({self.auroc_but_one:.3f} without the lowest){held}; recall {self.recall:.0%}"
        )
