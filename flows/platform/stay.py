"""An embedded platform that stays up for a person."""

import contextlib
import signal

from flows.platform.servers import EmbeddedPlatform


def stay_up(platform: EmbeddedPlatform, product: str) -> None:
    """Say where the platform's pages are and how to look at a product, and wait for Ctrl-C."""
    dashboards = platform.serve_dashboards()
    environment = platform.state / "env.sh"
    print(
        f"""
MLflow     {platform.mlflow_url}
Prefect    {platform.prefect_url}
Evidently  {dashboards}

In another shell:
  . {environment}
  reconad status {product}
  mlflow models serve -m models:/reconad-{product}@champion --env-manager local --port 5055

Ctrl-C stops them.""",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
