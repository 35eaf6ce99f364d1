"""``reconad export``."""

from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options_by_hand import ExportOptions
from flows.jobs.exporting import Export, ExportJob, export


def run(options: ExportOptions) -> None:
    """Export a version to engines."""
    check_writable(options.json)
    job = ExportJob(options.model_uri, options.engine, options.data, options.out, options.register)
    exported = export(job)
    content = {
        "exported_from": options.model_uri,
        "model_uri": exported.model_uri,
        "out": None if options.out is None else str(options.out),
        "anomalies": exported.anomalies,
        "engines": [asdict(each) for each in exported.figures],
    }
    try:
        write_json(content, options.json)
    finally:
        _show(exported)
        if options.out is not None:
            print(options.out)
        if exported.model_uri is not None:
            print(exported.model_uri)


def _show(exported: Export) -> None:
    first = exported.figures[0]
    title = f"{first.normal} normal images, {first.anomalous} {exported.anomalies} anomalies"
    table = Table("engine", "image_AUROC", "p-values move by", "labels", "CPU ms", title=title)
    table.add_row("torch", f"{first.auroc:.4f}", "", "", f"{1000 * first.cpu_seconds:.1f}")
    for each in exported.figures:
        table.add_row(
            each.engine,
            f"{each.engine_auroc:.4f}",
            f"{each.p_value_move:.3f} of {each.most_p_value_move:.3f}",
            f"{each.labels_changed} changed",
            f"{1000 * each.engine_cpu_seconds:.1f}",
        )
    Console().print(table)
