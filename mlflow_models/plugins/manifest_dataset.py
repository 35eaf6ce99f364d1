"""A night's manifest as a dataset of MLflow: ``mlflow.data.from_reconad_manifest``.

MLflow loads this by entry point while it is itself imported, so nothing heavy is imported here
before it is needed.
"""

import re
from datetime import date
from typing import Any, Final

import pandas as pd
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

_MANIFEST: Final = re.compile(
    r"s3://(?P<bucket>[^/]+)/(?P<product>[^/]+)/_reconad/manifests/(?P<night>\d{4}-\d\d-\d\d)"
    r"\.parquet"
)


class ReconadManifestSource(DatasetSource):
    """Where a manifest is: ``s3://bucket/product/_reconad/manifests/<night>.parquet``.

    Its type is ``s3``, so that MLflow's page shows the button for its address, and a machine
    without reconad reads it as any object.
    """

    def __init__(self, uri: str) -> None:
        found = _MANIFEST.fullmatch(uri)
        if found is None:
            raise MlflowException(
                "a manifest of reconad is at s3://bucket/product/_reconad/manifests/YYYY-MM-DD"
                f".parquet; got {uri}",
                error_code=INVALID_PARAMETER_VALUE,
            )
        self.uri = uri
        self.bucket, self.product, self.night = found.groups()

    def load(self) -> pd.DataFrame:
        """Read the manifest from the bucket: one row an object, with its key, ``version_id``,
        ``etag`` and ``sha256``. Credentials, region and address come the usual AWS way.

        Raises:
            MlflowException: there is none.
            ReconadError: the bucket cannot be read, or the manifest is damaged.
        """
        from reconad_plugin.ledger.manifest import read_manifest
        from reconad_plugin.store.layout import ProductLayout
        from reconad_plugin.store.objects import open_bucket

        night = date.fromisoformat(self.night)
        table = read_manifest(open_bucket(self.bucket), ProductLayout(self.product), night)
        if table is None:
            raise MlflowException(
                f"a manifest must be there; {self.uri} is not: the night was not taken in",
                error_code=INVALID_PARAMETER_VALUE,
            )
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return what MLflow keeps of it."""
        return {"uri": self.uri, "product": self.product, "night": self.night}

    @classmethod
    def from_dict(cls, source_dict: dict[Any, Any]) -> DatasetSource:
        """Return the source that MLflow kept; one of another object of S3 as MLflow's own."""
        uri = str(source_dict.get("uri"))
        if is_manifest(uri):
            return cls(uri)
        from mlflow.data.dataset_source_registry import get_registered_sources

        others = [each for each in get_registered_sources() if each is not cls]
        of_s3 = next(each for each in others if each._get_source_type() == cls._get_source_type())
        source: DatasetSource = of_s3.from_dict(source_dict)
        return source

    @staticmethod
    def _get_source_type() -> str:
        return "s3"

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        return isinstance(raw_source, str) and is_manifest(raw_source)

    @classmethod
    def _resolve(cls, raw_source: Any) -> DatasetSource:
        return cls(raw_source)


def is_manifest(address: str) -> bool:
    """Tell whether an address is that of a night's manifest."""
    return _MANIFEST.fullmatch(address) is not None


def from_reconad_manifest(
    uri: str,
    table: pd.DataFrame | None = None,
    name: str | None = None,
    digest: str | None = None,
) -> PandasDataset:
    """Make a dataset of a night's manifest, to log with ``mlflow.log_input``.

    Args:
        uri: ``s3://bucket/product/_reconad/manifests/<night>.parquet``.
        table: the manifest, where it was read already.
        name: as the page shows it; by default ``manifest-<night>``.
        digest: by default MLflow's of the table.

    Raises:
        MlflowException: the address is none of a manifest, or there is none.
        ReconadError: the bucket cannot be read.
    """
    source = ReconadManifestSource(uri)
    rows = source.load() if table is None else table
    # whole numbers would be warned of: they cannot be missing
    rows = rows.astype(dict.fromkeys(rows.select_dtypes("int"), "float64"))
    return PandasDataset(
        rows, source=source, name=name or f"manifest-{source.night}", digest=digest
    )
