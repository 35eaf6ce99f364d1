"""The file of a saved detector's arrays: the weights of its network, and all else that it shows.

Whoever serves a graph reads all else alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

WEIGHTS_FILE: Final = "weights.safetensors"
NORMAL_MAP: Final = "normal_map."  # begins the names of its two arrays
CONTEXTS: Final = "contexts."  # begins the names of their arrays
SELF_TEST: Final = "self_test.image"  # its name
REGION: Final = "region."  # begins those of its masks; the camera position follows
_OF_NO_NETWORK: Final = (NORMAL_MAP, CONTEXTS, SELF_TEST, REGION)

Arrays = dict[str, NDArray[np.generic]]


def write_arrays(weights: Arrays, others: Arrays, folder: Path) -> None:
    """Write the weights of a network, and all other arrays of its detector."""
    arrays = {name: np.asarray(each, order="C") for name, each in (weights | others).items()}
    save_file(arrays, folder / WEIGHTS_FILE)


def read_weights(folder: Path) -> Arrays:
    """Read the weights of the network.

    Raises:
        OSError: there is no such file.
        SafetensorError: it is broken.
    """
    return _read(folder, lambda name: not name.startswith(_OF_NO_NETWORK))


def read_others(folder: Path) -> Arrays:
    """Read all other arrays.

    Raises:
        OSError: there is no such file.
        SafetensorError: it is broken.
    """
    return _read(folder, lambda name: name.startswith(_OF_NO_NETWORK))


def _read(folder: Path, is_wanted: Callable[[str], bool]) -> Arrays:
    with safe_open(folder / WEIGHTS_FILE, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys() if is_wanted(name)}  # noqa: SIM118
