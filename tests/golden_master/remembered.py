"""Reads of the platform that are made once: while nothing is written, a second answer is the same.

The same few objects and versions are asked for thousands of times over a history's nights.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pandas as pd
from botocore.client import BaseClient
from mlflow import MlflowClient

READS = ("get_model_version", "get_registered_model", "search_model_versions")


@contextmanager
def remembered() -> Iterator[None]:
    """Answer reads of S3 and of MLflow's registry, and of Parquet, from memory the second time."""
    with ExitStack() as patches:
        call = _remembered_calls(BaseClient._make_api_call)
        patches.enter_context(patch.object(BaseClient, "_make_api_call", call))
        for name in READS:
            read = _remembered_reads(getattr(MlflowClient, name))
            patches.enter_context(patch.object(MlflowClient, name, read))
        patches.enter_context(patch.object(pd, "read_parquet", _remembered_tables(pd.read_parquet)))
        yield


def _remembered_calls(call: Callable[..., Any]) -> Callable[..., Any]:
    answers: dict[str, Any] = {}

    def make(client: BaseClient, operation: str, arguments: dict[str, Any]) -> Any:
        if operation not in ("GetObject", "ListObjectsV2"):
            raise AssertionError(f"a decision only reads; it asked S3 for {operation}")
        question = f"{operation} {sorted(arguments.items())}"
        if question not in answers:
            try:
                answer = call(client, operation, arguments)
                if operation == "GetObject":
                    answer["Body"] = answer["Body"].read()
            except client.exceptions.ClientError as error:
                answer = error
            answers[question] = answer
        answer = answers[question]
        if isinstance(answer, Exception):
            raise answer
        return answer | {"Body": io.BytesIO(answer["Body"])} if "Body" in answer else answer

    return make


def _remembered_reads(read: Callable[..., Any]) -> Callable[..., Any]:
    answers: dict[str, Any] = {}

    def make(client: MlflowClient, *arguments: Any, **options: Any) -> Any:
        question = f"{arguments} {options}"
        if question not in answers:
            try:
                answers[question] = read(client, *arguments, **options)
            except Exception as error:
                answers[question] = error
        if isinstance(answers[question], Exception):
            raise answers[question]
        return answers[question]

    return make


def _remembered_tables(read: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    tables: dict[bytes, pd.DataFrame] = {}

    def make(buffer: io.BytesIO) -> pd.DataFrame:
        content = buffer.getvalue()
        if content not in tables:
            tables[content] = read(buffer)
        return tables[content].copy()

    return make
