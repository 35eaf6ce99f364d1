"""Small worlds that the unit tests share: 32-pixel pictures and a network of a few weights."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import Generator, Tensor

from reconad_plugin.detector.calibration import calibrate
from reconad_plugin.detector.detector import Detector
from reconad_plugin.detector.torch_engine import TorchEngine, score_images
from reconad_plugin.images.light import fit_light
from reconad_plugin.images.limits import ImageLimits
from reconad_plugin.images.size import ImageSize
from reconad_plugin.networks.autoencoder import build_autoencoder
from reconad_plugin.networks.registry import MODELS
from reconad_plugin.training import loop
from tests.environment import DEVICE

SIZE_PX = 32
TINY_WIDTHS = {
    "ae": {"width": 8, "latent_dim": 16},
    "vae": {"width": 8, "latent_dim": 16},
    "ganomaly": {"width": 8, "latent_dim": 16},
    "draem": {"reconstructor_width": 8, "segmenter_width": 8},
    "dsr": {
        "vq_width": 16,
        "code_dim": 8,
        "codes": 64,
        "restriction_width": 8,
        "unet_width": 8,
    },
}

MINIMAL_SETTINGS = """
[storage]
bucket = "parts"
[products.bolt]
"""

# Models that learn by descent; what the others keep besides is in test_fre.py.
DESCENDING = [name for name, spec in MODELS.items() if not spec.pretrained]

# Derandomised, so that a red run is red again; no database, so that nothing is left on disk.
settings.register_profile("unit", derandomize=True, deadline=None, database=None)
settings.load_profile("unit")


@pytest.fixture(scope="session", autouse=DEVICE != "cpu")
def repeatable() -> None:
    """On a GPU: what is asked for twice is computed alike, and float32 is all of float32."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


@pytest.fixture(scope="module")
def tiny_models() -> Iterator[None]:
    """Every model of the registry with so few weights that a step takes milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        for name, sizes in TINY_WIDTHS.items():
            patch.setitem(MODELS, name, replace(MODELS[name], widths={"tiny": sizes}))
        yield


@pytest.fixture(scope="module", params=[pytest.param(name, id=name) for name in MODELS])
def model(request: pytest.FixtureRequest) -> str:
    """Each model's name in turn."""
    return request.param


@pytest.fixture(scope="module")
def few_validations() -> Iterator[None]:
    """Two validations a training; the loop has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "VALIDATIONS", 2)
        yield


@pytest.fixture(scope="session")
def make_normal() -> Callable[[int, int], Tensor]:
    """Normal pictures of a part: a ramp of grey, a wave of random phase, a little noise."""

    def make(count: int, seed: int) -> Tensor:
        generator = Generator().manual_seed(seed)
        ramp = torch.linspace(0.3, 0.6, SIZE_PX).view(1, 1, 1, SIZE_PX)
        phase = torch.rand(count, 1, 1, 1, generator=generator)
        row = torch.arange(SIZE_PX).view(1, 1, SIZE_PX, 1)
        wave = 0.1 * torch.sin(2 * torch.pi * row / 16 + phase)
        noise = 0.01 * torch.randn(count, 3, SIZE_PX, SIZE_PX, generator=generator)
        return ((ramp + wave + noise).clamp(0, 1) * 255).round().byte()

    return make


@pytest.fixture(scope="session")
def plant_defect() -> Callable[[Tensor], Tensor]:
    """A copy of the pictures, each with a bright square of 8 x 8 pixels."""

    def plant(images: Tensor) -> Tensor:
        defective = images.clone()
        defective[..., 10:18, 10:18] = 230
        return defective

    return plant


@pytest.fixture(params=[pytest.param((0.6, 0.0), id="dim"), pytest.param((0.8, 0.15), id="hazy")])
def other_light(request: pytest.FixtureRequest) -> Callable[[Tensor], Tensor]:
    """The same pictures when they are darker or of less contrast."""
    gain, offset = request.param
    return lambda image: gain * image + offset


@pytest.fixture
def tiny_detector(make_normal: Callable[[int, int], Tensor]) -> Detector:
    """A detector with few and untrained weights, calibrated on nine normal pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_autoencoder(ImageSize.square(SIZE_PX), width=4, latent_dim=8).eval()
    network = network.to(memory_format=torch.channels_last)  # as trained and loaded ones
    normal = make_normal(9, 1)
    light = fit_light(normal)
    return Detector(
        model="ae",
        architecture={"width": 4, "latent_dim": 8},
        image_size_px=ImageSize.square(SIZE_PX),
        engine=TorchEngine(network, window_px=1),
        light=light,
        calibration=calibrate(score_images(network, normal, 1).pred_score, 0.1),
        matched_calibration=calibrate(score_images(network, normal, 1, light).pred_score, 0.1),
        limits=ImageLimits(),
    )


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """A PIL image or an array as the bytes of a picture file."""

    def to_bytes(image: Image.Image | np.ndarray, file_format: str, **options: object) -> bytes:
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        buffer = io.BytesIO()
        picture.save(buffer, file_format, **options)
        return buffer.getvalue()

    return to_bytes


@pytest.fixture(scope="session")
def speckle() -> np.ndarray:
    """(20, 32, 3) uint8 of random colours: every pixel is told from every other."""
    return np.random.default_rng(7).integers(0, 256, (20, 32, 3), dtype=np.uint8)


@pytest.fixture
def write_settings(tmp_path):
    """Writes a settings file and gives its path."""

    def to_file(text):
        path = tmp_path / "reconad.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file
