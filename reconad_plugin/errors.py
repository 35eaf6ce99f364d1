"""The exceptions of reconad.

ReconadError
├── ConfigError (ValueError)             a setting breaks its rule
├── InvalidImageError (ValueError)       bytes that are not a picture we can score
├── NotEnoughImagesError (ValueError)    too few normal images to train or calibrate on
├── TrainingDivergedError (ArithmeticError)
├── CodebookCollapsedError (ArithmeticError)  a few codes stand for everything
├── UndefinedMetricError (ValueError)    a figure that does not exist for this input
├── ModelFormatError (ValueError)        a saved model that cannot be read back
├── DamagedRecordError (ValueError)      what was kept of a night cannot be read back
├── StorageError (OSError)
│   ├── BucketNotFoundError
│   ├── AccessDeniedError
│   ├── ObjectUnreadableError            one object that the store does not hand out
│   ├── ObjectChangedError               somebody else wrote it since it was read
│   └── StorageUnreachableError          no answer, or none for now
├── NoChampionError (LookupError)        nothing serves yet
├── NotReproducedError (ArithmeticError) a version, trained again, is another one
└── PlatformError (RuntimeError)         a server does not answer, or another run is in the way

Everything a person can put right is one of these, and its message is one line that says the
rule, what came, and what to do.
"""

import errno
from typing import Final

DISK_ERRORS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of an OSError that is no wrong input


class ReconadError(Exception):
    """Base of all errors a user of reconad can act on."""


class ConfigError(ReconadError, ValueError):
    """A setting breaks its rule."""


class InvalidImageError(ReconadError, ValueError):
    """Bytes that are not a picture we can score.

    ``reason`` is a short stable code (``empty``, ``not_an_image``, ``truncated``,
    ``too_many_pixels``, ``too_small``, ``multiple_frames``, ``unscaled``, ``transparent``) that
    stands in manifests; ``not_base64`` or ``unreadable`` where a picture does not come as a file,
    ``misplaced`` for a golden image in no folder, ``mask_shape`` for a mask of another shape,
    ``other_shape`` for a picture of another one than its lens was calibrated at.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotEnoughImagesError(ReconadError, ValueError):
    """Too few normal images to train or calibrate on."""


class TrainingDivergedError(ReconadError, ArithmeticError):
    """The loss is no longer a finite number."""


class CodebookCollapsedError(ReconadError, ArithmeticError):
    """Nearly all features of a quantised autoencoder fall to a few codes."""


class UndefinedMetricError(ReconadError, ValueError):
    """A figure that does not exist for this input, such as AUROC with a single class."""


class ModelFormatError(ReconadError, ValueError):
    """A saved model that cannot be read back."""


class DamagedRecordError(ReconadError, ValueError):
    """A record, manifest or table of a night that cannot be read back."""


class StorageError(ReconadError, OSError):
    """The object store refused or failed."""


class BucketNotFoundError(StorageError):
    """The bucket does not exist."""


class AccessDeniedError(StorageError):
    """The credentials are wrong or do not allow this."""


class ObjectUnreadableError(StorageError):
    """The store answers, and does not hand out this one object: it is archived, gone, damaged or
    encrypted with a key that we lack."""


class ObjectChangedError(StorageError):
    """One of our own objects is not the one that was read any more: somebody else wrote it."""


class StorageUnreachableError(StorageError):
    """Nothing answers at the endpoint, or what answers is busy or has failed: this may pass."""


class NoChampionError(ReconadError, LookupError):
    """No version of this product is in service yet."""


class NotReproducedError(ReconadError, ArithmeticError):
    """A version, trained again from its record, came out with other weights."""


class PlatformError(ReconadError, RuntimeError):
    """A server does not answer, or another run is in the way: it holds the lock or has moved the
    champion's alias."""
