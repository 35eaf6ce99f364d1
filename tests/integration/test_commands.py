"""Commands end as the contract says: 0 done, 2 wrong input with one clear line."""

import pytest

from tests.command_line import run, run_process
from tests.factory import Factory
from tests.world import NARROW, Story


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        pytest.param(("nightly", "nobody", "2026-03-01"), {}, "got 'nobody'", id="unknown product"),
        pytest.param(("nightly", "{product}", "yesterday"), {}, "YYYY-MM-DD", id="not a night"),
        pytest.param(
            ("nightly", "{product}", "2026-03-01"),
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            "access denied",
            id="wrong credentials",
        ),
        pytest.param(
            ("status", "{product}"),
            {"RECONAD_CONFIG": "/nowhere/reconad.toml"},
            "/nowhere/reconad.toml does not exist",
            id="no settings file",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    factory: Factory, arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    """The last line says what is wrong, without a traceback."""
    filled = [argument.format(product=factory.product) for argument in arguments]

    ended = run(*filled, **environment)

    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_missing_bucket_is_one_line_and_exit_code_2(factory: Factory) -> None:
    """The bucket is named; a process of its own ends so, too, and writes no more."""
    text = factory.settings.read_text().replace(f'width = "{NARROW}"', "")
    factory.settings.write_text(text.replace('"factory"', '"absent-bucket"'))

    ended = run_process("nightly", factory.product, "2026-03-01")

    assert ended.returncode == 2
    assert "bucket 'absent-bucket' does not exist" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_status_shows_the_table_of_versions(story: Story) -> None:
    """What serves, and what became of all versions."""
    status = run("status", story.product, COLUMNS="200")

    assert status.returncode == 0, status.stderr
    assert "version 2 is the champion" in status.stdout
    assert "promoted" in status.stdout


def test_help_needs_no_platform() -> None:
    """Help answers at once, without any server or settings."""
    ended = run_process("--help", RECONAD_CONFIG="/nowhere")

    assert ended.returncode == 0
    assert "nightly" in ended.stdout
