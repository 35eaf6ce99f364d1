"""Image AUROC of anomalib's DRAEM as it comes after so many minutes; runs in its environment.

V/bin/python benchmarks/quality_peer.py --data DIR --textures DIR --sizes 128 --seconds 900
"""

import tempfile
from datetime import timedelta
from pathlib import Path
from time import perf_counter

from anomalib.engine import Engine
from anomalib.metrics import AUROC, Evaluator
from anomalib.models import Draem
from peer_images import read_images
from worker import BATCH_SIZE, read_options, report


def main() -> None:
    """Train for the seconds given, then score the test split once."""
    options = read_options(sizes="128")
    (size_px,) = options.sizes
    images = read_images(options.data, BATCH_SIZE)
    model = Draem(
        dtd_dir=options.textures,  # a folder itself: links below one are not followed
        pre_processor=Draem.configure_pre_processor((size_px, size_px)),
        evaluator=Evaluator(
            test_metrics=[AUROC(fields=["pred_score", "gt_label"], prefix="image_")]
        ),
    )
    with tempfile.TemporaryDirectory() as work:
        engine = Engine(
            max_time=timedelta(seconds=options.seconds),
            max_epochs=100_000,
            accelerator="cpu",
            logger=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            default_root_dir=Path(work),
        )
        start = perf_counter()
        engine.fit(model, datamodule=images)
        fit_s = perf_counter() - start
        assert model.augmenter.anomaly_source_paths, f"no texture in {options.textures}"
        result = engine.test(model, datamodule=images)[0]
    figures = {name: float(value) for name, value in result.items()}
    report(figures, steps=engine.trainer.global_step, fit_s=fit_s)


if __name__ == "__main__":
    main()
