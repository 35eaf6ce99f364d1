"""How much is kept of what grows and can be done without; nothing goes unless a setting says so."""

from typing import Annotated

from pydantic import Field

from reconad_plugin.config.base import Frozen, Positive


class KeepSettings(Frozen):
    """What ``reconad clean`` leaves; of what has no setting, all stays."""

    # newest nights of a product whose drawings stay in MLflow
    nights: Annotated[int, Field(ge=1)] | None = None
    # newest rejected versions of a product whose weights stay
    rejected: Annotated[int, Field(ge=0)] | None = None
    # days that the runs and training states stay which were cut off
    unfinished_days: Annotated[int, Field(ge=1, le=10_000)] | None = None
    cache_gb: Positive | None = None  # 1e9 bytes of pictures on the local disk
