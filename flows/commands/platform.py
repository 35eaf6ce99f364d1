"""``reconad platform``, and an embedded platform that stays up for a person."""

import contextlib
import signal

from flows.commands.options import PlatformOptions
from flows.demo.plan import BUCKET, PRODUCT
from flows.platform.servers import SETTINGS_FILE, EmbeddedPlatform, running_platform
from reconad_plugin.errors import ConfigError


def run(options: PlatformOptions) -> None:
    """Bring an earlier demo's servers up again until Ctrl-C.

    Raises:
        ConfigError: there was no demo.
    """
    state = options.state
    if not (state / SETTINGS_FILE).exists():
        raise ConfigError(f"there must be a demo to bring up; {state} holds none: run `make demo`")
    with running_platform(state, BUCKET, is_fresh=False) as platform:
        platform.deploy(PRODUCT)
        stay_up(platform, PRODUCT)


def stay_up(platform: EmbeddedPlatform, product: str) -> None:
    """Say where the platform's pages are and how to look at a product, and wait for Ctrl-C."""
    dashboards, review_page = platform.serve_dashboards(), platform.serve_review_page()
    environment = platform.state / "env.sh"
    print(
        f"""
MLflow     {platform.mlflow_url}
Prefect    {platform.prefect_url}
Evidently  {dashboards}
Review     {review_page}

In another shell:
  . {environment}
  reconad status {product}
  mlflow models serve -m models:/reconad-{product}@champion --env-manager local --port 5055

Ctrl-C stops them.""",
        flush=True,
    )
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
