"""The one place that imports boto3: a client of S3, and errors that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
import botocore.loaders
import botocore.session
from botocore import exceptions as boto_errors
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from reconad_plugin import errors
from reconad_plugin.config import StorageSettings

_BOTO_DATA = botocore.loaders.create_loader()
_WRONG_KEY: Final = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_DENIED: Final = {"403", "AccessDenied"} | _WRONG_KEY
_NO_CREDENTIALS: Final = (
    boto_errors.CredentialRetrievalError,
    boto_errors.NoCredentialsError,
    boto_errors.PartialCredentialsError,
    boto_errors.ProfileNotFound,
)
_ABSENT: Final = {"404", "NoSuchKey"}
_RETRIES: Final = {"max_attempts": 4, "mode": "standard"}
_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=60, retries=_RETRIES, max_pool_connections=16
)


class S3Client:
    """A client of one bucket."""

    def __init__(self, settings: StorageSettings) -> None:
        self._bucket = settings.bucket
        self._endpoint = settings.endpoint_url or "AWS"
        with self.explained("connect"):
            self.calls: Any = _new_session().client(
                "s3",
                endpoint_url=settings.endpoint_url,
                region_name=settings.region,
                config=_CONFIG,
            )
        self._endpoint = self.calls.meta.endpoint_url

    @contextmanager
    def explained(self, action: str) -> Iterator[None]:
        """Turn boto's errors into ours.

        Raises:
            StorageError: see ``errors``.
            ConfigError: the endpoint is no address.
        """
        try:
            yield
        except _NO_CREDENTIALS as error:
            raise errors.AccessDeniedError(
                f"cannot {action} in bucket {self._bucket!r}: no usable credentials ({error}): "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
            ) from error
        except ClientError as error:
            raise self._translated(action, error) from error
        except ValueError as error:
            raise errors.ConfigError(
                f"storage.endpoint_url must be an address of S3; {error}"
            ) from None
        except BotoCoreError as error:
            raise errors.StorageUnreachableError(
                f"cannot {action}: no S3 service answers at {self._endpoint} "
                f"({type(error).__name__}): check storage.endpoint_url and the network"
            ) from error

    def _translated(self, action: str, error: ClientError) -> errors.StorageError:
        code = error.response["Error"]["Code"]
        if code == "NoSuchBucket" or (code == "404" and action.startswith("list")):
            return errors.BucketNotFoundError(
                f"cannot {action}: bucket {self._bucket!r} does not exist at {self._endpoint}: "
                "create it or correct storage.bucket"
            )
        if code in _DENIED:
            return errors.AccessDeniedError(
                f"cannot {action} in bucket {self._bucket!r} at {self._endpoint}: access denied "
                f"({code}): check the access key, its secret and the bucket's policy"
            )
        return errors.StorageError(f"cannot {action} in bucket {self._bucket!r}: {code}")


def is_absent(error: errors.StorageError) -> bool:
    """Return whether an error says that there is no such object."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _ABSENT


def _new_session() -> boto3.session.Session:
    """Make a session that looks for credentials anew, but does not read boto's own data again."""
    session = botocore.session.Session()
    session.register_component("data_loader", _BOTO_DATA)
    return boto3.session.Session(botocore_session=session)
