"""The wheel that travels inside a model."""

import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from mlflow_models import flavor, own_wheel, requirements
from mlflow_models.own_wheel import OwnWheel


@pytest.fixture
def logged(tiny_detector, tmp_path):
    """The folder of a model without an engine."""
    flavor.save_model(tiny_detector, str(tmp_path / "model"))
    return tmp_path / "model"


def test_pip_installs_reconad_from_the_model(logged, tmp_path):
    """Without an index; the code is what runs here, with its textures and its command."""
    (wheel,) = logged.glob("wheels/*/*.whl")
    target = tmp_path / "installed"

    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--target", str(target), str(wheel)],
        check=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip

    assert (target / "mlflow_models" / "flavor.py").read_bytes() == _own_file("flavor.py")
    assert list((target / "reconad_plugin" / "simulation" / "textures").iterdir())
    assert (target / "bin" / "reconad").exists()


def test_a_model_asks_for_reconad_alone(logged):
    """By the path of the wheel, at the versions that are installed here; with PyTorch where no
    engine of any processor is in the model."""
    (wheel,) = logged.glob("wheels/*/*.whl")
    asked = (logged / "requirements.txt").read_text().splitlines()
    kept = (logged / "constraints.txt").read_text().splitlines()

    assert asked == [f"./{wheel.relative_to(logged)}[torch]", "-c constraints.txt"]
    assert f"openvino=={version('openvino')}" in kept
    assert f"torch=={version('torch').partition('+')[0]}" in kept
    assert f"starlette=={version('starlette')}" in kept  # what the packages need in their turn
    without = requirements.constraints(has_torch=False)
    assert set(without) < set(kept)
    named = {line.partition("==")[0] for line in without}
    assert not any(line.startswith(("nvidia-", "triton")) for line in kept)  # of one build of torch
    assert named.isdisjoint({"reconad", "torch", "mlflow", "prefect", "evidently", "pytest"})


def test_a_package_that_cannot_be_read_is_left_open(monkeypatch):
    """Such as what an upgrade that was cut off left behind; no training fails of it."""
    known = requirements.distribution

    def damaged(name):
        if name == "scipy":
            return SimpleNamespace(version=None, requires=None)
        if name == "pandas":
            return SimpleNamespace(version="3.0", requires=["pytz>dev"])
        return known(name)

    monkeypatch.setattr(requirements, "distribution", damaged)

    kept = requirements.constraints.__wrapped__(has_torch=False)

    assert f"pillow=={version('pillow')}" in kept
    assert not any(line.startswith("scipy") for line in kept)


def test_the_wheel_is_always_the_same():
    """So that two versions of one code share an environment, and other code has its own."""
    again = own_wheel._make(own_wheel.Path(own_wheel.__file__).parents[1])

    assert again == own_wheel.own_wheel()


def test_a_model_without_the_wheel_names_the_release(tiny_detector, tmp_path, monkeypatch):
    """Where it cannot be made, the model is logged all the same."""
    monkeypatch.setattr(requirements, "own_wheel", lambda: None)

    flavor.save_model(tiny_detector, str(tmp_path / "model"))

    asked = (tmp_path / "model" / "requirements.txt").read_text().splitlines()
    assert asked[0] == f"reconad[torch]=={version('reconad')}"


def test_what_cannot_be_made_is_said_once(monkeypatch, caplog):
    """With the reason."""

    def fail(source: object) -> OwnWheel:
        raise OSError("the disk is gone")

    monkeypatch.setattr(own_wheel, "_make", fail)
    own_wheel.own_wheel.cache_clear()
    try:
        assert own_wheel.own_wheel() is None
        assert own_wheel.own_wheel() is None
    finally:
        own_wheel.own_wheel.cache_clear()

    (line,) = [each.getMessage() for each in caplog.records if each.name == own_wheel.__name__]
    assert line.endswith("needs an index that has it: the disk is gone")


def _own_file(name):
    return (own_wheel.Path(own_wheel.__file__).parent / name).read_bytes()
