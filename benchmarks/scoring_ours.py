"""Processor seconds of one picture that DRAEM scores, from uint8 pixels to map and score: PyTorch,
and each engine that this machine has."""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from engine_cost import build, by_turns, ways
from worker import SCORED, read_options, report


def main() -> None:
    """Measure each network, the ways by turns."""
    read_options()
    figures = {}
    for network, case, calls in SCORED:
        with TemporaryDirectory() as folder, torch.inference_mode():
            took = by_turns(ways(build(case), Path(folder)), calls)
        for way, taken in took.items():
            seconds = statistics.median(each.processor_s for each in taken)
            figures[f"{network}, {way}"] = seconds
    report(figures)


if __name__ == "__main__":
    main()
