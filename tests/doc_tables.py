"""Tables of the code as the documentation shows them."""

import html
from dataclasses import fields
from pathlib import Path
from typing import cast

from typer.core import TyperGroup
from typer.main import get_command

from flows.commands.cli import build_app
from flows.commands.table import COMMANDS, Command
from reconad_plugin.gate.limits import GateLimits
from reconad_plugin.ledger.eligibility import TABLE, Status, Use, Which


def limits_table() -> str:
    """Return the numbers as a table in Markdown, one row each."""
    rows = ["| number | value | belongs to | why |", "|---|---|---|---|"]
    for each in fields(GateLimits):
        value, about = f"{each.default:,}", each.metadata
        rows.append(
            f"| `{each.name}` | {value} {about['unit']} | {about['rule']} | {about['why']} |"
        )
    return "\n".join(rows)


def eligibility_table() -> str:
    """Write the table as the documentation shows it."""
    head = ["status of a night", *Use]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for status in Status:
        cells = ["" if TABLE[status, use] is Which.NONE else str(TABLE[status, use]) for use in Use]
        lines.append("| " + " | ".join([f"**{status}**", *cells]) + " |")
    return "\n".join(lines)


def decisions_list(folder: Path) -> str:
    """Write the decisions of a folder as the documentation lists them, the newest first."""
    pages = sorted(folder.glob("[0-9]*.md"), reverse=True)
    titles = {page.name: page.read_text(encoding="utf-8").splitlines()[0][2:] for page in pages}
    return "\n".join(f"- [{title}]({name})" for name, title in titles.items())


def commands_page() -> str:
    """Write what each command takes as the documentation shows it, by group."""
    lines = []
    for group in dict.fromkeys(command.group for command in COMMANDS):
        lines.append(f"## {group}\n")
        for command in COMMANDS:
            if command.group == group:
                lines += [
                    f"### `reconad {command.name}`\n",
                    f"{command.help}\n",
                    *_options(command),
                ]
    return "\n".join(lines)


def _options(command: Command) -> list[str]:
    """A table of a command's arguments and options; nothing where it takes none."""
    group = cast(TyperGroup, get_command(build_app()))
    taken = [each for each in group.commands[command.name].params if each.name != "help"]
    if not taken:
        return []
    rows = ["| | | default |", "|---|---|---|"]
    for each in taken:
        is_option = each.param_type_name == "option"
        is_switch = getattr(each, "is_flag", False)
        metavar = "" if is_switch else (each.metavar or "").replace("|", " or ")
        name = f"`{each.opts[0]} {metavar}`" if is_option else f"`{metavar}`"
        is_said = each.default not in (None, False, [], ()) and not callable(each.default)
        default = f"`{each.default}`" if is_said else "needed" if each.required else ""
        said = html.escape(getattr(each, "help", None) or "", quote=False).replace("|", "\\|")
        rows.append(f"| {name.replace(' `', '`')} | {said} | {default} |")
    return [*rows, ""]
