"""Commands end as the contract says: 0 done, 2 wrong input with one clear line."""

from datetime import date

import pytest

from tests.command_line import run
from tests.factory import Factory


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
    """The bucket is named."""
    text = factory.settings.read_text()
    factory.settings.write_text(text.replace('"factory"', '"absent-bucket"'))

    ended = run("nightly", factory.product, "2026-03-01")

    assert ended.returncode == 2
    assert "bucket 'absent-bucket' does not exist" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_night_and_its_status_from_the_command_line(factory: Factory) -> None:
    """One night without a deployment, and the table of versions after it."""
    factory.deliver(date(2026, 3, 1))

    night = run("nightly", factory.product, "2026-03-01")
    status = run("status", factory.product, COLUMNS="200")

    assert night.returncode == 0, night.stderr
    assert "trained, promoted 1" in night.stdout
    assert status.returncode == 0, status.stderr
    assert "champion" in status.stdout


def test_help_needs_no_platform() -> None:
    """Help answers at once, without any server or settings."""
    ended = run("--help", RECONAD_CONFIG="/nowhere")

    assert ended.returncode == 0
    assert "nightly" in ended.stdout
