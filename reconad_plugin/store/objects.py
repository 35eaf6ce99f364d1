"""One S3 bucket, with errors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from reconad_plugin.config import StorageSettings
from reconad_plugin.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ConfigError,
    StorageError,
    StorageUnreachableError,
)
from reconad_plugin.store.layout import OWN_FOLDER

_BOTO_DATA = botocore.loaders.create_loader()
_DENIED = {
    "403",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
_ABSENT = {"404", "NoSuchKey"}


@dataclass(frozen=True)
class ObjectInfo:
    """One object as a listing shows it."""

    key: str
    etag: str
    size_bytes: int


@dataclass(frozen=True)
class ObjectContent:
    """One object's bytes and which version of it they are."""

    content: bytes
    version_id: str


class ObjectStore:
    """Lists and reads a bucket, and writes under ``<product>/_reconad/`` alone."""

    def __init__(self, settings: StorageSettings) -> None:
        self.bucket = settings.bucket
        self._endpoint = settings.endpoint_url or "AWS"
        with self._explained("connect"):
            self._client: Any = _new_session().client(
                "s3",
                endpoint_url=settings.endpoint_url,
                region_name=settings.region,
                config=Config(
                    connect_timeout=5,
                    read_timeout=60,
                    retries={"max_attempts": 4, "mode": "standard"},
                    max_pool_connections=16,
                ),
            )
        self._endpoint = self._client.meta.endpoint_url

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects under a prefix in order of key, folders' own markers left out.

        Raises:
            StorageError: see ``errors``.
        """
        with self._explained(f"list {prefix}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    if not entry["Key"].endswith("/"):
                        yield ObjectInfo(entry["Key"], entry["ETag"].strip('"'), entry["Size"])

    def read(self, key: str) -> ObjectContent:
        """The newest version of an object.

        Raises:
            StorageError: also when the key does not exist.
        """
        with self._explained(f"read {key}"):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
            return ObjectContent(answer["Body"].read(), answer.get("VersionId") or "null")

    def read_optional(self, key: str) -> bytes | None:
        """An object's bytes, or None where there is none."""
        try:
            with self._explained(f"read {key}"):
                answer = self._client.get_object(Bucket=self.bucket, Key=key)
                return bytes(answer["Body"].read())
        except StorageError as error:
            if _code_of(error.__cause__) in _ABSENT:
                return None
            raise

    def write(self, key: str, content: bytes, content_type: str) -> None:
        """Write one of our own objects.

        Raises:
            ValueError: the key is not under ``<product>/_reconad/``: what factories wrote is
                never changed.
            StorageError: see ``errors``.
        """
        if key.split("/")[1:2] != [OWN_FOLDER]:
            raise ValueError(f"reconad writes under <product>/{OWN_FOLDER}/ alone; got {key}")
        with self._explained(f"write {key}"):
            self._client.put_object(
                Bucket=self.bucket, Key=key, Body=content, ContentType=content_type
            )

    def uri(self, key: str) -> str:
        """The address of an object, as people write it."""
        return f"s3://{self.bucket}/{key}"

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        try:
            yield
        except _NO_CREDENTIALS as error:
            raise AccessDeniedError(
                f"cannot {action} in bucket {self.bucket!r}: no usable credentials ({error}): "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
            ) from error
        except ClientError as error:
            raise self._translated(action, error) from error
        except ValueError as error:
            raise ConfigError(f"storage.endpoint_url must be an address of S3; {error}") from None
        except BotoCoreError as error:
            raise StorageUnreachableError(
                f"cannot {action}: no S3 service answers at {self._endpoint} "
                f"({type(error).__name__}): check storage.endpoint_url and the network"
            ) from error

    def _translated(self, action: str, error: ClientError) -> StorageError:
        code = _code_of(error)
        if code == "NoSuchBucket" or (code == "404" and action.startswith("list")):
            return BucketNotFoundError(
                f"cannot {action}: bucket {self.bucket!r} does not exist at {self._endpoint}: "
                "create it or correct storage.bucket"
            )
        if code in _DENIED:
            return AccessDeniedError(
                f"cannot {action} in bucket {self.bucket!r} at {self._endpoint}: access denied "
                f"({code}): check the access key, its secret and the bucket's policy"
            )
        return StorageError(f"cannot {action} in bucket {self.bucket!r}: {code}")


def _new_session() -> boto3.session.Session:
    """A session that looks for credentials anew, but does not read boto's own data again."""
    session = botocore.session.Session()
    session.register_component("data_loader", _BOTO_DATA)
    return boto3.session.Session(botocore_session=session)


def _code_of(error: BaseException | None) -> str:
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
