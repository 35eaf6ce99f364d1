"""``reconad lineage``: from a version to the objects it learnt from, and from an image to those who
scored it and learnt from it."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options import LineageOptions
from flows.jobs.lineage_of_image import ImageLineage, trace_image
from flows.jobs.lineage_of_version import VersionLineage, trace_version
from flows.jobs.product import open_product
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable
from reconad_plugin.store.objects import NO_VERSION

_SHORT: Final = 12  # characters of a hash that are shown
_AS: Final = {  # split -> what that means
    "train": "learnt",
    "calibration": "set its threshold",
    "judge": "kept for the gate, not learnt",
    "light": "its light alone was learnt",
    "filling": "filled simulated anomalies",
}


def run(options: LineageOptions) -> None:
    """Show what a version learnt from, or what became of an image.

    Raises:
        ConfigError: neither is given, or both are.
    """
    check_writable(options.json)
    if (options.version is None) == (options.image is None):
        raise ConfigError(
            "reconad lineage is asked for one thing: --version N, or --image KEY|HASH|REFERENCE"
        )
    product, console = open_product(options.product), Console()
    if options.version is not None:
        of_version = trace_version(product, options.version)
        write_json(of_version.to_dict(), options.json)
        _show_version(of_version, console)
    elif options.image is not None:
        of_image = trace_image(product, options.image)
        write_json(of_image.to_dict(), options.json)
        _show_image(of_image, console)


def _show_version(lineage: VersionLineage, console: Console) -> None:
    for line in _lines_of(lineage):
        console.print(line, highlight=False, markup=False)
    objects = lineage.objects
    splits = [name for name in _AS if name in set(objects["split"])]
    table = Table("night", *(_AS[name] for name in splits), "object versions")
    for night, rows in objects.groupby("night"):
        counts = [str((rows["split"] == name).sum()) for name in splits]
        known = int((~rows["version_id"].isin(["", NO_VERSION])).sum())
        table.add_row(str(night) or "elsewhere", *counts, f"{known} of {len(rows)}")
    console.print(table)
    console.print(
        "--json FILE has each image: its key, object version, ETag and SHA-256",
        highlight=False, markup=False,
    )  # fmt: skip


def _lines_of(lineage: VersionLineage) -> Iterator[str]:
    """Write what a version is, and what decided its weights."""
    version, recorded = lineage.version, lineage.recorded
    about = [version.state or "not judged", version.purpose, version.night, version.cause]
    yield f"{version.uri}: {', '.join(each.replace('_', ' ') for each in about if each)}"
    yield f"run {version.run_id}, fingerprint {lineage.fingerprint[:_SHORT] or 'not noted'}"
    back = [f"version {each.number}" for each in lineage.bases]
    if lineage.lost_base is not None:
        back.append(f"version {lineage.lost_base}, which the registry no longer has")
    yield f"goes back to {', then '.join(back)}" if back else "trained from scratch"
    environment = ", ".join(f"{name} {value}" for name, value in recorded.environment.items())
    yield f"trained with {environment or 'libraries that were not noted then'}"
    sources = recorded.sources
    more = f" to {sources[-1]}" if len(sources) > 1 else ""
    yield f"{len(sources)} manifests: {sources[0]}{more}" if sources else "no manifest is noted"


def _show_image(lineage: ImageLineage, console: Console) -> None:
    objects = Table("key", "verdict", "split", "person", "SHA-256", "object version", "ETag")
    for row in lineage.objects:
        verdict = f"{row['verdict']}: {row['reason']}" if row["reason"] else row["verdict"]
        objects.add_row(
            *_cells(row["key"], verdict, row["split"] or "-", row["decision"] or "-"),
            *_cells(row["sha256"][:_SHORT] or "-", _object_version(row["version_id"]), row["etag"]),
        )
    if lineage.objects:
        console.print(objects)
    else:
        console.print("no manifest has it: it was served, and never taken in", highlight=False)
    _print_or(console, _scored_table(lineage), "nobody scored it")
    _print_or(console, _learnt_table(lineage), "no version learnt from it")
    if lineage.untold:
        console.print(
            f"not noted of versions {', '.join(lineage.untold)}: their runs are gone, or older",
            highlight=False,
        )
    console.print(
        f"reconad lineage {lineage.product} --version N shows what version N learnt from",
        highlight=False,
    )


def _print_or(console: Console, table: Table, otherwise: str) -> None:
    console.print(table if table.row_count else otherwise, highlight=False)


def _scored_table(lineage: ImageLineage) -> Table:
    table = Table("scored", "by", "version", "pred_score", "anomalous", "reference")
    for each in lineage.scored:
        score = "-" if each.pred_score is None else f"{each.pred_score:.4f}"
        label = {True: "yes", False: "no", None: "-"}[each.pred_label]
        table.add_row(
            *_cells(each.when, each.by, each.version, score, label, each.reference or "-")
        )
    return table


def _learnt_table(lineage: ImageLineage) -> Table:
    table = Table("version", "what it did with it", "through")
    for each in lineage.learnt:
        through = "-" if each.through is None else f"version {each.through}"
        table.add_row(each.version, _AS.get(each.split, each.split), through)
    return table


def _object_version(version_id: str) -> str:
    return "-" if version_id in ("", NO_VERSION) else version_id


def _cells(*texts: Any) -> Sequence[str]:
    return [escape(printable(str(text))) for text in texts]
