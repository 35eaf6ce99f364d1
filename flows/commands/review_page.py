"""``reconad review-page``: the page where people decide, until Ctrl-C."""

import ipaddress
import os
import secrets
import socket
from datetime import UTC, datetime
from functools import partial
from typing import Final

from flows.commands.options import ReviewPageOptions
from flows.jobs.product import Product, open_product
from flows.jobs.progress import warn
from monitoring.review_page.app import build_app
from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.config.settings import load_settings
from reconad_plugin.detector.detector import Detector
from reconad_plugin.errors import ConfigError
from reconad_plugin.gate.threshold_trial import Trial
from reconad_plugin.ledger.threshold_setting import ThresholdSetting

TOKEN_VARIABLE: Final = "RECONAD_REVIEW_TOKEN"  # noqa: S105  a name
_LEAST_TOKEN: Final = 16  # characters
_QUEUE: Final = 128  # connections that wait


def run(options: ReviewPageOptions) -> None:
    """Serve the page, after its address with the token is printed.

    Raises:
        ConfigError: the address is taken or none of this machine's; or the token is too short.
    """
    token = _token()
    products = [open_reviewed(name) for name in sorted(load_settings().products)]
    app = build_app(products, token, lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    listening = _listen(options.host, options.port)
    port = listening.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    if not _is_loopback(options.host):
        warn(
            f"the page is open to whoever reaches {host} and has its token, which travels "
            "unencrypted: put a proxy with TLS before it"
        )
    print(f"Review page  http://{host}:{port}/?token={token}\nCtrl-C stops it.", flush=True)
    import uvicorn

    settings = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(settings).run(sockets=[listening])


def open_reviewed(name: str) -> ReviewedProduct:
    """Open a product for the page.

    Raises:
        ConfigError: it does not stand in the settings file.
    """
    product = open_product(name)
    return ReviewedProduct(
        name,
        product.store,
        product.cache,
        product.layout,
        product.records,
        product.limits,
        load_detector=partial(_load_detector, name),
        open_trial=partial(_open_trial, product),
        set_threshold=partial(_set_threshold, name),
    )


def _load_detector(product: str, version: str) -> Detector:
    """Load a version of a product, by its number; MLflow is imported and asked only now."""
    from mlflow_models import flavor
    from mlflow_models.version_names import version_to_load

    return flavor.load_model(version_to_load(product, version).uri)


def _open_trial(product: Product) -> Trial:
    from flows.jobs.threshold import open_trial
    from mlflow_models import registry

    return open_trial(product, registry.champion(product.name))


def _set_threshold(
    product: str, version: str, setting: ThresholdSetting, seen: int
) -> tuple[ThresholdSetting, ...]:
    from mlflow_models import registry

    serving = registry.champion(product).number
    if serving != version:
        raise ConfigError(
            f"a threshold is set on the version that serves; version {serving} does now, and not "
            f"{version}: look again"
        )
    return registry.set_threshold(product, version, setting, seen).thresholds


def _token() -> str:
    given = os.environ.get(TOKEN_VARIABLE)
    if given is None:
        return secrets.token_urlsafe(24)
    if len(given) < _LEAST_TOKEN or not given.isascii() or not given.isalnum():
        raise ConfigError(
            f"{TOKEN_VARIABLE} must have at least {_LEAST_TOKEN} letters and digits; got "
            f"{len(given)} characters: choose another, or leave it out for a random one"
        )
    return given


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_QUEUE)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"the page needs a free port of this machine; got {host}:{port} ({error}): choose "
            "another with --port"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
