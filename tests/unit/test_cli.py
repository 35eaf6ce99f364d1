"""The command line: what is parsed, what is refused, and what is asked of each command."""

import os
from importlib import import_module
from pathlib import Path

import pytest

from flows.commands import table
from flows.commands.cli import main
from flows.commands.options import ReviewOptions
from flows.commands.options_by_hand import PredictOptions, PretrainOptions, TrainOptions
from flows.commands.table import COMMANDS, Command


@pytest.fixture
def asked(monkeypatch):
    """What commands were asked to run with; they do nothing else."""
    options = []
    monkeypatch.setattr(Command, "run", property(lambda self: options.append))
    return options


@pytest.mark.parametrize("command", [pytest.param(each, id=each.name) for each in COMMANDS])
def test_every_command_has_a_module_that_runs(command):
    """The table names modules that are there."""
    assert callable(import_module(f"flows.commands.{command.name.replace('-', '_')}").run)


@pytest.mark.parametrize("command", [pytest.param(each, id=each.name) for each in COMMANDS])
def test_every_command_has_help(command, capsys):
    """Help is printed, and nothing runs."""
    assert main([command.name, "--help"]) == 0
    assert command.help.split()[0] in capsys.readouterr().out


def test_help_has_a_panel_for_each_group(capsys):
    """Commands stand under what they are for."""
    assert main(["--help"]) == 0

    shown = capsys.readouterr().out
    groups = [
        table.SETTING_UP,
        table.NIGHTLY,
        table.BY_HAND,
        table.PEOPLE,
        table.PLATFORM,
        table.BENCHMARKS,
    ]
    assert [shown.find(f"─ {group} ─") > 0 for group in groups] == [True] * len(groups)


def test_defaults_are_those_of_the_options(asked):
    """What is not typed is as it was."""
    assert main(["train", "--data", "parts"]) == 0

    assert asked == [TrainOptions(data="parts")]
    assert (asked[0].model, asked[0].image_size, asked[0].geometry) == ("draem", None, "auto")


def test_what_is_typed_arrives(asked):
    """Numbers, paths, switches and repeated options."""
    line = "train --data parts --steps 5 --learning-rate 1e-3 --vary-light --json a.json"
    line += " --option sspcab=true --option x=1"

    assert main(line.split()) == 0

    assert asked == [
        TrainOptions(
            data="parts",
            steps=5,
            learning_rate=1e-3,
            vary_light=True,
            json=Path("a.json"),
            option=["sspcab=true", "x=1"],
        )
    ]


def test_what_may_not_be_read_is_left_to_the_command(asked, tmp_path, monkeypatch):
    """A picture has a row of its own, and a folder that is written to need not be read."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert main(["predict", "m", str(tmp_path), "--maps", str(tmp_path)]) == 0

    assert asked == [PredictOptions(model_uri="m", images=[tmp_path], maps=tmp_path)]


def test_an_option_of_many_takes_them_all(asked):
    """Values stand one after the other, or each behind its option."""
    assert main(["pretrain-vq", "--data", "a", "b", "--steps", "3", "--data", "c"]) == 0
    assert main(["review", "bolts", "2024-05-01", "--normal", "k1", "k2"]) == 0

    assert asked == [
        PretrainOptions(data=["a", "b", "c"], steps=3),
        ReviewOptions(product="bolts", night="2024-05-01", normal=["k1", "k2"]),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("", "Missing command: see reconad --help", id="no command"),
        pytest.param("fly", "No such command 'fly': see reconad --help", id="unknown command"),
        pytest.param("train", "Missing option '--data': see reconad train --help", id="missing"),
        pytest.param("train --data", "Option '--data' requires an argument", id="no value"),
        pytest.param("train --data x --foo", "No such option: --foo", id="unknown option"),
        pytest.param("train --data x y", "Got unexpected extra argument", id="one too many"),
        pytest.param(
            "train --data x --steps a", "'--steps': it must be a whole number; got 'a'", id="number"
        ),
        pytest.param(
            "simulate --data x --out y --seed -1", "'--seed': it must be from 0", id="seed"
        ),
        pytest.param(
            f"finetune m --data x --seed {2**63}",
            "2^63 - 1; got 9223372036854775808",
            id="long seed",
        ),
        pytest.param("predict m x --max-image-pixels 0", "at least 1; got 0", id="no pixels"),
        pytest.param(
            "evaluate m --data x --max-image-pixels -5", "at least 1; got -5", id="fewer pixels"
        ),
        pytest.param("review p 2024-05-01 --normal k --defect l", "one decision", id="two at once"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(line, said, capsys):
    """It says what is wrong and where help is."""
    assert main(line.split()) == 2

    error = capsys.readouterr().err
    assert error.startswith("reconad: ")
    assert said in error
    assert error.count("\n") == 1
    assert error.rstrip().endswith("--help")


def test_completion_knows_the_commands(monkeypatch, capsys):
    """A shell that asks is told, without a command being run."""
    monkeypatch.setenv("_RECONAD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "reconad pre")
    monkeypatch.setenv("COMP_CWORD", "1")

    with pytest.raises(SystemExit):
        main([])

    assert capsys.readouterr().out.split() == ["predict", "pretrain-vq"]
