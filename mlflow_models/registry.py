"""Versions and aliases: which model serves, which challenges, and why."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast

from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo

from mlflow_models.server import open_client, outage, unless_absent
from mlflow_models.version_tags import (
    CAUSE_TAG,
    CLEANED_TAG,
    FINGERPRINT_TAG,
    JUDGED_AGAINST_TAG,
    NIGHT_TAG,
    PROMOTED_NIGHT_TAG,
    PURPOSE_TAG,
    REASON_TAG,
    ROLLED_BACK_NIGHT_TAG,
    STATE_TAG,
    THRESHOLD_TAG,
    VERDICT_TAG,
    NotedVerdict,
)
from reconad_plugin.errors import ConfigError, NoChampionError
from reconad_plugin.ledger import history
from reconad_plugin.ledger.history import VersionFacts
from reconad_plugin.ledger.threshold_setting import (
    ThresholdSetting,
    read_settings,
    write_settings,
)

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
PREVIOUS_CHAMPION: Final = "previous_champion"
ALIASES: Final = (CHAMPION, PREVIOUS_CHAMPION, CHALLENGER)

PROMOTED, REJECTED, ROLLED_BACK = "promoted", history.REJECTED, "rolled_back"
PROMOTION, ROLLBACK = "promotion", "rollback"  # what moves the alias


@dataclass(frozen=True)
class Version:
    """One registered version."""

    number: str  # as the registry counts, `"1"`, `"2"`...
    uri: str  # `models:/reconad-<product>/<number>`
    tags: dict[str, str]  # what reconad noted on it
    run_id: str  # the run that trained it

    @classmethod
    def of(cls, entry: ModelVersion) -> "Version":
        """Return the version that an entry of the registry is."""
        number = str(entry.version)
        return cls(number, f"models:/{entry.name}/{number}", dict(entry.tags), entry.run_id)

    @property
    def night(self) -> str:
        """The last night that it learnt from; empty for a version made by hand."""
        return self.tags.get(NIGHT_TAG, "")

    @property
    def purpose(self) -> str:
        """``train`` or ``finetune``; empty where nobody noted it."""
        return self.tags.get(PURPOSE_TAG, "")

    @property
    def cause(self) -> str:
        """Cause of the alarm that led to it, or ``none``; empty where nobody noted it."""
        return self.tags.get(CAUSE_TAG, "")

    @property
    def state(self) -> str | None:
        """``promoted``, ``rejected`` or ``rolled_back``; None before any of these."""
        return self.tags.get(STATE_TAG)

    @property
    def reason(self) -> str:
        """Why it has its state; empty before."""
        return self.tags.get(REASON_TAG, "")

    @property
    def verdict(self) -> NotedVerdict | None:
        """The gate's verdict; what is not a number in it is None. None before it was judged."""
        text = self.tags.get(VERDICT_TAG, "null")
        return cast("NotedVerdict | None", json.loads(text, parse_constant=lambda _: None))

    @property
    def judged_against(self) -> str | None:
        """Number of the champion that its verdict was given against, or ``none``; None before."""
        return self.tags.get(JUDGED_AGAINST_TAG)

    @property
    def promoted_night(self) -> str | None:
        """The night that it was let into service on."""
        return self.tags.get(PROMOTED_NIGHT_TAG)

    @property
    def rolled_back_night(self) -> str | None:
        """The night that a person took it out of service on."""
        return self.tags.get(ROLLED_BACK_NIGHT_TAG)

    @property
    def thresholds(self) -> tuple[ThresholdSetting, ...]:
        """The thresholds that persons set on it, oldest first.

        Raises:
            ModelFormatError: its tag is damaged.
        """
        return read_settings(self.tags.get(THRESHOLD_TAG, "[]"), self.uri)

    @property
    def is_rolled_back(self) -> bool:
        """Whether a person took it out of service: what it said vouches for nothing."""
        return ROLLED_BACK_NIGHT_TAG in self.tags

    @property
    def has_weights(self) -> bool:
        """Whether it can be loaded: ``reconad clean`` has not removed its weights."""
        return CLEANED_TAG not in self.tags


def model_name(product: str) -> str:
    """Return the name of a product's registered model."""
    return f"reconad-{product}"


def version_by_alias(product: str, alias: str) -> Version | None:
    """Return the version an alias points to, or None."""
    number = number_by_alias(product, alias)
    return None if number is None else version(product, number)


def number_by_alias(product: str, alias: str) -> str | None:
    """Return the number of the version an alias points to, or None."""
    return aliases(product).get(alias)


def aliases(product: str) -> dict[str, str]:
    """Return the number of the version that each alias points to, also those made by hand."""
    registered = _registered_model(product)
    found = registered.aliases if registered else {}
    return {alias: str(number) for alias, number in found.items()}


def champion(product: str) -> Version:
    """Return the version in service.

    Raises:
        NoChampionError: nothing serves yet.
    """
    if (serving := version_by_alias(product, CHAMPION)) is not None:
        return serving
    raise NoChampionError(
        f"{model_name(product)} has no version with the alias {CHAMPION!r}: "
        f"train one with train/{product}"
    )


def version(product: str, number: str) -> Version:
    """Return a version by its number.

    Raises:
        ConfigError: there is no such version.
    """
    client, name = open_client(), model_name(product)
    entry = unless_absent(partial(client.get_model_version, name, number))
    if entry is None:
        raise ConfigError(
            f"a version must be one of {name}; got {number}: see `reconad status {product}`"
        )
    return Version.of(entry)


def versions(product: str) -> list[Version]:
    """List all versions, oldest first; none where there is no registered model yet."""
    try:
        found = open_client().search_model_versions(f"name = '{model_name(product)}'")
    except MlflowException as error:
        raise outage(error) or error from None
    return sorted((Version.of(entry) for entry in found), key=lambda entry: int(entry.number))


def is_registered(product: str, known: VersionFacts) -> bool:
    """Say whether the registry still has a version; one of the same number can be another."""
    wanted = known.number, known.run_id
    return any((each.number, each.run_id) == wanted for each in versions(product))


def read_facts(product: str, entries: Iterable[Version] | None = None) -> list[VersionFacts]:
    """Return what the registry says of each version, oldest first, reading them if not given."""
    serving = number_by_alias(product, CHAMPION)
    return [
        VersionFacts(
            number=entry.number,
            run_id=entry.run_id,
            night=entry.night,
            purpose=entry.purpose,
            cause=entry.cause,
            state=entry.state,
            has_served=entry.promoted_night is not None or entry.number == serving,
            serves=entry.number == serving,
            promoted_night=entry.promoted_night,
            rolled_back_night=entry.rolled_back_night,
        )
        for entry in (versions(product) if entries is None else entries)
    ]


def find_by_fingerprint(product: str, *fingerprints: str) -> Version | None:
    """Return the newest version of a training job with one of these fingerprints, or None."""
    same = [entry for entry in versions(product) if entry.tags.get(FINGERPRINT_TAG) in fingerprints]
    return same[-1] if same else None


def register(product: str, logged: ModelInfo, tags: Mapping[str, str]) -> Version:
    """Register a logged model as a new version; its tags are there from the first moment."""
    client, name = open_client(), model_name(product)
    if _registered_model(product) is None:
        client.create_registered_model(name)
    entry = client.create_model_version(
        name, logged.model_uri, logged.run_id, tags=dict(tags), model_id=logged.model_id
    )
    return Version.of(entry)


def set_tags(
    product: str, number: str, tags: Mapping[str, str], description: str | None = None
) -> None:
    """Write tags on a version, in their order, and then its description where there is one."""
    client, name = open_client(), model_name(product)
    for tag, value in tags.items():
        client.set_model_version_tag(name, number, tag, value)
    if description is not None:
        client.update_model_version(name, number, description=description)


def set_threshold(
    product: str, number: str, setting: ThresholdSetting, seen: int | None = None
) -> Version:
    """Set the threshold of a version; return it with what was set.

    Args:
        product: its name.
        number: of the version.
        setting: what is set.
        seen: how many settings the person saw; None: it does not matter.

    Raises:
        ConfigError: there is no such version, the setting breaks a rule, or somebody set another
            one since.
    """
    before = version(product, number)
    if seen is not None and len(before.thresholds) != seen:
        raise ConfigError(
            f"a threshold is set on what was seen; version {number} was set to "
            f"{before.thresholds[-1]} meanwhile: look again"
        )
    tags = {THRESHOLD_TAG: write_settings(before.thresholds, setting.check())}
    set_tags(product, number, tags)
    return replace(before, tags=before.tags | tags)


def challenge(product: str, number: str) -> None:
    """Point the challenger's alias at a version."""
    open_client().set_registered_model_alias(model_name(product), CHALLENGER, number)


def withdraw_challenger(product: str, numbers: Iterable[str | None]) -> None:
    """Remove the challenger's alias where it points to one of these versions."""
    challenger = version_by_alias(product, CHALLENGER)
    if challenger is not None and challenger.number in numbers:
        open_client().delete_registered_model_alias(model_name(product), CHALLENGER)


def _registered_model(product: str) -> RegisteredModel | None:
    return unless_absent(partial(open_client().get_registered_model, model_name(product)))
