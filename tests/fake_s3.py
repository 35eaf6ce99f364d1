"""A bucket in memory behind our own store: what boto3's client answers, and what it raises."""

from copy import copy
from functools import cache
from hashlib import md5
from io import BytesIO
from types import SimpleNamespace

from botocore.exceptions import ClientError

from reconad_plugin.config.settings import StorageSettings
from reconad_plugin.store.objects import ObjectStore

BUCKET = "factory"
MOST_KEY_BYTES = 1024


def refusal(code: str, message: str, status: int, call: str = "GetObject", **more) -> ClientError:
    """What boto raises where a store refuses a call."""
    answer = {"Code": code, "Message": message, **more}
    return ClientError({"Error": answer, "ResponseMetadata": {"HTTPStatusCode": status}}, call)


class FakeS3:
    """Objects by key; those of ``refused`` are listed and raise their error when they are read."""

    def __init__(self, objects: dict[str, bytes], refused: dict[str, Exception] | None = None):
        self.objects, self.refused, self.read = objects, refused or {}, []
        self.meta = SimpleNamespace(endpoint_url="http://s3")

    def get_paginator(self, call):
        assert call == "list_objects_v2"
        return self

    def paginate(self, Bucket, Prefix, Delimiter=None):  # noqa: N803
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        if Delimiter:
            below = [key for key in keys if Delimiter in key[len(Prefix) :]]
            ends = {Prefix + key[len(Prefix) :].split(Delimiter)[0] + Delimiter for key in below}
            yield {"CommonPrefixes": [{"Prefix": folder} for folder in sorted(ends)]}
            keys = [key for key in keys if key not in below]
        for start in range(0, len(keys), 3):
            yield {"Contents": [self._entry(key) for key in keys[start : start + 3]]}

    def _entry(self, key):
        content = self.objects[key]
        return {"Key": key, "ETag": f'"{md5(content).hexdigest()}"', "Size": len(content)}  # noqa: S324

    def get_object(self, Bucket, Key):  # noqa: N803
        self.read.append(Key)
        if Key in self.refused:
            raise self.refused[Key]
        if Key not in self.objects:
            raise refusal("NoSuchKey", "The specified key does not exist.", 404)
        return {"Body": BytesIO(self.objects[Key]), "ETag": self._entry(Key)["ETag"]}

    def put_object(self, Bucket, Key, Body, ContentType, IfMatch=None, IfNoneMatch=None):  # noqa: N803
        there = self._entry(Key)["ETag"] if Key in self.objects else None
        if (IfNoneMatch and there) or (IfMatch and IfMatch != there):
            raise refusal("PreconditionFailed", "It did not hold.", 412, "PutObject")
        if len(Key.encode()) > MOST_KEY_BYTES:
            raise refusal("KeyTooLongError", "Your key is too long", 400, "PutObject")
        self.objects[Key] = Body


@cache
def _store():
    return ObjectStore(StorageSettings(bucket=BUCKET, endpoint_url="http://s3"))


def store_of(fake: FakeS3) -> ObjectStore:
    """Our store with this bucket behind it."""
    store = copy(_store())
    store._client = copy(store._client)
    store._client.calls = fake
    return store
