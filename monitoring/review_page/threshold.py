"""Thresholds to try on the page: what they would reject and miss, and the one that is set."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from monitoring.review_page.bounded import Bounded
from monitoring.review_page.night import REF_CHARACTERS
from monitoring.review_page.pictures import shrink_picture
from monitoring.review_page.product import ReviewedProduct
from reconad_plugin.errors import ConfigError
from reconad_plugin.gate.threshold_trial import Trial
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.threshold_setting import ThresholdSetting

_MOST_TRIALS = 16  # of products; a table of some hundred rows each


class Trials:
    """What was gathered for the products that somebody looks at."""

    def __init__(self) -> None:
        self._known = Bounded[Trial](_MOST_TRIALS)

    def gather(self, product: ReviewedProduct) -> dict[str, object]:
        """Gather anew what tells which threshold is right; return it for the browser.

        Raises:
            ReconadError: no version serves, or it cannot be loaded, or the bucket not be read.
        """
        self._known.drop(product.name)
        trial = self._known.get(product.name, product.open_trial)
        return {
            "version": trial.version,
            "calibrated": trial.calibrated,
            "in_force": trial.in_force,
            "nights": dict(trial.nights),
            **_describe(trial.settings),
            "images": [
                {
                    "ref": row["sha256"][:REF_CHARACTERS],
                    "score": row["score"],
                    "night": row["night"],
                    "defect": row["defect"],
                    "name": printable(str(row["key"]).rsplit("/", 1)[-1]),
                }
                for row in trial.images.to_dict("records")
            ],
        }

    def picture(self, product: ReviewedProduct, ref: str) -> bytes | None:
        """Make a small JPEG of an image that was gathered; None where it was not."""
        trial = self._known.find(product.name)
        if trial is None or len(ref) != REF_CHARACTERS:
            return None
        found = trial.images[trial.images["sha256"].str.startswith(ref)]
        if found.empty:
            return None
        content = product.read_image(str(found["sha256"].iloc[0]), str(found["key"].iloc[0]))
        return shrink_picture(content, "thumb", product.limits)


def set_threshold(product: ReviewedProduct, body: bytes, at: str) -> dict[str, object]:
    """Let a threshold hold that a person chose; return what was ever set, for the browser.

    Raises:
        ConfigError: the form breaks a rule, or somebody set another one since.
        PlatformError: MLflow does not answer.
    """
    fields = _parse(body)
    try:
        given, seen = fields["threshold"], int(fields["seen"])
        threshold = None if given == "" else float(given)
        version = fields["version"]
    except (KeyError, ValueError):
        raise ConfigError("a threshold to set must be a number: correct it") from None
    setting = ThresholdSetting(threshold, fields.get("by", ""), fields.get("why", ""), at)
    return _describe(product.set_threshold(version, setting.check(), seen))


def _describe(settings: tuple[ThresholdSetting, ...]) -> dict[str, object]:
    return {"seen": len(settings), "settings": [str(each) for each in reversed(settings)]}


def _parse(body: bytes) -> Mapping[str, str]:
    try:
        return {name: values[0] for name, values in parse_qs(body.decode(), True).items()}
    except ValueError:
        raise ConfigError("a threshold must come in a form: reload the page") from None
