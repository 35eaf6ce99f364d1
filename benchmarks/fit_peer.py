"""Seconds of a short DRAEM training from picture files on, anomalib's Engine as it comes.

Three settings are not its defaults, each in its favour here: pictures are decoded in the training
process (eight further processes only get in the way of two cores), it validates once and on a
limited number of images, and it writes no checkpoint of 1.2 GB.
"""

import tempfile
from pathlib import Path
from time import perf_counter

from anomalib.callbacks import ModelCheckpoint
from anomalib.data import Folder
from anomalib.engine import Engine
from anomalib.models import Draem
from lightning.pytorch import Callback
from peer_images import read_images
from worker import BATCH_SIZE, read_options, report

STEPS = 12
VALIDATION_BATCHES = 12  # of 8: as many images as one validation of ours takes through the network


class Validated(Callback):
    """Counts the images of validations."""

    images = 0

    def on_validation_batch_end(self, trainer, module, outputs, batch, *place) -> None:  # noqa: ANN001, ANN002
        """Count a batch."""
        self.images += len(batch.image)


def main() -> None:
    """Time everything from the list of files to the trained network."""
    options = read_options(sizes="128")
    (size_px,) = options.sizes
    steps = options.steps or STEPS
    validated = Validated()
    with tempfile.TemporaryDirectory() as work:
        start = perf_counter()
        engine, model, images = _prepare(
            options.data, size_px, options.textures, steps, Path(work), validated
        )
        engine.fit(model, datamodule=images)
        fit_s = perf_counter() - start
    assert engine.trainer.global_step == steps, engine.trainer.global_step
    report(
        {f"{size_px} px": fit_s},
        steps=engine.trainer.global_step,
        images=len(images.train_data),
        validation_images=validated.images,
    )


def _prepare(
    data: Path, size_px: int, textures: Path, steps: int, work: Path, validated: Validated
) -> tuple[Engine, Draem, Folder]:
    images = read_images(data, BATCH_SIZE)
    model = Draem(dtd_dir=textures, pre_processor=Draem.configure_pre_processor((size_px, size_px)))
    assert model.augmenter.anomaly_source_paths, f"no texture in {textures}"
    engine = Engine(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        val_check_interval=steps,
        check_val_every_n_epoch=None,
        limit_val_batches=VALIDATION_BATCHES,
        enable_progress_bar=False,
        callbacks=[ModelCheckpoint(dirpath=work, save_top_k=0), validated],
        default_root_dir=work,
    )
    return engine, model, images


if __name__ == "__main__":
    main()
