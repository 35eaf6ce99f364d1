"""Settings: every rule, said at once and in one line."""

import math
from pathlib import Path

import numpy as np
import pytest

from reconad_plugin.config.product import ProductSettings
from reconad_plugin.config.settings import load_settings
from reconad_plugin.errors import ConfigError
from reconad_plugin.images.features import describe_image
from reconad_plugin.simulation.presets import DEFAULT_PRESET
from tests.unit.conftest import MINIMAL_SETTINGS as MINIMAL


def test_smallest_file_has_defaults(write_settings):
    """A bucket and the name of a product are enough."""
    settings = load_settings(write_settings(MINIMAL))

    product = settings.product("bolt")
    assert settings.storage.bucket == "parts"
    assert product == ProductSettings()
    assert (product.model, product.image_size_px) == ("ae", 128)
    assert (product.width, product.options) == (None, {})
    assert (product.train.steps, product.train.budget_s) == (None, None)
    assert (product.finetune.steps, product.finetune.budget_s) == (300, 300)
    assert (product.train.preset, product.train.textures) == (DEFAULT_PRESET, None)
    assert product.train.early_stopping


def test_every_setting_can_be_set(write_settings):
    """What stands in the file is what is in force."""
    settings = load_settings(
        write_settings(
            """
[storage]
bucket = "parts"
endpoint_url = "http://localhost:8333"
region = "eu-central-1"
cache_dir = "/var/cache/reconad"
[monitoring]
workspace = "http://localhost:8000"
report = "lean"
[products.bolt_m8]
model = "draem"
width = "small"
options = { sspcab = true }
image_size_px = 256
first_training_nights = 5
retrain_every_nights = 30
golden_floor = 0.95
min_training_images = 50
target_fpr = 0.01
false_alarms_per_year = 0.5
position_pattern = "_(left|right)_"
regions = [
  { x = 0.1, y = 0, width = 0.5, height = 1 },
  { x = 0, y = 0.25, width = 1, height = 0.5, position = "left" },
]
max_image_pixels = 1_000_000
min_image_side_px = 64
seed = 7
[products.bolt_m8.train]
steps = 1000
budget_s = 1800
learning_rate = 2e-3
batch_size = 8
light_augmentation = true
geometric_augmentation = "mirror"
preset = "metal"
textures = "rust"
early_stopping = false
[products.bolt_m8.finetune]
steps = 100
"""
        )
    )

    product = settings.product("bolt_m8")
    assert settings.storage.endpoint_url == "http://localhost:8333"
    assert settings.storage.cache_dir == Path("/var/cache/reconad")
    assert settings.monitoring.workspace == "http://localhost:8000"
    assert settings.monitoring.report == "lean"
    assert (product.train.steps, product.train.learning_rate) == (1000, 2e-3)
    assert product.train.light_augmentation
    assert (product.train.geometric_augmentation, product.train.preset) == ("mirror", "metal")
    assert (product.train.textures, product.train.early_stopping) == ("rust", False)
    assert (product.model, product.width, product.options) == ("draem", "small", {"sspcab": True})
    assert product.architecture == {
        "reconstructor_width": 64,
        "segmenter_width": 32,
        "sspcab": True,
    }
    assert product.finetune.steps == 100
    assert product.finetune.budget_s == ProductSettings().finetune.budget_s
    assert (product.limits.max_pixels, product.limits.min_side_px) == (1_000_000, 64)
    assert (product.false_alarms_per_year, product.seed) == (0.5, 7)
    assert product.position_pattern == "_(left|right)_"
    assert [each.position for each in product.regions] == ["", "left"]
    assert (product.regions[0].x, product.regions[1].height) == (0.1, 0.5)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param('model = "gpt"', r"model: .*must be one of .*ae.*; got 'gpt'", id="model"),
        pytest.param(
            'image_size_px = "200x512"',
            "image_size_px: .*multiples of 16 from 32 on .*; got 200x512",
            id="image size that is no multiple",
        ),
        pytest.param('image_size_px = "16x512"', "got 16x512", id="image size too low"),
        pytest.param('image_size_px = "2048x1024"', "got 2048x1024", id="too many pixels"),
        pytest.param("image_size_px = true", "image_size_px: .*got True", id="no image size"),
        pytest.param("image_size_px = 16", "image_size_px: .*got 16", id="image size too small"),
        pytest.param(
            "image_size_px = 2048", "image_size_px: .*got 2048", id="image size too large"
        ),
        pytest.param("image_size_px = -64", "image_size_px: .*got -64", id="negative image size"),
        pytest.param(
            "first_training_nights = 0",
            "first_training_nights: .*greater than or equal to 1",
            id="no first night",
        ),
        pytest.param(
            "retrain_every_nights = -1",
            "retrain_every_nights: .*greater than or equal to 0",
            id="negative interval",
        ),
        pytest.param("golden_floor = 1", "golden_floor: .*less than 1", id="floor of all"),
        pytest.param(
            "golden_floor = 0.5", "golden_floor: .*greater than 0.5", id="floor of a coin"
        ),
        pytest.param('golden_floor = "high"', "golden_floor: .*valid number", id="floor in words"),
        pytest.param(
            "min_training_images = 1",
            "min_training_images: .*greater than or equal to 2",
            id="a single training image",
        ),
        pytest.param("target_fpr = 0", "target_fpr: .*greater than 0", id="rate of zero"),
        pytest.param("target_fpr = 1", "target_fpr: .*less than 1", id="rate of one"),
        pytest.param("target_fpr = nan", "target_fpr: ", id="rate that is no number"),
        pytest.param('target_fpr = "few"', "target_fpr: .*valid number", id="rate in words"),
        pytest.param(
            "false_alarms_per_year = 0",
            "false_alarms_per_year: .*greater than 0",
            id="no false alarm ever",
        ),
        pytest.param("max_image_pixels = 0", "max_image_pixels: .*equal to 1", id="no pixels"),
        pytest.param("min_image_side_px = 0", "min_image_side_px: .*equal to", id="no side"),
        pytest.param("seed = 1.5", "seed: .*valid integer", id="seed that is no integer"),
        pytest.param("train.steps = 0", "train.steps: .*equal to 1", id="no steps"),
        pytest.param("train.budget_s = 0", "train.budget_s: .*greater than 0", id="no budget"),
        pytest.param("train.budget_s = -5", "train.budget_s: .*greater than 0", id="debts"),
        pytest.param("train.learning_rate = 0", "learning_rate: .*greater than 0", id="no rate"),
        pytest.param("train.batch_size = 1", "batch_size: .*equal to 2", id="batch of one"),
        pytest.param("train.batch_size = 4097", "batch_size: .*equal to 4096", id="huge batch"),
        pytest.param("finetune.steps = 0", "finetune.steps: .*equal to 1", id="no fine-tuning"),
        pytest.param(
            'train.preset = "wood"',
            "preset: preset must be one of general, electronics, .*; got 'wood'",
            id="preset",
        ),
        pytest.param(
            'train.geometric_augmentation = "flip"',
            "geometric_augmentation: .*'auto', 'none', 'mirror' or 'rotate'",
            id="geometry",
        ),
        pytest.param(
            'width = "huge"', "width of ae must be one of small, large; got 'huge'", id="width"
        ),
        pytest.param(
            'model = "ganomaly"\nwidth = "small"',
            "width of ganomaly must be one of paper; got 'small'",
            id="width of another model",
        ),
        pytest.param(
            "options = { sspcab = true }",
            "options of ae are light, colours, denoising, sparsity; got 'sspcab'",
            id="option of another model",
        ),
        pytest.param(
            'model = "vae"\noptions = { denoising = 0.1 }',
            "options of vae are light, colours; got 'denoising'",
            id="option of a model without any",
        ),
        pytest.param(
            'options = { light = "bright" }',
            "option light must be one of none, standard, balanced, local; got 'bright'",
            id="light that is no choice",
        ),
        pytest.param(
            "options = { denoising = -0.1 }",
            "option denoising must be a number of at least 0; got -0.1",
            id="negative noise",
        ),
        pytest.param(
            "options = { denoising = nan }",
            "option denoising must be a number of at least 0; got nan",
            id="noise that is no number",
        ),
        pytest.param(
            "options = { sparsity = inf }",
            "option sparsity must be a number of at least 0; got inf",
            id="endless weight",
        ),
        pytest.param(
            "options = { denoising = true }",
            "option denoising must be a number of at least 0; got True",
            id="truth where a number stands",
        ),
        pytest.param(
            'model = "draem"\noptions = { sspcab = 1 }',
            "option sspcab must be true or false; got 1",
            id="number where truth stands",
        ),
        pytest.param(
            "regions = [{ x = 120, y = 40, width = 30, height = 20 }]",
            "regions.0: a box must lie within the picture, in shares of its width and height",
            id="region in pixels",
        ),
        pytest.param(
            "regions = [{ x = 0, y = 0, width = 1, height = 1, place = 'left' }]",
            "regions.0.place: Unexpected keyword argument",
            id="region with a misspelt position",
        ),
        pytest.param(
            'calibrate_by = "light"',
            "calibrate_by is no setting any more, since contexts have thresholds; got 'light': "
            r"leave it out, .* position_pattern = .* and contexts = true",
            id="thresholds by light",
        ),
        pytest.param("imagesize = 64", "imagesize: Extra inputs are not permitted", id="misspelt"),
        pytest.param(
            "train.step = 64", "train.step: Extra inputs are not permitted", id="misspelt deeper"
        ),
    ],
)
def test_breach_of_a_products_rule_is_named(write_settings, line, said):
    """A product's setting that breaks its rule is named with its place and its rule."""
    with pytest.raises(ConfigError, match=rf"breaks 1 rule\(s\): products.bolt.*{said}"):
        load_settings(write_settings(MINIMAL + line))


def test_a_setting_that_asks_for_what_is_always_so_is_taken(write_settings):
    """Thresholds by light were never asked for by ``none``, which many a file may say."""
    with_it, without = (
        load_settings(write_settings(MINIMAL + line)) for line in ('calibrate_by = "none"', "")
    )

    assert with_it == without


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("train.budget_s = inf", id="budget"),
        pytest.param("train.learning_rate = inf", id="learning rate"),
        pytest.param("false_alarms_per_year = inf", id="false alarms"),
    ],
)
def test_infinity_is_refused(write_settings, line):
    """A figure without end, which TOML can write, would fail or silence something later."""
    with pytest.raises(ConfigError, match=rf"products.bolt.*{line.split(' ')[0].split('.')[-1]}"):
        load_settings(write_settings(MINIMAL + line))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[products.bolt]", "storage: Field required", id="no storage"),
        pytest.param('[storage]\nbucket = "parts"', "products: Field required", id="no products"),
        pytest.param("[storage]\n[products.bolt]", "storage.bucket: Field req", id="no bucket"),
        pytest.param(
            '[storage]\nbucket = "ab"\n[products.bolt]',
            "storage.bucket: .*should match pattern",
            id="bucket name too short",
        ),
        pytest.param(
            '[storage]\nbucket = "Parts Here"\n[products.bolt]',
            "storage.bucket: .*should match pattern",
            id="bucket name with capitals",
        ),
        pytest.param(
            '[storage]\nbucket = "parts"\nendpoint_url = "localhost:8333"\n[products.bolt]',
            "storage.endpoint_url: .*should match pattern",
            id="address without http",
        ),
        pytest.param(
            '[storage]\nbucket = "parts"\nsecret_key = "x"\n[products.bolt]',
            "storage.secret_key: Extra inputs are not permitted",
            id="credentials do not stand here",
        ),
        pytest.param(
            '[storage]\nbucket = "parts"\n[products."Big Bolt"]',
            "products.Big Bolt.*should match pattern",
            id="product name with capitals and a space",
        ),
        pytest.param(
            '[storage]\nbucket = "parts"\n[products._reconad]',
            "products._reconad.*should match pattern",
            id="product name that begins with an underscore",
        ),
        pytest.param(
            MINIMAL + "[mlflow]\nuri = 'x'",
            "mlflow: Extra inputs are not permitted",
            id="unknown section",
        ),
        pytest.param(
            MINIMAL + "[monitoring]\nport = 80",
            "monitoring.port: Extra inputs are not permitted",
            id="unknown key",
        ),
    ],
)
def test_breach_elsewhere_is_named(write_settings, text, said):
    """Every other part of the file has its rules as well."""
    with pytest.raises(ConfigError, match=rf"breaks 1 rule\(s\): {said}"):
        load_settings(write_settings(text))


def test_all_breaches_are_named_at_once(write_settings):
    """Two mistakes are two sentences of one message of one line."""
    with pytest.raises(ConfigError, match=r"breaks 2 rule\(s\): .*seed.*; .*nonsense") as raised:
        load_settings(write_settings(MINIMAL + 'seed = "x"\nnonsense = 1'))

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        pytest.param(MINIMAL + "[products.nut]", "bolt, nut", id="others are known"),
        pytest.param('products = {}\n[storage]\nbucket = "parts"', "none", id="none is known"),
    ],
)
def test_unknown_product_says_which_are_known(write_settings, text, known):
    """A product that does not stand in the file is an error with the known ones and the fix."""
    settings = load_settings(write_settings(text))

    with pytest.raises(
        ConfigError, match=rf"got 'screw', known: {known}: add a section \[products.screw\]"
    ):
        settings.product("screw")


def test_report_is_full_or_lean(write_settings):
    """Full where nothing is said; anything else is refused with what there is."""
    assert load_settings(write_settings(MINIMAL)).monitoring.report == "full"

    with pytest.raises(ConfigError, match=r"monitoring\.report: Input should be 'full' or 'lean'"):
        load_settings(write_settings(MINIMAL + '[monitoring]\nreport = "short"'))


def test_settings_do_not_change(write_settings):
    """Nobody changes settings once they are read."""
    product = load_settings(write_settings(MINIMAL)).product("bolt")

    with pytest.raises(ValueError, match="frozen"):
        product.seed = 3


def test_smallest_side_that_is_allowed_can_be_described(write_settings):
    """The smallest picture that the settings can allow still has a finite number for all."""
    allowed = [
        side
        for side in range(1, 6)
        if accepts(write_settings, MINIMAL + f"min_image_side_px = {side}")
    ]

    found = describe_image(np.full((allowed[0], 32, 3), 100, dtype=np.uint8))

    assert all(math.isfinite(value) for value in found.values())


def accepts(write_settings, text):
    """Whether a settings file breaks no rule."""
    try:
        load_settings(write_settings(text))
    except ConfigError:
        return False
    return True
