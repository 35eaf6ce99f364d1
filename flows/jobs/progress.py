"""A bar for long trainings: on a terminal, nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from reconad_plugin.training.loop import Progress

_UNKNOWN_STEPS = 10**8  # a plan that has not met its budget yet


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[Progress], None]]:
    """A bar of steps with the loss of the batch and of the held-out images."""
    with tqdm(desc=title, unit="step", disable=None, leave=False) as bar:
        shown: dict[str, str] = {}

        def advance(progress: Progress) -> None:
            bar.total = progress.planned_steps if progress.planned_steps < _UNKNOWN_STEPS else None
            shown["loss"] = f"{progress.loss:.4f}"
            if progress.held_out_loss is not None:
                shown["held_out"] = f"{progress.held_out_loss:.4f}"
            bar.set_postfix(shown, refresh=False)
            bar.update(progress.step - bar.n)

        yield advance
