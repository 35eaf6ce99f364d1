"""What a version learnt from: its manifests, their objects, and the versions before it."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from flows.jobs.learnt_objects import learnt_objects
from flows.jobs.product import Product
from mlflow_models import registry, version_tags
from mlflow_models.recorded import RecordedTraining, read_recorded
from mlflow_models.version_names import find_named
from reconad_plugin.errors import ModelFormatError


@dataclass(frozen=True, eq=False)
class VersionLineage:
    """A version, what it learnt from, and what it started from."""

    product: Product
    version: registry.Version
    recorded: RecordedTraining
    objects: pd.DataFrame  # see ``learnt_objects``
    bases: Sequence[registry.Version]  # that it goes back to, the nearest first
    lost_base: str | None  # number or URI of the base that the registry no longer has

    @property
    def fingerprint(self) -> str:
        """Of its training job; empty where nobody noted it."""
        return version_tags.fingerprint_of(self.version.tags)

    def to_dict(self) -> dict[str, object]:
        """Return what stands in the JSON."""
        version = self.version
        return {
            "product": self.product.name,
            "version": version.number,
            "run_id": version.run_id,
            "purpose": version.purpose,
            "night": version.night,
            "cause": version.cause,
            "state": version.state,
            "fingerprint": self.fingerprint,
            "bases": [each.number for each in self.bases],
            "lost_base": self.lost_base,
            "environment": dict(self.recorded.environment),
            "settings": dict(self.recorded.params),
            "manifests": list(self.recorded.sources),
            "bucket": self.product.store.bucket,
            "images": self.objects.to_dict("records"),
        }


def trace_version(product: Product, number: str) -> VersionLineage:
    """Find what a version learnt from.

    Raises:
        ConfigError: there is no such version.
        NoChampionError: no version has this alias.
        ModelFormatError: nothing is noted of its training.
    """
    named = find_named(product.name, number)
    recorded = read_recorded(named)
    bases, lost = _bases_of(recorded, registry.versions(product.name))
    objects = learnt_objects(product, recorded.images)
    return VersionLineage(product, named, recorded, objects, bases, lost)


def _bases_of(
    recorded: RecordedTraining, versions: Sequence[registry.Version]
) -> tuple[list[registry.Version], str | None]:
    """Follow a version to those that it goes back to, the nearest first; and name the one that is
    gone, if one is."""
    found, left = list[registry.Version](), list(versions)
    while recorded.base is not None:
        base = next(filter(recorded.is_base, left), None)
        if base is None:
            return found, recorded.base
        found.append(base)
        left.remove(base)  # so that no damaged record leads round in a circle
        try:
            recorded = read_recorded(base)
        except ModelFormatError:  # its run is gone: nothing tells what it started from
            break
    return found, None
