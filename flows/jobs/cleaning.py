"""What may go of what grows, by the settings `[keep]`, and what stays of it and why.

Nothing in the bucket is among it: records stay, and reconad deletes no object there.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from flows.jobs.ledger import open_ledger, see_history
from flows.jobs.product import Product, open_product
from mlflow_models import registry, removal
from reconad_plugin.config.keep import KeepSettings
from reconad_plugin.errors import PlatformError, ReconadError
from reconad_plugin.ledger.ledger import Ledger
from reconad_plugin.ledger.manifest import accepted_rows
from reconad_plugin.ledger.retention import staying_nights, staying_versions
from reconad_plugin.store.room import cached_files, longest_unused

DRAWINGS: Final = "drawings of nights"
WEIGHTS: Final = "weights of rejected versions"
RUNS: Final = "runs that were cut off"
PICTURES: Final = "cached pictures"
STATES: Final = "training states"
THIS_MACHINE: Final = "this machine"
SHARED: Final = "another registered model leads to them"
LAST_COPY: Final = "they are golden, or may be the last copy"
IN_USE: Final = "they fit, or were used later"
_GB: Final = 1e9  # bytes

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leftover:
    """One thing that may go."""

    name: str
    size_bytes: int
    remove: Callable[[], None] = field(repr=False)


@dataclass(frozen=True)
class Clearing:
    """What may go of one kind, and what stays of it."""

    of: str  # a product, or `this machine`
    kind: str
    why: str  # it may go
    goes: Sequence[Leftover]
    stays: Mapping[str, int]  # why -> how many

    @property
    def size_bytes(self) -> int:
        """Size of all that may go."""
        return sum(each.size_bytes for each in self.goes)


def clear_product(name: str, keep: KeepSettings, now: datetime) -> list[Clearing]:
    """Find what may go of a product in MLflow.

    Raises:
        ReconadError: the bucket or MLflow cannot be read.
    """
    if keep.nights is keep.rejected is keep.unfinished_days is None:
        return []
    product = open_product(name)
    ledger = open_ledger(product, see_history(product))
    found = list[Clearing]()
    if keep.nights is not None:
        found.append(_drawings(name, ledger, keep.nights))
    if keep.rejected is not None:
        found.append(_weights(name, ledger, keep.rejected))
    if keep.unfinished_days is not None:
        found.append(_runs(name, now, keep.unfinished_days))
    return found


def clear_machine(
    products: Iterable[str], keep: KeepSettings, now: datetime, states: Path
) -> list[Clearing]:
    """Find what may go on the local disk; ``states`` is the folder of training states."""
    found = list[Clearing]()
    if keep.cache_gb is not None:
        opened = [open_product(name) for name in products]
        found += [_pictures(opened, keep.cache_gb)] if opened else []
    if keep.unfinished_days is not None:
        found.append(_states(states, now, keep.unfinished_days))
    return found


def _drawings(product: str, ledger: Ledger, newest: int) -> Clearing:
    why, goes, stays = staying_nights(ledger, newest), list[Leftover](), Counter[str]()
    for run in removal.drawn_nights(product):
        if (reason := why(run.night)) is not None:
            stays[reason] += 1
        elif drawings := run.drawings:
            goes.append(Leftover(run.name, sum(drawings.values()), run.remove_drawings))
    return Clearing(product, DRAWINGS, f"of nights before the newest {newest}", goes, stays)


def _weights(product: str, ledger: Ledger, newest: int) -> Clearing:
    goes, stays = list[Leftover](), Counter[str]()
    for version, reason in _with_reasons(product, ledger, newest):
        if reason is None and removal.is_shared(product, version):
            reason = SHARED
        if reason is not None:
            stays[reason] += 1
            continue
        remove = partial(_remove_weights, product, ledger, version.number, newest)
        size_bytes = removal.size_of_weights(product, version)
        goes.append(Leftover(f"version {version.number}", size_bytes, remove))
    why = f"the gate refused them, before the newest {newest}"
    return Clearing(product, WEIGHTS, why, goes, stays)


def _with_reasons(
    product: str, ledger: Ledger, newest: int
) -> list[tuple[registry.Version, str | None]]:
    """List the versions that may have weights, each with why these stay, as the registry is now."""
    versions = registry.versions(product)
    named = removal.named_versions(product, versions)
    whole = [each for each in versions if not removal.is_removed(each)]
    reasons = staying_versions(ledger, registry.read_facts(product, whole), named, newest)
    return [(each, reasons.get(each.number)) for each in whole]


def _remove_weights(product: str, ledger: Ledger, number: str, newest: int) -> None:
    """Remove the weights of a version, unless it came to be needed since it was looked at."""
    for version, reason in _with_reasons(product, ledger, newest):
        if version.number == number and reason is not None:
            raise PlatformError(f"version {number} came to be needed meanwhile: {reason}")
        if version.number == number:
            removal.remove_weights(product, version)


def _runs(product: str, now: datetime, days: int) -> Clearing:
    runs = removal.unfinished_runs(product, now - timedelta(days))
    goes = [Leftover(f"{run.name} ({run.run_id})", run.size_bytes, run.remove) for run in runs]
    return Clearing(product, RUNS, f"before the last {days} days", goes, {})


def _pictures(products: Sequence[Product], most_gb: float) -> Clearing:
    files = cached_files(products[0].cache.folder)
    is_over = sum(each.size_bytes for each in files) > most_gb * _GB
    elsewhere = _fetchable(products) if is_over else set[str]()
    chosen = longest_unused(files, most_gb * _GB, elsewhere.__contains__)
    goes = [Leftover(str(each.path), each.size_bytes, each.remove) for each in chosen]
    pictures = {each.sha256 for each in files} - {None} if is_over else set[str | None]()
    last = len(pictures - elsewhere)
    stays = +Counter({LAST_COPY: last, IN_USE: len(files) - len(chosen) - last})
    why = f"used longest ago, above {most_gb:g} GB"
    return Clearing(THIS_MACHINE, PICTURES, why, goes, stays)


def _fetchable(products: Iterable[Product]) -> set[str]:
    """SHA-256 of the accepted images that the bucket still has as they were taken in."""
    found = set[str]()
    for product in products:
        try:
            listed = product.store.list_objects(product.layout.arrivals)
            there = {(info.key, info.etag) for info in listed}
            rows = accepted_rows(open_ledger(product, see_history(product)).manifests.values())
        except ReconadError as error:
            _logger.warning("the cached pictures of %s stay: %s", product.name, error)
            continue
        columns = rows[["key", "etag", "sha256"]].itertuples(index=False)
        found |= {sha256 for key, etag, sha256 in columns if (key, etag) in there}
    return found


def _states(folder: Path, now: datetime, days: int) -> Clearing:
    before, goes, stays = (now - timedelta(days)).timestamp(), list[Leftover](), Counter[str]()
    for state in sorted(folder.glob("*/")):
        files = [path.stat() for path in state.rglob("*") if path.is_file()]
        if max((file.st_mtime for file in files), default=0.0) >= before:
            stays[f"written in the last {days} days"] += 1
        elif files:
            goes.append(Leftover(str(state), sum(each.st_size for each in files), _remover(state)))
    return Clearing(THIS_MACHINE, STATES, f"not written for {days} days", goes, stays)


def _remover(state: Path) -> Callable[[], None]:
    def remove() -> None:
        from reconad_plugin.training.checkpoint import remove_checkpoint  # it needs torch

        remove_checkpoint(state)

    return remove
