"""Seconds a DRAEM training step on prepared tensors, anomalib as it comes: float32."""

import torch
from anomalib.models.image.draem.loss import DraemLoss
from anomalib.models.image.draem.torch_model import DraemModel
from timing import seconds_per_call
from worker import BATCH_SIZE, WARMUP_STEPS, read_options, report, wait_for

TIMED_STEPS = 3


def main() -> None:
    """Measure at each size."""
    options, figures = read_options(), {}
    for size_px in options.sizes:
        model, losses = DraemModel().train().to(options.device), DraemLoss()
        timed = options.steps or TIMED_STEPS
        seconds = _step_s(model, losses, size_px, timed, options.device)
        figures[f"prepared tensors, {size_px} px"] = seconds
    report(figures, parameters=sum(value.numel() for value in model.parameters()))


def _step_s(model: DraemModel, losses: DraemLoss, size_px: int, timed: int, device: str) -> float:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    image = torch.rand(BATCH_SIZE, 3, size_px, size_px, device=device)
    seen = torch.rand(BATCH_SIZE, 3, size_px, size_px, device=device)
    mask = (torch.rand(BATCH_SIZE, 1, size_px, size_px, device=device) > 0.9).float()

    def step() -> None:
        optimizer.zero_grad()
        reconstruction, prediction = model(seen)
        losses(image, reconstruction, mask, prediction).backward()
        optimizer.step()
        wait_for(device)

    return seconds_per_call(step, WARMUP_STEPS, timed)


if __name__ == "__main__":
    main()
