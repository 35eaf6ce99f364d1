"""Seconds a training step of DSR's second phase, anomalib as it comes: float32.

Its autoencoder has random weights, as those that it trains with would have to be downloaded.
"""

import torch
from anomalib.models.image.dsr.anomaly_generator import DsrAnomalyGenerator
from anomalib.models.image.dsr.loss import DsrSecondStageLoss
from anomalib.models.image.dsr.torch_model import DsrModel
from timing import seconds_per_call
from worker import BATCH_SIZE, WARMUP_STEPS, read_options, report

TIMED_STEPS = 3


def main() -> None:
    """Measure at each size."""
    options, figures = read_options(), {}
    for size_px in options.sizes:
        model = DsrModel().train()
        figures[f"{size_px} px"] = _step_s(model, size_px, options.steps or TIMED_STEPS)
    report(figures, parameters=sum(value.numel() for value in model.parameters()))


def _step_s(model: DsrModel, size_px: int, timed: int) -> float:
    learning = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=2e-4)
    generator, losses = DsrAnomalyGenerator(), DsrSecondStageLoss()
    image = torch.rand(BATCH_SIZE, 3, size_px, size_px)

    def step() -> None:
        seen = model(image, generator.augment_batch(image))
        loss = losses(
            seen["recon_feat_hi"],
            seen["recon_feat_lo"],
            seen["embedding_bot"],
            seen["embedding_top"],
            image,
            seen["obj_spec_image"],
            seen["anomaly_map"],
            seen["true_anomaly_map"],
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return seconds_per_call(step, WARMUP_STEPS, timed)


if __name__ == "__main__":
    main()
