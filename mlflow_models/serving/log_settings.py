"""Where the prediction log of a server goes: environment variables, read once when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconad_plugin.config.names import check_product_name
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.served import NightBorder
from reconad_plugin.store.objects import split_address

LOG_VARIABLE: Final = "RECONAD_PREDICTION_LOG"
NIGHT_VARIABLE: Final = "RECONAD_PREDICTION_LOG_NIGHT"
SPOOL_VARIABLE: Final = "RECONAD_PREDICTION_LOG_SPOOL"
PICTURES_VARIABLE: Final = "RECONAD_PREDICTION_LOG_PICTURES"
DEFAULT_SPOOL: Final = ".reconad/served"
_NO, _ANOMALOUS = "none", "anomalous"


@dataclass(frozen=True)
class LogSettings:
    """What a server logs, and where to."""

    bucket: str
    product: str
    border: NightBorder  # between two nights
    spool: Path  # a folder on a local disk
    keeps_pictures: bool = False  # those above the threshold

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "LogSettings | None":
        """Read the variables; None where no log is asked for.

        Raises:
            ConfigError: one of them breaks its rule.
        """
        address = environment.get(LOG_VARIABLE)
        if not address:
            return None
        bucket, product = split_address(address.removesuffix("/"))
        if not address.startswith("s3://") or not bucket or not product:
            raise ConfigError(f"{LOG_VARIABLE} must be s3://bucket/product; got {address!r}")
        pictures = environment.get(PICTURES_VARIABLE) or _NO
        if pictures not in (_NO, _ANOMALOUS):
            raise ConfigError(
                f"{PICTURES_VARIABLE} must be {_NO} or {_ANOMALOUS}; got {pictures!r}"
            )
        try:
            border = NightBorder.parse(environment.get(NIGHT_VARIABLE) or "00:00 UTC")
        except ConfigError as error:
            raise ConfigError(f"{NIGHT_VARIABLE}: {error}") from None
        return cls(
            bucket,
            check_product_name(product),
            border,
            Path(environment.get(SPOOL_VARIABLE) or DEFAULT_SPOOL),
            pictures == _ANOMALOUS,
        )
