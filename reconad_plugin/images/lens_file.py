"""A calibration file of OpenCV to a lens: what its ``FileStorage`` writes as YAML or JSON."""

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.lens import COEFFICIENTS, Lens

_DIRECTIVE: Final = re.compile(r"\A\ufeff?%YAML[^\n]*\n")  # as OpenCV writes it, it is no YAML
_KEYS: Final = ("image_width", "image_height", "camera_matrix", "distortion_coefficients")
_COUNTS: Final = (4, 5, 8, 12, 14)
_MODELS: Final = ("plumb_bob", "rational_polynomial")  # names of ours in files of ROS
_MOST_SIDE_PX: Final = 100_000


class _Loader(yaml.SafeLoader):
    """Reads a matrix as the mapping that it is written as."""


def _construct_matrix(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:opencv-matrix", _construct_matrix)


def parse_lens(content: bytes, name: str) -> Lens:
    """Read a calibration file; ``name`` stands in messages.

    Raises:
        ConfigError: it is no such file, or its lens is none that can be taken out.
    """
    try:
        return _lens(_mapping(content), hashlib.sha256(content).hexdigest())
    except ConfigError as error:
        raise ConfigError(f"lens {name}: {error}") from None


def _mapping(content: bytes) -> dict[Any, Any]:
    try:
        text = _DIRECTIVE.sub("", content.decode("utf-8"), count=1)
        found = _Loader(text).get_single_data()
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            "a calibration must be YAML or JSON as OpenCV's FileStorage writes it; this file is "
            f"neither ({reason}): save the calibration again"
        ) from None
    if not isinstance(found, dict):
        raise ConfigError(f"a calibration must have the keys {', '.join(_KEYS)}; it has none")
    return found


def _lens(found: dict[Any, Any], sha256: str) -> Lens:
    if missing := [key for key in _KEYS if found.get(key) is None]:
        raise ConfigError(
            f"a calibration must have the keys {', '.join(_KEYS)}; {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing: save the calibration again"
        )
    if found.get("fisheye_model") or found.get("distortion_model", _MODELS[0]) not in _MODELS:
        raise ConfigError(
            "a calibration must be of OpenCV's usual camera model; this one is of a fisheye or of "
            "another model: calibrate with cv2.calibrateCamera, or straighten the pictures before "
            "they arrive"
        )
    width, height = _side(found, "image_width"), _side(found, "image_height")
    focal, centre = _camera(_matrix(found["camera_matrix"], "camera_matrix", ((3, 3),)))
    counts = [(rows, columns) for count in _COUNTS for rows, columns in ((1, count), (count, 1))]
    values = _matrix(found["distortion_coefficients"], "distortion_coefficients", counts)
    if any(values[COEFFICIENTS:]):
        raise ConfigError(
            "a lens must not tilt the sensor: the last two of 14 distortion_coefficients must be "
            f"0; got {values[12]:g} and {values[13]:g}: calibrate without CALIB_TILTED_MODEL"
        )
    coefficients = (*values, *[0.0] * COEFFICIENTS)[:COEFFICIENTS]
    return Lens(width, height, focal, centre, coefficients, sha256)


def _side(found: dict[Any, Any], key: str) -> int:
    side = found[key]
    if isinstance(side, bool) or not isinstance(side, int) or not 0 < side <= _MOST_SIDE_PX:
        raise ConfigError(
            f"{key} must be a whole number of pixels from 1 to {_MOST_SIDE_PX:,}; got "
            f"{_shown(side)}: correct it"
        )
    return side


def _shown(value: object) -> str:
    return str(value)[:40] if isinstance(value, int | float | str) else type(value).__name__


def _matrix(value: Any, key: str, shapes: Sequence[tuple[int, int]]) -> list[float]:
    """Return the numbers of a matrix, row by row."""
    wanted = " or ".join(f"{height} x {width}" for height, width in shapes)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise ConfigError(
            f"{key} must be a matrix of {wanted}, with rows, cols and data; got "
            f"{_shown(value)}: save the calibration again"
        )
    rows, columns, data = value.get("rows"), value.get("cols"), value["data"]
    shape: Any = (rows, columns)
    if shape not in shapes or len(data) != shape[0] * shape[1]:
        raise ConfigError(
            f"{key} must be a matrix of {wanted}; got {_shown(rows)} x {_shown(columns)} with "
            f"{len(data)} numbers: save the calibration again"
        )
    for each in data:
        is_number = isinstance(each, int | float) and not isinstance(each, bool)
        if not (is_number and math.isfinite(each)):
            raise ConfigError(
                f"{key} must have finite numbers alone; got {_shown(each)}: calibrate again"
            )
    return [float(each) for each in data]


def _camera(matrix: list[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return focal lengths and centre, in pixels."""
    fx, skew, cx, zero, fy, cy, *last = matrix
    if not (fx > 0 and fy > 0 and skew == zero == 0 and last == [0, 0, 1]):
        raise ConfigError(
            "camera_matrix must be [fx, 0, cx; 0, fy, cy; 0, 0, 1] with fx and fy above 0; got "
            f"{matrix}: save the calibration again"
        )
    return (fx, fy), (cx, cy)
