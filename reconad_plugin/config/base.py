"""What all settings share: they are frozen, and an unknown key is an error."""

from typing import Annotated

import pydantic
from pydantic import Field, ValidationError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Frozen(pydantic.BaseModel):
    """Settings that no key but theirs may stand in, and that nothing changes."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


def one_line(error: ValidationError) -> str:
    """List all rules that are broken, with the settings' names, on one line."""
    return "; ".join(
        f"{'.'.join(map(str, breach['loc'])) or 'settings'}: "
        f"{breach['msg'].removeprefix('Value error, ')}"
        for breach in error.errors()
    )
