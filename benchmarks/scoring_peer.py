"""Processor seconds of one picture that DRAEM scores, anomalib's network as it comes: float32."""

import statistics
import time

import torch
from anomalib.models.image.draem.torch_model import (
    DiscriminativeSubNetwork,
    DraemModel,
    ReconstructiveSubNetwork,
)
from worker import SCORED, WARMUP_STEPS, read_options, report

WIDTHS = {"small": (64, 32), "paper": (128, 64)}  # of both networks


def main() -> None:
    """Measure each network."""
    read_options()
    figures = {}
    for network, case, calls in SCORED:
        _, width, side = case.split("-")
        model = _model(*WIDTHS[width])
        picture = torch.rand(1, 3, int(side), int(side))
        took = []
        with torch.inference_mode():
            for _ in range(calls + WARMUP_STEPS):
                began_s = time.process_time()
                model(picture)
                took.append(time.process_time() - began_s)
        figures[network] = statistics.median(took[WARMUP_STEPS:])
    report(figures)


def _model(reconstructive: int, discriminative: int) -> DraemModel:
    model = DraemModel()
    model.reconstructive_subnetwork = ReconstructiveSubNetwork(base_width=reconstructive)
    model.discriminative_subnetwork = DiscriminativeSubNetwork(
        in_channels=6, out_channels=2, base_width=discriminative
    )
    return model.eval()


if __name__ == "__main__":
    main()
