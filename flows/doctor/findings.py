"""Runs checks side by side, each within its time, so that none stops the others."""

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from flows.runtime.exit_codes import explain_outage
from reconad_plugin.errors import ReconadError

LIMIT_S: Final = 120.0


@dataclass(frozen=True)
class Check:
    """One thing to look at."""

    about: str  # on a line's left
    # says what is good, or raises what is wrong with what to do
    look: Callable[[], str]


@dataclass(frozen=True)
class Finding:
    """What a check found."""

    about: str
    is_good: bool
    said: str  # what is good, or what is wrong and what to do

    def to_dict(self) -> dict[str, object]:
        """Return what stands in the JSON."""
        return {"about": self.about, "is_good": self.is_good, "said": self.said}


@dataclass
class _Running:
    """A check at work in a thread that nobody has to wait for."""

    check: Check
    thread: threading.Thread = field(init=False)
    finding: Finding | None = None

    def __post_init__(self) -> None:
        context = contextvars.copy_context()  # Prefect keeps settings in one
        self.thread = threading.Thread(target=context.run, args=(self._run,), daemon=True)
        self.thread.start()

    def _run(self) -> None:
        about = self.check.about
        try:
            self.finding = Finding(about, True, self.check.look())
        except ReconadError as error:
            self.finding = Finding(about, False, str(error))
        except Exception as error:  # a check that fails is a finding too
            said = explain_outage(error) or f"{type(error).__name__}: {error}"
            self.finding = Finding(about, False, " ".join(said.split()))

    def ended(self, deadline_s: float, limit_s: float) -> Finding:
        self.thread.join(max(0.0, deadline_s - time.monotonic()))
        late = f"this took longer than {limit_s:g} s: is the network slow, or a server stuck?"
        return self.finding or Finding(self.check.about, False, late)


def run_checks(checks: Sequence[Check], limit_s: float = LIMIT_S) -> Iterator[Finding]:
    """Run checks; give what each found, in their order, after ``limit_s`` at the latest."""
    deadline_s = time.monotonic() + limit_s
    running = [_Running(check) for check in checks]
    for each in running:
        yield each.ended(deadline_s, limit_s)
