"""How the steps of our flows run and fail.

Prefect's own cache of results is off. It would pickle what steps pass on, and it is not needed:
a step leaves its result in S3 or in the registry under a name that follows from its inputs, and
finds it there when a run that died is started again.
"""

import functools
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

import reconad_plugin.telemetry  # noqa: F401  every flow imports this module, before MLflow and Evidently
from reconad_plugin.errors import ReconadError, StorageUnreachableError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _is_worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), StorageUnreachableError)


# of a step that may be the first to find the bucket out of reach, or reads many of its objects
STORAGE_RETRIES: Final[dict[str, Any]] = {
    "retries": 2,
    "retry_delay_seconds": 10,
    "retry_condition_fn": _is_worth_retrying,
}


def fails_clearly(step: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a flow or task end as Failed with the message of a ``ReconadError``; whoever called
    it still gets the error itself. Anything else is our own failure and keeps its traceback.
    """

    @functools.wraps(step)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return step(*args, **kwargs)
        except ReconadError as error:
            return cast(Result, Failed(message=str(error), data=error))  # Prefect unpacks it

    return run


def step(**options: Any) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Make a Prefect task that fails clearly and is not cached.

    Args:
        options: of ``prefect.task``, such as ``retries``.
    """

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        decorated = task(cache_policy=NO_CACHE, **options)(fails_clearly(function))

        @functools.wraps(function)
        def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            outcome: Any = decorated(*args, **kwargs)
            return cast(Result, outcome.result() if isinstance(outcome, State) else outcome)

        return run

    return decorate
