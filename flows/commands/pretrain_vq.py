"""``reconad pretrain-vq``: what DSR stands on, from folders of pictures or S3 prefixes."""

import argparse
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from torch import Tensor

from flows.commands.by_hand import parse_budget
from flows.commands.json_file import check_writable, write_json
from flows.jobs.by_hand import name_of, say, table_of
from flows.jobs.pretraining import Pretrained, Pretraining, pretrain_and_log, pretraining_settings
from reconad_plugin.config import check_product_name
from reconad_plugin.store.mirror import load_files, open_source, sizes_in_words


def run_pretrain_vq(options: argparse.Namespace) -> None:
    """``reconad pretrain-vq``."""
    check_writable(options.json)
    training = {
        "steps": options.steps,
        "budget_s": None if options.budget is None else parse_budget(options.budget),
        "textures": options.textures,
    }
    settings = pretraining_settings(options.width, options.image_size, options.seed, training)
    name = check_product_name(options.name or name_of(options.data[0], "--name"))
    folders = {data: open_source(data) for data in options.data}
    pictures = [path for folder in folders.values() for path in folder.train]
    say(sizes_in_words(pictures, options.image_size))
    sources = {data: table_of(folder) for data, folder in folders.items()}
    table = pd.concat(sources.values(), ignore_index=True).drop_duplicates("sha256")

    def load(split: str) -> Tensor:
        paths = [Path(path) for path in table.loc[table["split"] == split, "path"]]
        return load_files(paths, settings.image_size_px, settings.limits)

    logged = {data: each[["uri", "sha256", "split"]] for data, each in sources.items()}
    _report(
        pretrain_and_log(Pretraining(name, settings, table, load, logged), options.device),
        options.json,
    )


def _report(pretrained: Pretrained, file: Path | None) -> None:
    report = pretrained.report
    training = report.training
    levels = {"coarse": report.coarse, "fine": report.fine}
    result = {
        "model_uri": pretrained.version.uri,
        "run_id": pretrained.version.run_id,
        "vq_sha256": pretrained.sha256,
        "architecture": pretrained.network.sizes,
        "parameters": sum(value.numel() for value in pretrained.network.parameters()),
        "steps": training.steps,
        "planned_steps": training.planned_steps,
        "resumed_step": training.resumed_step,
        "ended_by": training.ended_by,
        "elapsed_s": training.elapsed_s,
        **{
            f"{level}_codebook": {
                "codes": use.size,
                "used": use.used,
                "perplexity": use.perplexity,
            }
            for level, use in levels.items()
        },
        "psnr_db": report.psnr_db,
        "ssim": report.ssim,
    }
    table = Table("figure", "value", title=pretrained.version.uri)
    for level, use in levels.items():
        table.add_row(f"{level} codes in use", f"{use.used} of {use.size}")
        table.add_row(f"{level} perplexity", f"{use.perplexity:.1f}")
    table.add_row("PSNR of normal images", f"{report.psnr_db:.1f} dB")
    table.add_row("SSIM of normal images", f"{report.ssim:.3f}")
    Console().print(table)
    if training.resumed_step:
        print(f"went on from step {training.resumed_step}")
    print(f"{training.steps} steps in {training.elapsed_s:.0f} s, ended by {training.ended_by}")
    print(pretrained.version.uri)
    write_json(result, file)
