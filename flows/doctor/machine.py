"""Looks at this machine: packages, disk and clock."""

import importlib.metadata
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import requests
from packaging.requirements import Requirement

from reconad_plugin.errors import ConfigError, PlatformError

PACKAGE: Final = "reconad"
EXTRAS: Final = ("", "night", "torch")  # whose requirements a night has; "": those without an extra
LEAST_FREE_BYTES: Final = 5_000_000_000  # a training's caches and checkpoints
ONE_SECOND: Final = timedelta(seconds=1)
MOST_SKEW: Final = timedelta(seconds=60)  # S3 refuses after 15 minutes, schedules are off before
WAIT_S: Final = 10


def check_versions() -> str:
    """Hold the installed packages against what a night needs, which is what works together.

    Raises:
        PlatformError: packages are missing or of another version; all are named.
    """
    lines = importlib.metadata.requires(PACKAGE) or ()
    wanted = [each for line in lines if _is_of_a_night(each := Requirement(line))]
    wrong = [said for each in wanted if (said := _misfit(each)) is not None]
    if wrong:
        raise PlatformError(
            f"packages must fit together; {'; '.join(wrong)}: pip install --constraint "
            "constraints.txt 'reconad[night]'"
        )
    return f"{len({each.name for each in wanted})} packages are as reconad needs them"


def _is_of_a_night(needed: Requirement) -> bool:
    if needed.name == PACKAGE:  # it names its own extras
        return False
    return needed.marker is None or any(needed.marker.evaluate({"extra": each}) for each in EXTRAS)


def _misfit(needed: Requirement) -> str | None:
    try:
        version = importlib.metadata.version(needed.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{needed.name} is not installed"
    if needed.specifier.contains(version, prereleases=True):
        return None
    return f"{needed.name} is {version}, needed is {needed.specifier}"


def check_disk(folders: Mapping[str, Path]) -> str:
    """Look at how much is free where reconad writes.

    Raises:
        ConfigError: too little; the setting is named.
    """
    free = {name: shutil.disk_usage(_existing(path)).free for name, path in folders.items()}
    least = min(free, key=lambda name: free[name])
    if free[least] < LEAST_FREE_BYTES:
        raise ConfigError(
            f"{least} ({folders[least]}) must have {LEAST_FREE_BYTES / 1e9:.0f} GB free; it has "
            f"{free[least] / 1e9:.1f}: make room, or name another disk"
        )
    return f"{free[least] / 1e9:.0f} GB free"


def _existing(path: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def check_clocks(servers: Mapping[str, str]) -> str:
    """Hold this machine's clock against those of the servers.

    Args:
        servers: name -> http address, of those that answer.

    Raises:
        PlatformError: a clock differs by more than a minute.
    """
    skews = {name: skew for name, url in servers.items() if (skew := _skew(url)) is not None}
    wrong = [
        f"{name}'s is {abs(skew) // ONE_SECOND} s {'ahead' if skew > timedelta() else 'behind'}"
        for name, skew in skews.items()
        if abs(skew) > MOST_SKEW
    ]
    if wrong:
        raise PlatformError(
            f"all clocks must agree within {MOST_SKEW.seconds} s; {', '.join(wrong)} of this "
            "machine's: let NTP set both"
        )
    return f"agree with {', '.join(skews)}" if skews else "no server to compare with"


def _skew(url: str) -> timedelta | None:
    """Return how far a server's clock is ahead; None where it does not say."""
    try:
        answer = requests.get(url, timeout=WAIT_S, allow_redirects=False)
    except requests.RequestException:  # other checks say so
        return None
    try:
        there = parsedate_to_datetime(answer.headers.get("Date", ""))
    except ValueError:
        return None
    # some say -0000, which says nothing of where they are; by HTTP the date is always of UTC
    return there.replace(tzinfo=there.tzinfo or UTC) - _now()


def _now() -> datetime:
    return datetime.now(UTC)
