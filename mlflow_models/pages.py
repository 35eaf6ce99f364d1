"""Where a person looks: MLflow's page of a night or of a version, and one picture of it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from mlflow_models.registry import model_name, version
from mlflow_models.server import open_client, web_address
from mlflow_models.version_tags import NIGHT_TAG

NIGHT_PICTURES: Final = ("maps.png", "scores.png")
GATE_PICTURES: Final = ("gate/disagreement.png", "gate/golden_maps.png")
MOST_PICTURE_BYTES: Final = 4_000_000  # in one message; what is larger is a link alone


@dataclass(frozen=True)
class Page:
    """A page of MLflow, and the picture that says most."""

    link: str | None  # None where MLflow has no pages, in a file
    picture: bytes | None = None  # a PNG; None where there is none
    picture_link: str | None = None


def night_page(product: str, night: str) -> Page:
    """Find the newest run of a night's monitoring; its most anomalous images, where they were
    drawn."""
    client = open_client()
    experiment = client.get_experiment_by_name(f"reconad/{product}")
    if experiment is None:
        return Page(None)
    named = f"tags.`{NIGHT_TAG}` = '{night}' and attributes.run_name = 'night {night}'"
    runs = client.search_runs([experiment.experiment_id], named, max_results=1)
    if not runs:
        return Page(_address(f"experiments/{experiment.experiment_id}"))
    run_id = runs[0].info.run_id
    link = _address(f"experiments/{experiment.experiment_id}/runs/{run_id}")
    return _with_picture(link, run_id, NIGHT_PICTURES)


def version_page(product: str, number: str) -> Page:
    """Find the page of a version; what the gate saw of it, where it was judged.

    Raises:
        ConfigError: there is no such version.
    """
    link = _address(f"models/{quote(model_name(product))}/versions/{number}")
    return _with_picture(link, version(product, number).run_id, GATE_PICTURES)


def _with_picture(link: str | None, run_id: str, names: Sequence[str]) -> Page:
    client = open_client()
    folders = {str(Path(name).parent) for name in names}
    sizes = {
        file.path: file.file_size
        for folder in folders
        for file in client.list_artifacts(run_id, None if folder == "." else folder)
    }
    name = next((name for name in names if name in sizes), None)
    if name is None:
        return Page(link)
    web = web_address()
    at = None if web is None else f"{web}/get-artifact?path={quote(name, '')}&run_uuid={run_id}"
    if (sizes[name] or 0) > MOST_PICTURE_BYTES:
        return Page(link, None, at)
    with tempfile.TemporaryDirectory() as folder:
        content = Path(client.download_artifacts(run_id, name, folder)).read_bytes()
    return Page(link, content, at)


def _address(page: str) -> str | None:
    web = web_address()
    return None if web is None else f"{web}/#/{page}"
