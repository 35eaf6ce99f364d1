"""Graphs as engines: what was exported of a network scores in PyTorch's place.

OpenVINO is imported when a graph is opened and not before.
"""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import reconad_plugin.telemetry  # noqa: F401  first: switches off reporting of what follows
from reconad_plugin.detector.detector import BATCH_SIZE, Scores, mask_of, normal_of
from reconad_plugin.detector.normal_map import NormalMap
from reconad_plugin.detector.windows import Pictures
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.light_reference import LightReference
from reconad_plugin.images.region import Mask

_CPU_INFO: Final = Path("/proc/cpuinfo")
_CPU_LIMIT: Final = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds, in so many
# instructions that decide what a narrow number's product comes to
_NARROW: Final = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("asimddp", "i8mm", "bf16", "sve"),
)

_WIDE_SUMS: Final = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EngineKind:
    """One way to run an exported graph."""

    name: str  # as it is asked for
    precision: str  # of the arithmetic, as OpenVINO names it
    needs: str = ""  # what the processor must be able to do, as OpenVINO names it
    # whether other processors come to other numbers, so that it serves on its own kind alone
    is_of_one_processor: bool = True


ANY_PROCESSOR: Final = "openvino"  # the one that serves wherever reconad is installed
# the quickest first
ENGINES: Final = {
    each.name: each
    for each in (
        EngineKind("openvino-int8", "f32"),  # of what stays wide; the graph has the narrow numbers
        EngineKind("openvino-bf16", "bf16", needs="BF16"),
        EngineKind(ANY_PROCESSOR, "f32", is_of_one_processor=False),
    )
}


def engine_kind(name: str) -> EngineKind:
    """Return an engine by its name.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in ENGINES:
        raise ConfigError(f"an engine must be one of {', '.join(ENGINES)}; got {name!r}")
    return ENGINES[name]


def why_not_here(kind: EngineKind) -> str | None:
    """Say why this machine cannot run an engine; None where it can."""
    if find_spec("openvino") is None:
        return "OpenVINO is not installed: pip install openvino"
    if kind.needs and kind.needs not in _open_core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        return f"this processor has no {kind.needs}"
    return None


def processor_kind() -> tuple[str, ...]:
    """Return the machine's architecture, and which narrow arithmetic its processor has."""
    text = _CPU_INFO.read_text(encoding="utf-8") if _CPU_INFO.exists() else ""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    has = set(flags.group(1).split()) if flags else set()
    return (platform.machine(), *(each for each in _NARROW if each in has))


def has_wide_sums() -> bool:
    """Say whether the processor adds products of int8 without overflow; others need weights of
    seven bits."""
    return not {*processor_kind()}.isdisjoint(_WIDE_SUMS)


def thread_count() -> int:
    """Return how many threads a graph takes: as many as ``OMP_NUM_THREADS`` says, which PyTorch
    goes by as well, else one for each core that this process may use."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if said.isdecimal() and int(said) > 0:
        return int(said)
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return min(cores, _whole_cores_of_container() or cores)


def _whole_cores_of_container() -> int | None:
    """Return how many cores a container may use, at least one; None where it has no limit."""
    try:
        quota, period = _CPU_LIMIT.read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):  # no container, or "max"
        return None


class OpenVinoGraph:
    """A graph that OpenVINO runs: what ``batch.ScoringGraph`` does. Safe for many threads."""

    def __init__(self, graph: Path | Any, kind: EngineKind) -> None:
        """Open a graph: its file, or the model itself.

        Raises:
            RuntimeError: OpenVINO cannot read or run it.
        """
        self.kind = kind
        options = {
            "INFERENCE_PRECISION_HINT": kind.precision,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": thread_count(),
            "ENABLE_CPU_PINNING": False,  # others are on this machine too
        }
        self._compiled = _open_core().compile_model(graph, "CPU", options)

    def run(self, *inputs: NDArray[np.generic]) -> tuple[Floats, Floats]:
        """Map and score a batch; see ``ScoringGraph.forward``."""
        found = self._compiled.create_infer_request().infer(list(inputs), share_inputs=True)
        return found[0], found[1]


@dataclass(frozen=True)
class GraphEngine:
    """An exported graph that scores."""

    graph: OpenVinoGraph
    has_normal: bool  # whether the graph takes a normal map
    has_region: bool  # whether it takes where to look
    size_bytes: int = 0  # of its weights

    @property
    def name(self) -> str:
        """As it is asked for."""
        return self.graph.kind.name

    def score(
        self,
        images: Pictures,
        light: LightReference | None = None,
        normal: NormalMap | Sequence[NormalMap] | None = None,
        inside: Mask | None = None,
    ) -> Scores:
        """Score (N, 3, S, S) images; see ``detector.Engine``.

        Raises:
            ValueError: a normal map is given and the graph takes none, or a region and it takes
                none, or the other way round.
        """
        if (normal is not None and not self.has_normal) or self.has_region != (inside is not None):
            raise ValueError("a graph takes a normal map and a region where it was exported so")
        maps = np.empty((len(images), *images.shape[-2:]), np.float32)
        scores = np.empty(len(images))
        for start in range(0, len(images), BATCH_SIZE):
            own = slice(start, start + BATCH_SIZE)
            batch = np.ascontiguousarray(images[own])
            taken, where = normal_of(normal, own), mask_of(inside, own)
            more: list[NDArray[np.generic]] = [] if where is None else [where]
            if self.has_normal:  # a map, which is not negative, stays as it is where there is none
                nothing = np.zeros(images.shape[-2:], np.float32)
                taken = taken or NormalMap(nothing, nothing + 1)
                more = [taken.mean, taken.deviation, *more]
            ready = [_of_each(each, len(batch)) for each in more]
            maps[own], scores[own] = self.graph.run(batch, *_change(batch, light), *ready)
        return Scores(scores, maps)


def _change(batch: Pictures, light: LightReference | None) -> tuple[Floats, Floats]:
    """Return gain and offset that bring each picture to a light: (B, 3, 1, 1) each."""
    if light is not None:
        return light.change(batch)
    shape = (len(batch), 3, 1, 1)
    return np.ones(shape, np.float32), np.zeros(shape, np.float32)


def _of_each(values: NDArray[np.generic], count: int) -> NDArray[np.generic]:
    """Return what holds for all images, (S, S), as one for each of them."""
    return np.ascontiguousarray(np.broadcast_to(values, (count, *values.shape[-2:])))


@cache
def _open_core() -> Any:
    from openvino import Core

    return Core()
