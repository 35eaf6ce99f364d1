"""What is noted on a version and on the run of a night, and how it is read back."""

import json
from collections.abc import Iterable, Mapping
from typing import Final, TypedDict

from reconad_plugin.images.size import ImageSize

FINGERPRINT_TAG: Final = "reconad.request"  # of its training job
NIGHT_TAG: Final = "reconad.night"
PURPOSE_TAG: Final = "reconad.purpose"
CAUSE_TAG: Final = "reconad.cause"
ENVIRONMENT_TAG: Final = "reconad.environment"  # what it was trained with, as JSON
ADVICE_TAG: Final = "reconad.advice"  # why its model was taken, where that was left open
MANIFESTS_TAG: Final = "reconad.manifests"
IMAGE_SIZE_TAG: Final = "reconad.image_size"  # height x width; a square has none
PICTURE_SIZE_TAG: Final = "reconad.picture_size"  # where it is more than the network sees
PARTS_TAG: Final = "reconad.part_pattern"  # how it tells parts; none: it does not
CONTEXTS_TAG: Final = "reconad.contexts"  # how often each context alarms falsely
ENGINES_TAG: Final = "reconad.engines"  # those that lie beside its network
EXPORTED_FROM_TAG: Final = "reconad.exported_from"  # the version, by its number
STATE_TAG: Final = "reconad.state"  # promoted, rejected, rolled_back
VERDICT_TAG: Final = "reconad.verdict"
JUDGED_AGAINST_TAG: Final = "reconad.judged_against"  # the champion of the verdict, or none
REASON_TAG: Final = "reconad.reason"
PROMOTED_NIGHT_TAG: Final = "reconad.promoted_night"
ROLLED_BACK_NIGHT_TAG: Final = "reconad.rolled_back_night"
CLEANED_TAG: Final = "reconad.cleaned"  # files were removed: `begun`, then `done`
THRESHOLD_TAG: Final = "reconad.threshold"  # what persons set, oldest first
MODEL_VERSION_TAG: Final = "reconad.model_version"  # of a night: the version that scored it
EVIDENCE_TAG: Final = "reconad.evidence"  # of a night: the explanation of its cause

Tags = Mapping[str, str]


class NotedCheck(TypedDict):
    """One rule of a verdict; what is not a number is None."""

    rule: str
    value: float | None
    limit: float | None
    is_passed: bool
    sentence: str


class NotedVerdict(TypedDict, total=False):
    """The gate's verdict as it is noted, with more in it; see ``Verdict``."""

    reason: str
    judged_against: str | None  # number of the champion
    checks: list[NotedCheck]


def training_tags(
    fingerprint: str,
    purpose: str,
    size: ImageSize,
    pictures: ImageSize | None = None,
    part_pattern: str | None = None,
) -> dict[str, str]:
    """Return what a version says of the training that made it.

    Args:
        fingerprint: of the training job.
        purpose: ``train``, ``finetune`` or ``pretrain``.
        size: what its network sees.
        pictures: size of its pictures, where it is more.
        part_pattern: tells parts.
    """
    noted = {
        IMAGE_SIZE_TAG: None if isinstance(size.setting, int) else str(size),
        PICTURE_SIZE_TAG: None if pictures is None else str(pictures),
        PARTS_TAG: part_pattern,
    }
    known = {name: value for name, value in noted.items() if value is not None}
    return {FINGERPRINT_TAG: fingerprint, PURPOSE_TAG: purpose, **known}


def night_tags(night: str, cause: str, manifests: str) -> dict[str, str]:
    """Return what a version says of the night it was trained on, and of what it learnt from."""
    return {NIGHT_TAG: night, CAUSE_TAG: cause, MANIFESTS_TAG: manifests}


def watch_tags(cause: str, model_version: str, explanation: str) -> dict[str, str]:
    """Return what the run of a night says of the watch: the cause of its alarm, the version that
    scored it, and the explanation."""
    return {CAUSE_TAG: cause, MODEL_VERSION_TAG: model_version, EVIDENCE_TAG: explanation}


def cause_tags(cause: str) -> dict[str, str]:
    """Return what a version says of the alarm that led to it."""
    return {CAUSE_TAG: cause}


def result_tags(environment: Mapping[str, object], false_alarms: str | None) -> dict[str, str]:
    """Return what a version says of what it was trained with, and of its contexts."""
    contexts = {} if false_alarms is None else {CONTEXTS_TAG: false_alarms}
    return {ENVIRONMENT_TAG: json.dumps(environment), **contexts}


def advice_tags(advice: str) -> dict[str, str]:
    """Return what a version says of why its model was taken."""
    return {ADVICE_TAG: advice}


def engine_tags(engines: Iterable[str]) -> dict[str, str]:
    """Return what a version says of the engines that lie beside its network."""
    return {ENGINES_TAG: ", ".join(dict.fromkeys(engines))}


def export_tags(original: Tags, engines: Iterable[str]) -> dict[str, str]:
    """Return what an exported version says: what the original does, but for the fingerprint, since
    a training is found by the version that it made."""
    kept = {name: value for name, value in original.items() if name != FINGERPRINT_TAG}
    return {**kept, **engine_tags(engines)}


def exported_from_tags(number: str) -> dict[str, str]:
    """Return what an exported version says of the one that it was exported from."""
    return {EXPORTED_FROM_TAG: number}


def fingerprint_of(tags: Tags) -> str:
    """Return that of the training job; empty where nobody noted it."""
    return tags.get(FINGERPRINT_TAG, "")


def image_size_of(tags: Tags) -> ImageSize | None:
    """Return what the network sees; None where it is a square, whose side the settings say."""
    return _size_of(tags.get(IMAGE_SIZE_TAG))


def picture_size_of(tags: Tags) -> ImageSize | None:
    """Return the size of the pictures; None where it is what the network sees."""
    return _size_of(tags.get(PICTURE_SIZE_TAG))


def part_pattern_of(tags: Tags) -> str | None:
    """Return what tells parts; None where nothing does."""
    return tags.get(PARTS_TAG)


def advice_of(tags: Tags) -> str:
    """Return why the model was taken; empty where it was named."""
    return tags.get(ADVICE_TAG, "")


def _size_of(noted: str | None) -> ImageSize | None:
    return None if noted is None else ImageSize.parse(noted)
