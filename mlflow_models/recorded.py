"""What MLflow keeps of the training of a version, read back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from mlflow_models import registry, version_tags
from mlflow_models.server import open_client, unless_absent
from mlflow_models.tracking import images_of_run, sources_of_run
from reconad_plugin.errors import ModelFormatError

NO_BASE = "none"


@dataclass(frozen=True, eq=False)
class RecordedTraining:
    """A training as it was noted when it was done."""

    params: Mapping[str, str]  # settings, by name, as MLflow shows them
    metrics: Mapping[str, float]  # figures at its end, by name
    sources: Sequence[str]  # addresses of the manifests, or of the folders, that it learnt from
    images: pd.DataFrame  # see ``tracking.read_training_images``
    # see ``describe_environment``; empty for a version from before it was noted
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str | None:
        """Number or URI of the version that it started from; None where it started from none."""
        name = self.params.get("base_version", NO_BASE)
        return None if name == NO_BASE else name

    def is_base(self, version: registry.Version) -> bool:
        """Tell whether a version is the one that it started from."""
        if run_id := self.params.get("base_run"):
            return version.run_id == run_id
        return self.base in (version.number, version.uri)  # of before the run was noted


def read_recorded(version: registry.Version) -> RecordedTraining:
    """Read what was noted of a version's training.

    Raises:
        ModelFormatError: its run is gone, or has no list of images.
        PlatformError: MLflow does not answer.
    """
    run = unless_absent(partial(open_client().get_run, version.run_id))
    if run is None:
        raise ModelFormatError(
            f"what a version learnt from stands in the run that trained it; that of {version.uri}, "
            f"{version.run_id}, is gone: nothing tells it any more"
        )
    return RecordedTraining(
        params=run.data.params,
        metrics=run.data.metrics,
        sources=sources_of_run(run),
        images=images_of_run(version.run_id, version.uri),
        environment=json.loads(run.data.tags.get(version_tags.ENVIRONMENT_TAG, "{}")),
    )
