"""``reconad rescore``: what another version says of past nights."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import RescoreOptions
from flows.commands.result_folder import make_folder
from flows.jobs.progress import night_bar, warn
from flows.jobs.rescore import NightPictures, open_rescoring
from reconad_plugin.config.names import parse_night
from reconad_plugin.errors import ConfigError, DamagedRecordError
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.rescored import (
    RescoredImages,
    RescoredNight,
    clear_nights,
    describe_first,
)

PICTURES_FILE: Final = "pictures.csv"
_DPI: Final = 110  # of a sheet


def run(options: RescoreOptions) -> None:
    """Say since when another version sees more than was said."""
    first, last = parse_nights(options.nights)
    check_writable(options.json)
    rescoring = open_rescoring(options.product, options.version, first, last)
    if options.out is not None:
        make_folder(options.out)
        (options.out / PICTURES_FILE).unlink(missing_ok=True)
    for night in rescoring.never_run:
        warn(
            f"{night} was never taken in: run `reconad nightly {options.product} {night}`, and "
            "this again"
        )
    nights, left_out = list[RescoredNight](), list(rescoring.never_run)
    for night in night_bar(options.product, rescoring.nights):
        pictures = rescoring.run(night)
        if pictures is None:
            left_out.append(night)
            continue
        nights.append(pictures.counts)
        _warn_of_unreadable(pictures)
        if options.out is not None:
            _write(pictures, options.out)
    if not nights:
        raise DamagedRecordError(
            f"a night that is scored anew needs its manifest; those of {len(rescoring.nights)} "
            "nights are damaged: run these nights again"
        )
    number, calibration = rescoring.version.number, rescoring.detector.calibration
    sentence = describe_first(nights, number, calibration)
    clear = [night.whole.night for night in clear_nights(nights)]
    try:
        content = {"product": options.product, "version": number, "clear_nights": clear}
        content |= {"sentence": sentence, "left_out": [str(night) for night in sorted(left_out)]}
        write_json(content | {"nights": [asdict(night) for night in nights]}, options.json)
    finally:
        _show(nights, number, clear)
        print(sentence)


def _write(pictures: NightPictures, out: Path) -> None:
    """Add a night to the table of pictures, and draw its sheet."""
    file, sheet = out / PICTURES_FILE, out / f"{pictures.night}.png"
    pictures.table.to_csv(file, mode="a", header=not file.exists(), index=False)
    sheet.unlink(missing_ok=True)  # a link may lead to a picture
    if (figure := pictures.plot_worst()) is not None:
        figure.savefig(sheet, dpi=_DPI)


def _warn_of_unreadable(pictures: NightPictures) -> None:
    broken = pictures.table[pictures.table["error"].notna()]
    if len(broken):
        first = broken.iloc[0]
        warn(
            f"{len(broken)} pictures of {pictures.night} cannot be read any more, such as "
            f"{first['key']}: {first['error']}"
        )


def _show(nights: Sequence[RescoredNight], version: str, clear: Sequence[str]) -> None:
    has_positions = any(night.by_position for night in nights)
    position = ["position"] if has_positions else []
    counts = ("images", "quarantined", "above then", f"above now (v{version})", "newly")
    table = Table("night", *position, *counts, "no longer", "worst score", "clearly more")
    for night in nights:
        more = "yes" if night.whole.night in clear else ""  # of the night, whatever its positions
        for row in night.groups:
            at = [escape(printable(row.position or ""))] if has_positions else []
            table.add_row(row.night, *at, *_cells(row), more)
            more = ""
    Console().print(table)


def _cells(row: RescoredImages) -> list[str]:
    worst = "-" if row.worst_score is None else f"{row.worst_score:.4f}"
    then, newly, no_longer = "-", "-", "-"
    if row.compared:
        versions = ", ".join(f"v{each}" for each in row.versions_then)
        then = f"{row.above_then} of {row.compared} ({versions or 'version not noted'})"
        newly, no_longer = str(row.newly_above), str(row.no_longer_above)
    counts = [str(row.images), str(row.quarantined), then, str(row.above_now)]
    return [*counts, newly, no_longer, worst]


def parse_nights(text: str) -> tuple[date, date]:
    """Read ``FROM..TO``, or one night, as the first and the last of a range.

    Raises:
        ConfigError: it is neither, or ends before it begins.

    Example:
        >>> parse_nights("2026-01-30..2026-02-01")[1]
        datetime.date(2026, 2, 1)
    """
    first, dots, last = text.partition("..")
    nights = parse_night(first), parse_night(last if dots else first)
    if nights[1] < nights[0]:
        raise ConfigError(
            f"--nights must be FROM..TO with the earlier night first; got {text}: exchange them"
        )
    return nights
