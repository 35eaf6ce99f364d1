"""reconad's own wheel, which travels inside a model: whoever serves it needs no index for it.

A wheel is an archive of a package's files beside what pip knows of it. So it is written here from
both: a checkout and an installed wheel give the same, no build runs, and nothing is fetched.
"""

import base64
import csv
import hashlib
import io
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

import reconad_plugin

NAME: Final = "reconad"
_PACKAGES: Final = ("flows", "mlflow_models", "monitoring", "reconad_plugin")
_METADATA: Final = ("METADATA", "PKG-INFO")  # its names in an installation and in a checkout
_MORE: Final = ("entry_points.txt", "licenses/LICENSE")  # as far as they are there
_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: reconad\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_WRITTEN: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that an archive has; the same at any time
_FOLDER: Final = "wheels"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnWheel:
    """A wheel, and where it lies in a model."""

    path: str  # below the model's folder; a hash in it tells environments of other code apart
    content: bytes

    def write(self, model: Path) -> None:
        """Write it into the folder of a model."""
        file = model / self.path
        file.parent.mkdir(parents=True)
        file.write_bytes(self.content)


@cache
def own_wheel() -> OwnWheel | None:
    """Make the wheel of the code that runs, once a process; None, with a line in the log, where it
    cannot be made."""
    try:
        return _make(Path(reconad_plugin.__file__).parents[1])
    except (PackageNotFoundError, OSError, ValueError) as error:
        _logger.warning(
            "models are logged without reconad's own wheel, so that whoever serves one needs an "
            "index that has it: %s", error
        )  # fmt: skip
        return None


def _make(source: Path) -> OwnWheel:
    known = distribution(NAME)
    release = f"{NAME}-{known.version}"
    info = f"{release}.dist-info"
    files = dict(_files_of(source))
    metadata = next(filter(None, map(known.read_text, _METADATA)), None)
    if metadata is None:
        raise ValueError(f"{release} is installed without {' or '.join(_METADATA)}")
    told = {"METADATA": metadata, **{name: known.read_text(name) for name in _MORE}}
    files |= {f"{info}/{name}": text.encode() for name, text in told.items() if text is not None}
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _WRITTEN), content, zipfile.ZIP_DEFLATED)
    content = buffer.getvalue()
    own = hashlib.sha256(content).hexdigest()[:12]
    return OwnWheel(f"{_FOLDER}/{own}/{release}-py3-none-any.whl", content)


def _files_of(source: Path) -> Iterator[tuple[str, bytes]]:
    """Read the files of the packages, in an order that is always the same."""
    for package in _PACKAGES:
        for path in sorted((source / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(source).as_posix(), path.read_bytes()


def _record(files: dict[str, bytes], own_name: str) -> str:
    """List all files with their hashes, as pip checks them."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.writerow((name, f"sha256={digest}", len(content)))
    rows.writerow((own_name, "", ""))
    return text.getvalue()
