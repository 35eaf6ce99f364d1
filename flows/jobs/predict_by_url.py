"""Predictions of a running server: picture files go to it a few at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from flows.jobs.progress import reading_bar
from flows.jobs.scoring_client import ScoringClient
from reconad_plugin.detector.answer import Prediction
from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.names import read_file

MOST_PICTURES: Final = 8  # of one request
MOST_BYTES: Final = 8 * 2**20  # of the files of one request, unless a single one is larger


@dataclass(frozen=True)
class _Picture:
    content: bytes  # empty where the file cannot be read
    error: str | None  # why it cannot


def predict_by_url(
    client: ScoringClient, images: Sequence[Path], with_map: bool = False
) -> Iterator[Prediction]:
    """Predict picture files in their order, as the server answers; none waits for the last.

    A file that cannot be read is asked for as an empty one: so its row has the server's threshold
    and version like any other. Its reason is its own.

    Raises:
        ReconadError: see ``ScoringClient.ask``; what was answered before stays answered.
    """
    for batch in _batches(_read(path) for path in reading_bar(images, "predict")):
        answers = client.ask([picture.content for picture in batch], with_map)
        for picture, answer in zip(batch, answers, strict=True):
            yield answer if picture.error is None else replace(answer, error=picture.error)


def _read(path: Path) -> _Picture:
    try:
        return _Picture(read_file(path), None)
    except InvalidImageError as error:
        return _Picture(b"", f"{error.reason}: {error}")


def _batches(pictures: Iterable[_Picture]) -> Iterator[list[_Picture]]:
    batch, size_bytes = list[_Picture](), 0
    for picture in pictures:
        size_bytes += len(picture.content)
        if batch and (len(batch) == MOST_PICTURES or size_bytes > MOST_BYTES):
            yield batch
            batch, size_bytes = [], len(picture.content)
        batch.append(picture)
    if batch:
        yield batch
