"""One S3 bucket, with errors that say what to do."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from reconad_plugin.config.base import one_line
from reconad_plugin.config.settings import StorageSettings
from reconad_plugin.errors import ConfigError, ObjectChangedError, StorageError
from reconad_plugin.images.names import pass_over
from reconad_plugin.store.layout import OWN_FOLDER
from reconad_plugin.store.strays import is_left_by_system

NO_VERSION: Final = "null"  # id of the only version of an object, in a bucket that keeps one
TRIES: Final = 5  # to change an object that others change too


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
    etag: str = ""


@dataclass(frozen=True)
class FolderContent:
    """What lies in a folder itself."""

    folders: list[str]  # prefixes, each with a slash at its end
    objects: int  # how many objects lie beside these folders


class ObjectStore:
    """Lists and reads a bucket, and writes under ``<product>/_reconad/`` alone."""

    def __init__(self, settings: StorageSettings) -> None:
        from reconad_plugin.store.s3 import S3Client  # boto3, only where a bucket is opened

        self.bucket = settings.bucket
        self._client = S3Client(settings)

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """List the objects under a prefix in order of key, without what ``strays`` passes over.

        Raises:
            StorageError: see ``errors``.
        """
        with self._client.explained(f"list {prefix}"):
            pages = self._client.calls.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    info = ObjectInfo(entry["Key"], entry["ETag"].strip('"'), entry["Size"])
                    if is_left_by_system(info.key):
                        pass_over(self.uri(info.key))
                    elif info.size_bytes or not info.key.endswith("/"):  # else it marks a folder
                        yield info

    def list_folder(self, prefix: str) -> FolderContent:
        """List the folders of a prefix that ends with a slash, and count its own objects.

        Raises:
            StorageError: see ``errors``.
        """
        with self._client.explained(f"list {prefix}"):
            pages = self._client.calls.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=prefix, Delimiter="/"
            )
            folders, objects = list[str](), 0
            for page in pages:
                folders += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
                keys = [entry["Key"] for entry in page.get("Contents", [])]
                objects += sum(not (is_left_by_system(key) or key.endswith("/")) for key in keys)
        return FolderContent(folders, objects)

    def read(self, key: str, version_id: str | None = None) -> ObjectContent:
        """Read an object: its newest version, or the one with this id.

        Raises:
            ObjectUnreadableError: this one cannot be had; also where the key does not exist.
            StorageError: see ``errors``.
        """
        with self._client.explained(f"read {key}"):
            asked = {} if version_id is None else {"VersionId": version_id}
            answer = self._client.calls.get_object(Bucket=self.bucket, Key=key, **asked)
            etag = answer.get("ETag", "").strip('"')
            found = answer.get("VersionId") or NO_VERSION
            return ObjectContent(answer["Body"].read(), found, etag)

    def read_optional(self, key: str) -> bytes | None:
        """Read an object's bytes; None where there is none."""
        found = self._find(key)
        return None if found is None else found.content

    def _find(self, key: str) -> ObjectContent | None:
        from reconad_plugin.store.s3 import is_absent

        try:
            return self.read(key)
        except StorageError as error:
            if is_absent(error):
                return None
            raise

    def write(self, key: str, content: bytes, content_type: str) -> None:
        """Write one of our own objects.

        Raises:
            ValueError: the key is not under ``<product>/_reconad/``: what factories wrote is
                never changed.
            StorageError: see ``errors``.
        """
        self._put(key, content, content_type, {})

    def change(
        self, key: str, content_type: str, change: Callable[[bytes | None], bytes | None]
    ) -> bytes | None:
        """Read one of our own objects, change it and write it; nobody's word is overwritten.

        Where somebody else wrote it meanwhile, theirs is changed in its place; so ``change`` may be
        called several times.

        Args:
            key: of the object.
            content_type: as it is written.
            change: what is there, None for nothing -> what is to be there, None to leave it.

        Returns:
            What is there then.

        Raises:
            ObjectChangedError: somebody else wrote it each time.
            ValueError: see ``write``.
            StorageError: see ``errors``.
        """
        tries = 0
        while True:
            found = self._find(key)
            before = None if found is None else found.content
            if (after := change(before)) is None:
                return before
            unchanged = {"IfNoneMatch": "*"} if found is None else {"IfMatch": f'"{found.etag}"'}
            try:
                self._put(key, after, content_type, unchanged)
                return after
            except ObjectChangedError:
                tries += 1
                if tries == TRIES:
                    raise

    def _put(
        self, key: str, content: bytes, content_type: str, condition: Mapping[str, str]
    ) -> None:
        if key.split("/")[1:2] != [OWN_FOLDER]:
            raise ValueError(f"reconad writes under <product>/{OWN_FOLDER}/ alone; got {key}")
        with self._client.explained(f"write {key}"):
            self._client.calls.put_object(
                Bucket=self.bucket, Key=key, Body=content, ContentType=content_type, **condition
            )

    @property
    def endpoint(self) -> str:
        """Address of the service."""
        return str(self._client.calls.meta.endpoint_url)

    def uri(self, key: str) -> str:
        """Return the address of an object, as people write it."""
        return f"s3://{self.bucket}/{key}"


def split_address(address: str) -> tuple[str, str]:
    """Split an S3 address into bucket and key; ``#`` and ``?`` belong to the key.

    Example:
        >>> split_address("s3://factory/parts/lot#2")
        ('factory', 'parts/lot#2')
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return bucket, key


def open_bucket(name: str) -> ObjectStore:
    """Open a bucket by name: endpoint, region and credentials come the usual AWS way."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        storage = StorageSettings(bucket=name, region=region or "us-east-1")
    except ValidationError as error:
        raise ConfigError(f"s3://{name} can be no bucket: {one_line(error)}") from None
    return ObjectStore(storage)
