"""``reconad advise``."""

from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.json_file import check_writable, write_json
from flows.commands.options_by_hand import AdviseOptions
from flows.commands.parse import parse_budget
from flows.jobs.advising import facts_of_folder
from flows.jobs.training_job import checked
from reconad_plugin.advice.facts import Facts
from reconad_plugin.advice.machine import best_device
from reconad_plugin.advice.rules import Advice, advise, lines_of
from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.store.mirror import open_source


def run(options: AdviseOptions) -> None:
    """Say which model, image size and minutes fit a folder, and why."""
    check_writable(options.json)
    budget_s = None if options.budget is None else parse_budget(options.budget)
    asked = {"position_pattern": options.position_pattern, **options.limits}
    train = checked(TrainingSettings, {"budget_s": budget_s})
    settings = checked(ProductSettings, {**asked, "train": train})
    folder = open_source(options.data)
    facts = facts_of_folder(folder, settings, options.smallest_defect, best_device())
    advice = advise(facts)
    write_json({**asdict(advice), "facts": asdict(facts)}, options.json)
    _print(facts, advice)


def _print(facts: Facts, advice: Advice) -> None:
    pictures, machine, console = facts.pictures, facts.machine, Console()
    alike = "" if pictures.alike is None else f", {pictures.alike:.0%} alike place by place"
    gpu = "a GPU with " if machine.has_cuda else ""
    console.print(
        f"{pictures.images} normal images of {pictures.width_px} x {pictures.height_px}, grain "
        f"{pictures.grain:.2f}{alike}; {machine.cores} core{'s' * (machine.cores > 1)}, {gpu}"
        f"{machine.memory_bytes / 1e9:.0f} GB",
        highlight=False,
    )
    table = Table("what", "advice", "why")
    for name, value, reason in lines_of(advice):
        table.add_row(name, value, escape(reason))
    console.print(table)
    for remark in advice.remarks:
        console.print(f"- {remark}", highlight=False, markup=False)
