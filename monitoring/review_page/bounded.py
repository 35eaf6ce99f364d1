"""What was made for the page and may be asked for again, up to a size in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Bounded(Generic[Made]):
    """Things by name; those that were asked for longest ago go first. Safe with several threads."""

    def __init__(self, most: int, size_of: Callable[[Made], int] = lambda _: 1) -> None:
        """``most`` is the most of all sizes together; without ``size_of`` the number of things."""
        self._most, self._size_of, self._size = most, size_of, 0
        self._made: OrderedDict[Hashable, Made] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: Hashable, make: Callable[[], Made]) -> Made:
        """Return what has this name, and make it where it is not here."""
        with self._lock:
            if name in self._made:
                self._made.move_to_end(name)
                return self._made[name]
        made = make()  # two threads may make the same
        with self._lock:
            if name not in self._made:
                self._made[name] = made
                self._size += self._size_of(made)
            while self._size > self._most and len(self._made) > 1:
                self._size -= self._size_of(self._made.popitem(last=False)[1])
        return made

    def find(self, name: Hashable) -> Made | None:
        """Return what has this name; None where it is not here."""
        with self._lock:
            return self._made.get(name)

    def drop(self, name: Hashable) -> None:
        """Make what has this name anew when it is asked for next."""
        with self._lock:
            if name in self._made:
                self._size -= self._size_of(self._made.pop(name))
