"""The folder of images as the peer reads it. Runs in the peer's environment."""

from pathlib import Path

from anomalib.data import Folder


def read_images(data: Path, batch_size: int) -> Folder:
    """``train/good``, ``test/good`` and every ``test/<defect>`` of a folder."""
    defects = sorted(path.name for path in (data / "test").iterdir() if path.name != "good")
    return Folder(
        name="peer",
        root=data,
        normal_dir="train/good",
        normal_test_dir="test/good",
        abnormal_dir=[f"test/{name}" for name in defects],
        train_batch_size=batch_size,
        eval_batch_size=batch_size,
        num_workers=0,
        val_split_mode="same_as_test",
    )
