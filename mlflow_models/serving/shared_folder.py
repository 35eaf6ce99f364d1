"""A folder that the workers of one server share and nobody else may enter. It goes when a later
server starts."""

import json
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from reconad_plugin.errors import PlatformError

_THRESHOLD: Final = "threshold-"  # with a version's number: holds what was set on it
_SERVES: Final = "serves-"  # with a worker's process: it has begun to serve
_BEGAN: Final = 19  # of the fields of /proc/<id>/stat behind the name: ticks since the boot
_CURRENT: Final = "current"  # holds the number of the version that was taken up last


def open_shared_folder(supervisor: int) -> Path:
    """Return the folder of the server with this process, made if need be.

    Raises:
        PlatformError: somebody else may enter what lies in its place.
    """
    base = _base()
    with suppress(FileExistsError):
        base.mkdir(mode=0o700)
    found = base.lstat()
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not is_own or found.st_mode & 0o077:
        raise PlatformError(
            f"{base} must be a folder of this user that nobody else may enter; it is not: remove "
            "it, or set TMPDIR to another place"
        )
    for left in base.iterdir():
        if left.name != _name(_process_of(left.name)):
            shutil.rmtree(left, ignore_errors=True)
    folder = base / _name(supervisor)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def note_serving(folder: Path) -> None:
    """Note that this worker serves."""
    (folder / f"{_SERVES}{_name(os.getpid())}").touch()


def has_others(supervisor: int) -> bool:
    """Say whether other workers of the server with this process serve, and live."""
    noted = (_base() / _name(supervisor)).glob(f"{_SERVES}*")
    names = [each.name.removeprefix(_SERVES) for each in noted]
    return any(name == _name(_process_of(name)) for name in names)


def keep_version(folder: Path, model: Path | None, number: str, threshold: float | None) -> None:
    """Keep what was taken up for workers that start later: the files of a version, unless it serves
    already, and the threshold that a person set on it."""
    held = folder / f"{_THRESHOLD}{number}.{os.getpid()}"
    held.write_text(json.dumps(threshold), encoding="utf-8")
    held.replace(folder / f"{_THRESHOLD}{number}")
    if model is not None:
        _keep_files(folder, model, number)


def kept_threshold(folder: Path, number: str) -> float | None:
    """Return the threshold that was taken up last with a version; None for the calibrated one."""
    with suppress(OSError, ValueError):
        kept = json.loads((folder / f"{_THRESHOLD}{number}").read_text(encoding="utf-8"))
        return kept if isinstance(kept, float) else None
    return None


def _keep_files(folder: Path, model: Path, number: str) -> None:
    kept = folder / f"version-{number}"
    if not kept.exists():
        copy = Path(tempfile.mkdtemp(dir=folder))
        shutil.copytree(model, copy, dirs_exist_ok=True)
        with suppress(OSError):  # another worker was quicker
            copy.rename(kept)
        shutil.rmtree(copy, ignore_errors=True)
    note = folder / f"{_CURRENT}.{os.getpid()}"
    note.write_text(number, encoding="utf-8")
    before = kept_version(folder)
    note.replace(folder / _CURRENT)
    for other in folder.glob("version-*"):
        if other not in (kept, before):
            shutil.rmtree(other, ignore_errors=True)


def kept_version(folder: Path) -> Path | None:
    """Return the folder of the version that a worker took up last; None where none did."""
    with suppress(OSError):
        kept = folder / f"version-{(folder / _CURRENT).read_text(encoding='utf-8')}"
        return kept if kept.is_dir() else None
    return None


def _process_of(name: str) -> int:
    number = name.partition("-")[0]
    return int(number) if number.isdigit() else 0


def _base() -> Path:
    return Path(tempfile.gettempdir()) / f"reconad-serving-{os.getuid()}"


def _name(process: int) -> str:
    """Name a process that lives; an id alone is used again, and a clock may be set."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return f"{process}-{stat.rpartition(')')[2].split()[_BEGAN]}"
    with suppress(psutil.Error):
        return f"{process}-{psutil.Process(process).create_time():.2f}"
    return ""
