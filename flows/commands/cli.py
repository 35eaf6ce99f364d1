"""The ``reconad`` command. Nothing heavy is imported before it is needed."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from inspect import Parameter, Signature
from typing import Any, Final, get_type_hints

import reconad_plugin.telemetry  # noqa: F401  first: switches off reporting of what follows

# isort: split
import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from flows.commands.table import COMMANDS, Command
from flows.runtime.exit_codes import run_command
from reconad_plugin.errors import ConfigError

NAME: Final = "reconad"
DESCRIPTION: Final = "Nightly retraining and guarding of visual inspection, on MLflow and Prefect."


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run one command; its exit code."""
    return run_command(lambda: _parse(arguments)())


def _parse(arguments: Sequence[str] | None) -> Callable[[], None]:
    """Return what was asked for; nothing, where it was help that is printed already.

    Raises:
        ConfigError: the command line breaks a rule.
    """
    try:
        chosen = typer.main.get_command(build_app()).main(
            args=arguments, prog_name=NAME, standalone_mode=False
        )
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else NAME
        message = " ".join(error.format_message().split()).removesuffix(".")
        raise ConfigError(f"{message}: see {path} --help") from None
    return chosen if callable(chosen) else lambda: None


def build_app() -> typer.Typer:
    """Build typer's view of the table of commands."""
    app = typer.Typer(help=DESCRIPTION, pretty_exceptions_enable=False)
    for command in COMMANDS:
        app.command(
            command.name, cls=_ManyValues, help=command.help, rich_help_panel=command.group
        )(_chooser(command))
    return app


def _chooser(command: Command) -> Callable[..., Callable[[], None]]:
    """Make a function of a command's options, as typer reads them off a signature.

    It runs nothing, so that how a command ends is none of typer's business.
    """

    def choose(**values: Any) -> Callable[[], None]:
        return lambda: command.run(command.options(**values))

    hints = get_type_hints(command.options, include_extras=True)
    choose.__annotations__ = dict(hints)
    parameters = [
        Parameter(
            each.name, Parameter.KEYWORD_ONLY, default=_default(each), annotation=hints[each.name]
        )
        for each in fields(command.options)
    ]
    choose.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return choose


def _default(option: Field[Any]) -> Any:
    if option.default_factory is not MISSING:
        return option.default_factory()
    return Parameter.empty if option.default is MISSING else option.default


class _ManyValues(TyperCommand):
    """A command whose options of many values take them one after the other: ``--data A B C``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, as click wants it."""
        names = {
            name for each in self.params if getattr(each, "multiple", False) for name in each.opts
        }
        return super().parse_args(ctx, _repeat_options(args, names))


def _repeat_options(args: Sequence[str], names: set[str]) -> list[str]:
    """Write ``--data A B`` as ``--data A --data B``, for the options of these names.

    Example:
        >>> _repeat_options(["--data", "A", "B", "--seed", "1"], {"--data"})
        ['--data', 'A', '--data', 'B', '--seed', '1']
    """
    repeated: list[str] = []
    option = None
    for number, arg in enumerate(args):
        if arg == "--":
            return [*repeated, *args[number:]]
        is_option = len(arg) > 1 and arg.startswith("-")
        if option is not None and not is_option and repeated[-1] != option:
            repeated.append(option)
        repeated.append(arg)
        if is_option:
            option = arg if arg in names else None
    return repeated


if __name__ == "__main__":
    sys.exit(main())
