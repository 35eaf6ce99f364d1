"""Where things are in the bucket: the one place that builds a key.

Factories write ``incoming/``, ``golden/``, ``textures/`` and ``regions/``; reconad writes under
``_reconad/`` alone.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Final

OWN_FOLDER = "_reconad"
_MAX_KEY_BYTES: Final = 1024  # of S3
_MAX_PART_BYTES: Final = 255  # of stores that keep objects in folders


@dataclass(frozen=True)
class ProductLayout:
    """Keys of one product.

    Example:
        >>> ProductLayout("gear").manifest(date(2026, 1, 31))
        'gear/_reconad/manifests/2026-01-31.parquet'
    """

    product: str

    def incoming(self, night: date) -> str:
        """Name the prefix of the images that arrived for a night."""
        return f"{self.arrivals}{night.isoformat()}/"

    @property
    def root(self) -> str:
        """Prefix of everything of the product."""
        return f"{self.product}/"

    @property
    def arrivals(self) -> str:
        """Prefix of the images of all nights."""
        return f"{self.product}/incoming/"

    def name_of(self, key: str) -> str:
        """Return an image's name below its night, or below its folder of golden images.

        Example:
            >>> ProductLayout("gear").name_of("gear/incoming/2026-01-31/left/7.png")
            'left/7.png'
        """
        return key.removeprefix(self.root).split("/", 2)[-1]

    @property
    def folders(self) -> tuple[str, ...]:
        """Prefixes that are understood; what lies beside them is looked at by nobody."""
        return self.arrivals, self.golden, self.textures, self.regions, self._own("")

    @property
    def golden(self) -> str:
        """Prefix of the images that every version is judged on."""
        return f"{self.product}/golden/"

    @property
    def textures(self) -> str:
        """Prefix of the pictures that simulated anomalies are filled with; may be empty."""
        return f"{self.product}/textures/"

    @property
    def regions(self) -> str:
        """Prefix of the masks of where to look; may be empty."""
        return f"{self.product}/regions/"

    @property
    def first_check(self) -> str:
        """Name what the check of the first images found."""
        return self._own("first_images.json")

    @property
    def probe(self) -> str:
        """Name what is written to see whether reconad may write."""
        return self._own("doctor.txt")

    @property
    def manifests(self) -> str:
        """Prefix of all manifests."""
        return self._own("manifests/")

    def manifest(self, night: date) -> str:
        """Name the night's manifest."""
        return self._own(f"manifests/{night.isoformat()}.parquet")

    def quarantine(self, night: date, key: str) -> str:
        """Name the note that says why an image was quarantined: as the image, or by the SHA-256 of
        its name below the night where no key would have room for that."""
        name = key.removeprefix(self.incoming(night))
        note = self._own(f"quarantine/{night.isoformat()}/{name}.json")
        if _is_plain(note):
            return note
        digest = hashlib.sha256(name.encode()).hexdigest()
        return self._own(f"quarantine/{night.isoformat()}/{digest}.json")

    def scores(self, night: date) -> str:
        """Name the table of scores and features of the night's images."""
        return self._own(f"scores/{night.isoformat()}.parquet")

    def cells(self, night: date) -> str:
        """Name the table of what each cell of the night's maps showed, by camera position."""
        return self._own(f"places/{night.isoformat()}.parquet")

    def review(self, night: date) -> str:
        """Name the table of images that wait for a person, and what the person said."""
        return self._own(f"reviews/{night.isoformat()}.parquet")

    @property
    def reviews(self) -> str:
        """Prefix of all reviews."""
        return self._own("reviews/")

    @property
    def golden_notes(self) -> str:
        """Name what persons put into the golden set from the page, and took out."""
        return self._own("golden.json")

    def golden_copy(self, sha256: str) -> str:
        """Name the copy of an image that a person put into the golden set."""
        return self._own(f"golden/{sha256}")

    @property
    def served_nights(self) -> str:
        """Prefix of the prediction log of all nights."""
        return self._own("served/")

    def served(self, night: date) -> str:
        """Prefix of the prediction log of a night."""
        return f"{self.served_nights}{night.isoformat()}/"

    def served_part(self, night: date, name: str) -> str:
        """Name one part of the prediction log of a night."""
        return f"{self.served(night)}{name}.parquet"

    @property
    def history(self) -> str:
        """Which versions the product has had, and what became of them."""
        return self._own("history.json")

    @property
    def glance(self) -> str:
        """How the product stands, at a glance."""
        return self._own("glance.json")

    @property
    def wanted_training(self) -> str:
        """Name the note of the training that the product needs and waits for."""
        return self._own("wanted_training.json")

    @property
    def nights(self) -> str:
        """Prefix of all night records."""
        return self._own("nights/")

    def night_record(self, night: date) -> str:
        """Name the record of what the watch saw and decided."""
        return self._own(f"nights/{night.isoformat()}.json")

    @property
    def resolutions(self) -> str:
        """Prefix of what persons said about alarms."""
        return self._own("resolutions/")

    def resolution(self, night: date) -> str:
        """Name a person's word that the world as it was on a night is normal from then on."""
        return self._own(f"resolutions/{night.isoformat()}.json")

    def _own(self, name: str) -> str:
        return f"{self.product}/{OWN_FOLDER}/{name}"


def _is_plain(key: str) -> bool:
    """Say whether every store takes a key as it is."""
    parts = key.split("/")
    fits = len(key.encode()) <= _MAX_KEY_BYTES
    return fits and all(
        part not in ("", ".", "..") and len(part.encode()) <= _MAX_PART_BYTES for part in parts
    )
