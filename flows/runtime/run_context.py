"""What MLflow notes of any run that begins inside a Prefect flow: which flow run, product, night.

MLflow loads this by entry point, and asks it whenever a run begins. Where Prefect was not imported
there is no flow, so it is never imported for this.
"""

import sys
from datetime import date
from typing import Final

_PARAMETERS: Final = {"product": "reconad.product", "night": "reconad.night"}  # -> tag


class FlowRunContext:
    """A provider of MLflow's: tags for runs that begin inside a flow."""

    def in_context(self) -> bool:
        """Tell whether a flow runs here."""
        return bool(self.tags())

    def tags(self) -> dict[str, str]:
        """Return the tags of the flow run around; of its product and night where its parameters
        name them."""
        if "prefect" not in sys.modules:
            return {}
        from prefect.context import FlowRunContext as Around

        if (around := Around.get()) is None or around.flow_run is None or around.flow is None:
            return {}
        given = {tag: (around.parameters or {}).get(name) for name, tag in _PARAMETERS.items()}
        return {
            "reconad.flow": around.flow.name,
            "reconad.flow_run": str(around.flow_run.id),  # as Prefect's page has it in its address
            **{tag: str(value) for tag, value in given.items() if isinstance(value, str | date)},
        }
