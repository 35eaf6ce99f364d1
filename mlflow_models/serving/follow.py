"""A server that follows an alias: another version behind it is loaded beside the one that serves,
checked, and then takes its place between two requests.

`mlflow models serve` resolves its address once and hands the server a local folder, so the server
looks at the registry by itself.
"""

import logging
import random
import re
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)

from mlflow_models.server import open_client, outage, said_by
from mlflow_models.serving.settings import FOLLOW_NOTHING
from mlflow_models.serving.version import Holder, ServedVersion
from mlflow_models.version_tags import THRESHOLD_TAG
from reconad_plugin.errors import ModelFormatError, PlatformError, ReconadError
from reconad_plugin.ledger.threshold_setting import in_force, read_settings

JITTER: Final = 0.25  # share of a pause, so that many servers do not ask at once
MOST_PAUSE_S: Final = 60.0  # between two tries of what has failed
MOST_FAILURES: Final = 6  # that are counted: the pause has its length by then
SIZES_NEEDED: Final = 3  # memory that loading takes, in sizes of the version's files
_ADDRESS: Final = re.compile(r"models:/+([^/@]+)@([^/@]+)/?")
_ABSENT: Final = tuple(
    map(ErrorCode.Name, (RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE))  # of an alias
)
_VARYING: Final = re.compile(r"\S*\d\S*")  # of a reason that comes again: megabytes, folders
_CONTAINER: Final = Path("/sys/fs/cgroup")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alias:
    """What is followed."""

    model_name: str  # of the registered model
    alias: str

    def __str__(self) -> str:
        return f"models:/{self.model_name}@{self.alias}"


@dataclass(frozen=True)
class Wanted:
    """What should serve."""

    number: str  # of the version
    threshold: float | None  # that a person set on it; None: the calibrated one holds

    @classmethod
    def of(cls, served: ServedVersion | None) -> "Wanted | None":
        """Say what serves already."""
        return None if served is None else cls(served.number, served.threshold)


class Follower:
    """Keeps a holder at the version that an alias points to, and at its threshold."""

    def __init__(
        self,
        followed: Alias,
        holder: Holder,
        load: Callable[[Path], ServedVersion],
        download: Callable[[str, str], Path],
        on_absent: Callable[[], None] | None = None,
        keep: Callable[[Path | None, str, float | None], None] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        followed: the alias.
        holder: whose version is exchanged.
        load: reads a folder of a saved model.
        download: fetches a model URI into a folder; returns where its files are.
        on_absent: is called where the alias points to nothing; None where it must point to one.
        keep: is given what was taken up: the folder of a version, None where it served already,
            its number, and the threshold that a person set.
        clock_s: seconds that pass.
        """
        self.followed, self._holder, self._load, self._download = followed, holder, load, download
        self._on_absent, self._keep, self._clock_s = on_absent, keep, clock_s
        self.wanted = Wanted.of(holder.served)  # what the registry said last
        self._failures, self._retry_s = 0, 0.0  # to take that up, and when to try it again
        self._said: tuple[str, str] | None = None

    @property
    def is_up_to_date(self) -> bool:
        """Whether the version that should serve does, as far as the registry was heard."""
        return self.wanted == Wanted.of(self._holder.served)

    def check(self) -> None:
        """Look at the alias once, and take up the version behind it if it is another, or has
        another threshold. Never raises: whatever is wrong is logged, once until it changes, and
        the present version serves on. What could not be taken up is tried again, after longer and
        longer pauses."""
        try:
            wanted = self._ask()
            if wanted != self.wanted:
                self.wanted, self._failures, self._retry_s = wanted, 0, 0.0
            if wanted is None and self._on_absent is not None:
                self._on_absent()
            elif wanted is not None and not self.is_up_to_date:
                if self._clock_s() < self._retry_s:
                    return
                self._try(wanted)
            if self._said is not None:
                _logger.warning("%s is followed again", self.followed)
            self._failures, self._said = 0, None
        except Exception as error:
            self._say(error)

    def run(self, poll_s: float) -> None:
        """Check for ever, with a pause that is a little different each time."""
        jitter = random.Random()  # noqa: S311  no secret
        while True:
            time.sleep(poll_s * jitter.uniform(1 - JITTER, 1 + JITTER))
            self.check()

    def _ask(self) -> Wanted | None:
        try:
            name, alias = self.followed.model_name, self.followed.alias
            found = open_client().get_model_version_by_alias(name, alias)
            number = str(found.version)
            if not number.isdigit():  # something else answers at this address
                raise PlatformError("MLflow must name a version; what answers does not")
            settings = read_settings(found.tags.get(THRESHOLD_TAG, "[]"), f"version {number}")
            return Wanted(number, in_force(settings))
        except MlflowException as error:
            if error.error_code in _ABSENT:
                if self._on_absent is not None:
                    return None
                raise PlatformError(f"it points to no version: {said_by(error)}") from None
            raise outage(error) or error from None

    def _try(self, wanted: Wanted) -> None:
        """Take a version up; after each failure the next try comes later."""
        try:
            self._take_up(wanted)
        except Exception:
            self._failures = min(self._failures + 1, MOST_FAILURES)
            self._retry_s = self._clock_s() + min(2.0**self._failures, MOST_PAUSE_S)
            raise

    def _take_up(self, wanted: Wanted) -> None:
        serving = self._holder.served
        if serving is not None and serving.number == wanted.number:
            changed = replace(serving, threshold=wanted.threshold)
            threshold = changed.detector.calibration.image_threshold
            self._holder.take(changed)
            if self._keep is not None:
                self._keep(None, wanted.number, wanted.threshold)
            _logger.warning("the threshold of version %s is %g now", wanted.number, threshold)
            return
        self._load_version(wanted, None if serving is None else serving.number)

    def _load_version(self, wanted: Wanted, before: str | None) -> None:
        began_s, number = self._clock_s(), wanted.number
        uri = f"models:/{self.followed.model_name}/{number}"
        with tempfile.TemporaryDirectory() as folder:
            path = self._download(uri, folder)
            check_memory(SIZES_NEEDED * _size_bytes(path), free_memory_bytes())
            loaded = replace(self._read(path, uri), threshold=wanted.threshold)
            try_out(loaded)
            self._holder.take(loaded)
            if self._keep is not None:
                self._keep(path, number, wanted.threshold)
        instead = "" if before is None else f" in place of version {before}"
        _logger.warning(
            "version %s is at %s%s; loading took %.1f s",
            loaded.number, self.followed, instead, self._clock_s() - began_s,
        )  # fmt: skip

    def _read(self, path: Path, uri: str) -> ServedVersion:
        """Load a version and check it; errors name its address, and no folder that is gone soon."""
        try:
            check_signature(path, self._holder.columns)
            loaded = self._load(path)
        except ReconadError as error:
            raise ModelFormatError(str(error).replace(str(path), uri)) from None
        except Exception as error:  # of a damaged description, MLflow raises almost anything
            raise ModelFormatError(
                f"{uri} cannot be read: {error!r}".replace(str(path), uri)
            ) from None
        return loaded

    def _say(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, ReconadError) else said_by(error)
        what = f"{self.followed} cannot be followed for now"
        if (wanted := self.wanted) is not None and not self.is_up_to_date:
            what = f"version {wanted.number} of {self.followed.model_name} cannot be taken up"
        serving = self._holder.served
        number = None if serving is None else serving.number
        what = f"{what}; version {number} stays"
        said = what, _VARYING.sub("", reason)
        if said != self._said:
            _logger.warning("%s: %s", what, reason)
        self._said = said


def followed_alias(
    setting: str | None, model_name: str | None, command_line: Sequence[str]
) -> Alias | None:
    """Return what a server should follow: what the setting says; else the alias of the address in
    the command line that started it; else nothing.

    Raises:
        ModelFormatError: an alias is set, and the model does not come from a registry.

    Example:
        >>> command = "mlflow models serve --model-uri models:/reconad-gear@champion".split()
        >>> str(followed_alias(None, "reconad-gear", command))
        'models:/reconad-gear@champion'
    """
    if setting == FOLLOW_NOTHING:
        return None
    if setting is not None:
        if model_name is None:
            raise ModelFormatError(
                f"the alias {setting} can be followed of a model from a registry, such as "
                "models:/reconad-gear/3; this one is served from a folder"
            )
        return Alias(model_name, setting)
    found = next((match for text in command_line if (match := _ADDRESS.search(text))), None)
    return None if found is None else Alias(*found.groups())


def start_following(follower: Follower, poll_s: float) -> threading.Thread:
    """Check once, so that a server that cannot follow says so at its start, and go on in a thread
    that ends with the process."""
    _logger.warning("%s is followed", follower.followed)
    follower.check()
    thread = threading.Thread(
        target=follower.run, args=(poll_s,), name=f"follow {follower.followed}", daemon=True
    )
    thread.start()
    return thread


def check_signature(path: Path, columns: Sequence[str]) -> None:
    """Refuse a version that needs a column which the server does not hand on.

    Raises:
        ModelFormatError: it does, or it says nothing of its columns.
    """
    signature = Model.load(str(path)).signature
    if signature is None:
        raise ModelFormatError("a version must say which columns it takes; this one does not")
    needed = signature.inputs.required_input_names()
    if missing := sorted(set(needed) - set(columns)):
        raise ModelFormatError(
            f"a version must do with the columns that the server began with, {', '.join(columns)}; "
            f"this one needs {', '.join(missing)} too: start the server anew"
        )


def check_memory(needed_bytes: int, free_bytes: int) -> None:
    """Refuse to load what may not fit beside what is there.

    Raises:
        PlatformError: too little is free.
    """
    if needed_bytes > free_bytes:
        raise PlatformError(
            f"loading takes up to {needed_bytes / 1e6:.0f} MB; {free_bytes / 1e6:.0f} MB are free: "
            "give the server more memory, or start it anew"
        )


def free_memory_bytes(container: Path = _CONTAINER) -> int:
    """Return what this machine has free, or what this container may still take if that is less."""
    free = int(psutil.virtual_memory().available)
    try:
        most = int((container / "memory.max").read_text(encoding="ascii"))
        used = int((container / "memory.current").read_text(encoding="ascii"))
        stat = (container / "memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):  # no container, or one without a limit
        return free
    cached = dict(line.split() for line in stat.splitlines()).get("inactive_file", "0")
    return min(free, most - used + int(cached))


def try_out(version: ServedVersion) -> None:
    """Score the self-test image and a grey one before anybody asks, so that the first request does
    not pay for what is set up once.

    Raises:
        ModelFormatError: the self-test fails, or the other score is not a number.
    """
    version.loaded.check_itself()
    grey = np.full((1, 3, *version.detector.image_size_px.shape), 128, np.uint8)
    score = version.detector.score(grey).pred_score
    if not np.isfinite(score).all():
        raise ModelFormatError(f"a score must be a number; that of a grey image is {score[0]}")


def _size_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
