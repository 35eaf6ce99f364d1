"""Errors of ours as states of Prefect: one clear line instead of a traceback."""

import functools
from collections.abc import Callable
from typing import Any

from prefect.states import Failed

from reconad_plugin.errors import ReconadError


def fails_clearly[**Arguments, Result](
    step: Callable[Arguments, Result],
) -> Callable[Arguments, Result]:
    """Let a flow or task end as Failed with the message of a ``ReconadError``; whoever called
    it still gets the error itself. Anything else is our own failure and keeps its traceback.
    """

    @functools.wraps(step)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        try:
            return step(*args, **kwargs)
        except ReconadError as error:
            return Failed(message=str(error), data=error)

    return run
