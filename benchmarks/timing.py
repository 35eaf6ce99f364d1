"""Rates and seconds of something that is called again and again."""

from collections.abc import Callable
from time import perf_counter

LEAST_CALLS = 3


def calls_per_second(call: Callable[[], object], seconds: float) -> float:
    """Call once to warm up, then for so many seconds."""
    call()
    calls, start = 0, perf_counter()
    while calls < LEAST_CALLS or perf_counter() - start < seconds:
        call()
        calls += 1
    return calls / (perf_counter() - start)


def seconds_per_call(call: Callable[[], object], warmup: int, calls: int) -> float:
    """Mean over some calls, after others to warm up."""
    for _ in range(warmup):
        call()
    start = perf_counter()
    for _ in range(calls):
        call()
    return (perf_counter() - start) / calls
