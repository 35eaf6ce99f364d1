"""The one place that imports boto3: a client of S3, and errors that say what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import boto3
import botocore.loaders
import botocore.session
from botocore import exceptions as boto_errors
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from reconad_plugin import errors
from reconad_plugin.config.settings import StorageSettings

_BOTO_DATA = botocore.loaders.create_loader()
_WRONG_KEY: Final = {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_DENIED: Final = {"401", "403", "AccessDenied"} | _WRONG_KEY
_NO_CREDENTIALS: Final = (
    boto_errors.CredentialRetrievalError,
    boto_errors.NoCredentialsError,
    boto_errors.PartialCredentialsError,
    boto_errors.ProfileNotFound,
)
_ABSENT: Final = {"404", "NoSuchKey"}
# what a store says of a write whose condition does not hold; some say that the object is not there
_CHANGED: Final = {"412", "ConditionalRequestConflict", "PreconditionFailed"} | _ABSENT
_SKEWED: Final = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_ELSEWHERE: Final = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_ELSEWHERE_STATUS: Final = {301, 302, 307, 308}
# boto tries these again, and whoever runs a step may do so later
_FOR_NOW: Final = {
    "InternalError", "KMS.ThrottlingException", "RequestTimeout", "ServiceUnavailable", "SlowDown",
}  # fmt: skip
_FOR_NOW_STATUS: Final = {408, 429, 500, 502, 503, 504}
_MEND: Final = {
    "InvalidObjectState": "restore it from the archive",
    **dict.fromkeys(_ABSENT, "it was moved or deleted: bring it back"),
}
_MOST_SAID: Final = 300  # characters of what a store says
_RETRIES: Final = {"max_attempts": 4, "mode": "standard"}
_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=60, retries=_RETRIES, max_pool_connections=16
)


class S3Client:
    """A client of one bucket."""

    def __init__(self, settings: StorageSettings) -> None:
        self._bucket = settings.bucket
        self._endpoint = settings.endpoint_url or "AWS"
        try:
            with self.explained("connect"):
                self.calls: Any = _new_session().client(
                    "s3",
                    endpoint_url=settings.endpoint_url,
                    region_name=settings.region,
                    config=_CONFIG,
                )
        except ValueError as error:
            raise errors.ConfigError(
                f"storage.endpoint_url must be an address of S3; {error}"
            ) from None
        self._endpoint = self.calls.meta.endpoint_url

    @contextmanager
    def explained(self, action: str) -> Iterator[None]:
        """Turn boto's errors into ours.

        Raises:
            StorageError: see ``errors``.
            ConfigError: the region can be none.
        """
        where = f"cannot {action} in bucket {self._bucket!r}"
        try:
            yield
        except _NO_CREDENTIALS as error:
            raise errors.AccessDeniedError(
                f"{where}: no usable credentials ({error}): "
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role"
            ) from error
        except ClientError as error:
            raise self._translated(action, error) from error
        except boto_errors.FlexibleChecksumError as error:
            raise errors.ObjectUnreadableError(
                f"{where}: {_one_line(str(error))}: it is damaged, bring it anew"
            ) from error
        except boto_errors.InvalidRegionError as error:
            raise errors.ConfigError(f"storage.region must be a region of S3; {error}") from None
        except RecursionError:  # boto asks an address that redirects all where to, without end
            raise errors.StorageError(
                f"{where} at {self._endpoint}: it redirects, and names no region: "
                "check storage.endpoint_url, also its http or https"
            ) from None
        except BotoCoreError as error:
            raise errors.StorageUnreachableError(
                f"cannot {action}: no S3 service answers at {self._endpoint} "
                f"({type(error).__name__}): check storage.endpoint_url and the network"
            ) from error

    def _translated(self, action: str, error: ClientError) -> errors.StorageError:
        answer = error.response["Error"]
        metadata = error.response.get("ResponseMetadata", {})
        headers: Mapping[str, str] = metadata.get("HTTPHeaders", {})
        code, status = answer.get("Code", "Unknown"), metadata.get("HTTPStatusCode", 0)
        is_list, is_read = (error.operation_name == each for each in ("ListObjectsV2", "GetObject"))
        if code == "NoSuchBucket" or (code == "404" and is_list):
            return errors.BucketNotFoundError(
                f"cannot {action}: bucket {self._bucket!r} does not exist at {self._endpoint}: "
                "create it or correct storage.bucket"
            )
        said = ": ".join(filter(None, (code, _one_line(answer.get("Message") or ""))))
        where = f"cannot {action} in bucket {self._bucket!r} at {self._endpoint}"
        if error.operation_name == "PutObject" and code in _CHANGED:
            return errors.ObjectChangedError(
                f"{where}: somebody else wrote it meanwhile: read it again"
            )
        if code in _DENIED:
            return errors.AccessDeniedError(
                f"{where}: access denied ({said}): "
                "check the access key, its secret and the bucket's policy"
            )
        if code in _SKEWED:
            return errors.StorageError(f"{where}: {said}{_clocks(answer, headers)}")
        if code in _ELSEWHERE or status in _ELSEWHERE_STATUS:
            return errors.StorageError(f"{where}: {said}: {_mend_region(answer, headers)}")
        if code in _FOR_NOW or status in _FOR_NOW_STATUS:
            return errors.StorageUnreachableError(f"{where}: {said}: try again later")
        if is_read and status < 500:
            mend = _MEND.get(code, "make it readable, or bring it anew")
            return errors.ObjectUnreadableError(f"{where}: {said}: {mend}")
        return errors.StorageError(f"{where}: {said}")


def is_absent(error: errors.StorageError) -> bool:
    """Return whether an error says that there is no such object."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and cause.response["Error"]["Code"] in _ABSENT


def _one_line(said: str) -> str:
    return " ".join(said.split()).rstrip(".")[:_MOST_SAID]


def _clocks(answer: Mapping[str, str], headers: Mapping[str, str]) -> str:
    there = answer.get("ServerTime") or headers.get("date")
    here = answer.get("RequestTime")
    both = f": it is {there} there, and {here} here" if there and here else ""
    return f"{both}: set the clock of this machine"


def _mend_region(answer: Mapping[str, str], headers: Mapping[str, str]) -> str:
    named = headers.get("x-amz-bucket-region") or answer.get("Region")
    if named is None:
        return "the bucket is elsewhere: correct storage.region and storage.endpoint_url"
    return f"the bucket is in region {named!r}: set storage.region, or AWS_REGION by hand, to it"


def _new_session() -> boto3.session.Session:
    """Make a session that looks for credentials anew, but does not read boto's own data again."""
    session = botocore.session.Session()
    session.register_component("data_loader", _BOTO_DATA)
    return boto3.session.Session(botocore_session=session)
