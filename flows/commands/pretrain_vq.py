"""``reconad pretrain-vq``: what DSR stands on, from folders of pictures or S3 prefixes."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options_by_hand import PretrainOptions
from flows.commands.parse import parse_budget
from flows.jobs import by_hand
from flows.jobs.fitting import pretraining_settings
from flows.jobs.training_job import TrainingRun
from reconad_plugin.networks.base import FoundationNetwork, hash_weights
from reconad_plugin.networks.quantiser import CodebookUse
from reconad_plugin.training.report import FoundationReport


def run(options: PretrainOptions) -> None:
    """Train what dsr stands on."""
    check_writable(options.json)
    training = {
        "steps": options.steps,
        "budget_s": None if options.budget is None else parse_budget(options.budget),
        "textures": options.textures,
    }
    settings = pretraining_settings(
        options.width, options.image_size, options.seed, training, options.limits
    )
    pretrained = by_hand.pretrain(options.data, options.name, settings, options.device)
    _report(pretrained, options.json)


def _report(run: TrainingRun[FoundationNetwork, FoundationReport], file: Path | None) -> None:
    def codes_of(use: CodebookUse) -> dict[str, float]:
        return {"codes": use.size, "used": use.used, "perplexity": use.perplexity}

    report, network = run.report, run.model
    training = report.training
    result = {
        "model_uri": run.version.uri,
        "run_id": run.version.run_id,
        "vq_sha256": hash_weights(network),
        "architecture": network.sizes,
        "parameters": sum(value.numel() for value in network.parameters()),
        "steps": training.steps,
        "planned_steps": training.planned_steps,
        "resumed_step": training.resumed_step,
        "ended_by": training.ended_by,
        "elapsed_s": training.elapsed_s,
        **{f"{level}_codebook": codes_of(use) for level, use in report.codebooks.items()},
        "psnr_db": report.psnr_db,
        "ssim": report.ssim,
    }
    table = Table("figure", "value", title=run.version.uri)
    for level, use in report.codebooks.items():
        table.add_row(f"{level} codes in use", f"{use.used} of {use.size}")
        table.add_row(f"{level} perplexity", f"{use.perplexity:.1f}")
    table.add_row("PSNR of normal images", f"{report.psnr_db:.1f} dB")
    table.add_row("SSIM of normal images", f"{report.ssim:.3f}")
    Console().print(table)
    if training.resumed_step:
        print(f"went on from step {training.resumed_step}")
    print(f"{training.steps} steps in {training.elapsed_s:.0f} s, ended by {training.ended_by}")
    print(run.version.uri)
    write_json(result, file)
