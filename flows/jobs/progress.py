"""What whoever typed a command sees while a job runs: a bar on a terminal, and warnings."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, TypeVar, cast

from tqdm import tqdm

from reconad_plugin.images.names import printable

if TYPE_CHECKING:  # it needs torch, which whoever asks a server does without
    from reconad_plugin.training.report import Progress

Item = TypeVar("Item")
_UNKNOWN_STEPS = 10**8  # a plan that has not met its budget yet


@contextmanager
def progress_bar(title: str) -> Iterator["Callable[[Progress], None]"]:
    """Show a bar of steps with the loss of the batch and of the held-out images."""
    with tqdm(desc=title, unit="step", disable=None, leave=False) as bar:
        shown: dict[str, str] = {}

        def advance(progress: "Progress") -> None:
            bar.total = progress.planned_steps if progress.planned_steps < _UNKNOWN_STEPS else None
            shown["loss"] = f"{progress.loss:.4f}"
            if progress.held_out_loss is not None:
                shown["held_out"] = f"{progress.held_out_loss:.4f}"
            bar.set_postfix(shown, refresh=False)
            bar.update(progress.step - bar.n)

        yield advance


def reading_bar(pictures: Sequence[Item], title: str = "look at pictures") -> Iterable[Item]:
    """Show a bar while pictures are gone through."""
    return _bar(pictures, title, "picture")


def night_bar(product: str, nights: Sequence[date]) -> Iterable[date]:
    """Show a bar while nights of a product are gone through."""
    return _bar(nights, product, "night")


def _bar(items: Sequence[Item], title: str, unit: str) -> Iterable[Item]:
    bar = tqdm(items, desc=title, unit=unit, disable=None, leave=False)
    return cast(Iterable[Item], bar)


def warn(remark: str | None) -> None:
    """Print a remark to stderr, if there is one; a bar that is shown makes room for it."""
    if remark is not None:
        tqdm.write(f"reconad: {printable(remark)}", file=sys.stderr)
