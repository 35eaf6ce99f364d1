"""What MLflow keeps in files, and its removal. Entries stay, with all that stands in their tags.

MLflow itself has no call that removes the files of a run or of a model; its stores of files have.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mlflow.entities import Run, RunStatus, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from mlflow_models import alias_log, registry, version_tags
from mlflow_models.pages import NIGHT_PICTURES
from mlflow_models.registry import Version, model_name
from mlflow_models.server import open_client, outage
from mlflow_models.version_tags import CLEANED_TAG

DRAWINGS: Final = ("evidently.html", *NIGHT_PICTURES)  # of a night, in its run
BEGUN, DONE = "begun", "done"
_PAGE: Final = 1000  # runs that MLflow is asked for at once


@dataclass(frozen=True)
class StoredRun:
    """A run, and where its files are."""

    run_id: str
    name: str  # as the list of runs shows it
    night: str  # `YYYY-MM-DD`; empty for a run of none
    files_at: Sequence[str]  # addresses of its own files, then of the models that it logged

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return sum(_size_of(each) for each in self.files_at)

    @property
    def drawings(self) -> dict[str, int]:
        """What was drawn of a night: file name -> size in bytes."""
        files = get_artifact_repository(self.files_at[0]).list_artifacts()
        return {each.path: each.file_size or 0 for each in files if each.path in DRAWINGS}

    def remove_drawings(self) -> None:
        """Remove what was drawn of a night; its figures and tags stay."""
        store = get_artifact_repository(self.files_at[0])
        for name in self.drawings:
            store.delete_artifacts(name)
        open_client().set_tag(self.run_id, CLEANED_TAG, DONE)

    def remove(self) -> None:
        """Remove the run with its files; ``mlflow gc`` takes the entry out of the database."""
        for address in reversed(self.files_at):
            get_artifact_repository(address).delete_artifacts()
        open_client().delete_run(self.run_id)


def drawn_nights(product: str) -> list[StoredRun]:
    """List the finished runs of nights whose drawings were not removed yet."""
    finished = f"attributes.status = '{RunStatus.to_string(RunStatus.FINISHED)}'"
    watched = f"tags.`{version_tags.MODEL_VERSION_TAG}` LIKE '%'"
    runs = _search_runs(product, f"{finished} and {watched}")
    return [_stored(run) for run in runs if CLEANED_TAG not in run.data.tags]


def unfinished_runs(product: str, before: datetime) -> list[StoredRun]:
    """List the runs that began before a moment and were cut off or failed, and that no version
    comes from."""
    runs = _search_runs(product, f"attributes.start_time < {int(before.timestamp() * 1000)}")
    finished = RunStatus.to_string(RunStatus.FINISHED)
    return [
        _stored(run)
        for run in runs
        if run.info.status != finished and not _leads_somewhere(_stored(run))
    ]


def is_removed(version: Version) -> bool:
    """Say whether all files of a version are gone."""
    return version.tags.get(CLEANED_TAG) == DONE


def named_versions(product: str, versions: Sequence[Version]) -> set[str]:
    """Return the numbers of a product's versions that an alias or an alias move names."""
    moves = alias_log.moves_of(versions)
    named = {move.version for move in moves} | {move.instead_of for move in moves}
    return {each for each in named if each is not None} | {*registry.aliases(product).values()}


def size_of_weights(product: str, version: Version) -> int:
    """Return the size of a version's files in bytes."""
    return _size_of(_address_of(product, version))


def remove_weights(product: str, version: Version) -> None:
    """Remove the files of a version's model; its entry stays, with all its tags. Cut off, it goes
    on when it is called again."""
    registry.set_tags(product, version.number, {CLEANED_TAG: BEGUN})
    get_artifact_repository(_address_of(product, version)).delete_artifacts()
    registry.set_tags(product, version.number, {CLEANED_TAG: DONE})


def is_shared(product: str, version: Version) -> bool:
    """Say whether another registered version, of any name, leads to the files of this one."""
    own = (model_name(product), version.number)
    entry = open_client().get_model_version(*own)
    addresses = [version.uri, str(entry.source), _address_of(product, version)]
    found = _versions_from(version.run_id, addresses)
    return any(each != own for each in found)


def _leads_somewhere(run: StoredRun) -> bool:
    """Say whether a registered version comes from a run, or from its files."""
    return bool(_versions_from(run.run_id, run.files_at))


def _versions_from(run_id: str, addresses: Iterable[str]) -> set[tuple[str, str]]:
    """Return name and number of the registered versions, of any name, that come from a run, or lead
    to files at one of these addresses or within them."""
    wanted = [f"run_id = '{run_id}'", f"source_path LIKE 'runs:/{run_id}/%'"]
    for address in addresses:
        wanted += [f"source_path = '{address}'", f"source_path LIKE '{address.rstrip('/')}/%'"]
    client = open_client()
    return {
        (entry.name, str(entry.version))
        for each in dict.fromkeys(wanted)
        for entry in client.search_model_versions(each)
    }


def _address_of(product: str, version: Version) -> str:
    client = open_client()
    return str(client.get_model_version_download_uri(model_name(product), version.number))


def _search_runs(product: str, wanted: str) -> Iterator[Run]:
    client = open_client()
    try:
        experiment = client.get_experiment_by_name(f"reconad/{product}")
        token: Any = None
        while experiment is not None:
            where = [experiment.experiment_id]
            page = client.search_runs(where, wanted, ViewType.ACTIVE_ONLY, _PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return
    except MlflowException as error:
        raise outage(error) or error from None


def _stored(run: Run) -> StoredRun:
    client, logged = open_client(), run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(each.model_id).artifact_location for each in logged]
    night = run.data.tags.get(version_tags.NIGHT_TAG, "")
    return StoredRun(run.info.run_id, run.info.run_name, night, [run.info.artifact_uri, *models])


def _size_of(address: str) -> int:
    store = get_artifact_repository(address)

    def size(path: str | None) -> int:
        files = store.list_artifacts(path)
        return sum(size(each.path) if each.is_dir else each.file_size or 0 for each in files)

    return size(None)
