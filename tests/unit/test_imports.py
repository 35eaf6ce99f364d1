"""What is imported when: looking at settings or at the help must not cost seconds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = {"flows": "prefect", "mlflow_models": "mlflow", "monitoring": "evidently"}
HEAVY = ("torch", "mlflow", "evidently", "prefect")


def test_light_modules_import_nothing_heavy():
    """Settings, the registry of models, presets of simulation and the command line import none of
    torch, MLflow, Evidently and Prefect before they are needed."""
    code = (
        "import sys\n"
        "import flows.commands.cli, reconad_plugin.config.settings\n"
        "import reconad_plugin.networks.registry, reconad_plugin.simulation.presets\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert answer.stdout.strip() == "[]"


def test_help_imports_nothing_heavy():
    """The command line's help is there at once."""
    code = (
        "import sys\nfrom flows.commands.cli import main\n"
        "try:\n    main(['--help'])\n"
        f"finally:\n    print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert "nightly" in answer.stdout
    assert answer.stdout.strip().endswith("[]")


def test_serving_imports_nothing_that_trains():
    """A server that builds, loads and scores with every model has no part of the training."""
    code = (
        "import sys\n"
        "from reconad_plugin.detector import detector, persistence, prediction\n"
        "from reconad_plugin.images.size import ImageSize\n"
        "from reconad_plugin.networks.registry import MODELS\n"
        "for spec in MODELS.values():\n"
        "    spec.build_network(ImageSize.square(32), **spec.architecture(None, {}))\n"
        "print([name for name in sys.modules if name.startswith(('reconad_plugin.training',"
        " 'reconad_plugin.simulation', 'torchvision'))])"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert answer.stdout.strip() == "[]"


def test_the_core_works_without_boto3():
    """From a notebook with torch alone: every module but the one for S3 is imported, and an image
    is scored."""
    modules = [
        ".".join(file.relative_to(CHECKOUT).with_suffix("").parts)
        for file in sorted((CHECKOUT / "reconad_plugin").rglob("*.py"))
        if file.name != "__init__.py"
    ]
    modules.remove("reconad_plugin.store.s3")
    code = (
        "import importlib, sys\n"
        "sys.modules |= {'boto3': None, 'botocore': None}\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        "import torch\n"
        "from reconad_plugin.detector.torch_engine import score_images\n"
        "from reconad_plugin.images.size import ImageSize\n"
        "from reconad_plugin.networks.autoencoder import build_autoencoder\n"
        "network = build_autoencoder(ImageSize.square(32), width=4, latent_dim=8).eval()\n"
        "images = torch.zeros((1, 3, 32, 32), dtype=torch.uint8)\n"
        "print(score_images(network, images, 1).pred_score.shape)"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, text=True
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == "(1,)"


def test_the_watch_imports_no_torch():
    """It decides on numbers of nights; whoever looks at them waits for no network."""
    names = [file.stem for file in (CHECKOUT / "reconad_plugin" / "watch").glob("*.py")]
    modules = [f"reconad_plugin.watch.{name}" for name in names if name != "__init__"]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize(
    "room", [pytest.param(name, id=name) for name in (*ROOMS, "reconad_plugin")]
)
def test_a_room_names_no_other_platform(room):
    """A platform is imported in its own room alone, for types too."""
    foreign = {platform for home, platform in ROOMS.items() if home != room}

    found = [
        f"{file.relative_to(CHECKOUT)}:{node.lineno}"
        for file in (CHECKOUT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in _imported(node)
        if name.split(".")[0] in foreign
    ]

    assert found == []


def _imported(node):
    """Modules that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [each.name for each in node.names] if isinstance(node, ast.Import) else []


def test_a_night_imports_no_torchvision():
    """It takes seconds and few models need it: one module imports it outright, and nothing imports
    that one before it is needed."""
    found = [
        f"{file.relative_to(CHECKOUT)}: {name}"
        for room in (*ROOMS, "reconad_plugin")
        for file in (CHECKOUT / room).rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        for name in _imported(node)
        if "torchvision" in name
    ]

    of_one = "reconad_plugin/networks/torchvision_features.py: torchvision"
    assert found
    assert [each for each in found if not each.startswith(of_one)] == []
