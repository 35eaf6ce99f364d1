"""Which sizes and options a product's model has."""

import pytest

from reconad_plugin.config.product import ProductSettings
from reconad_plugin.networks.registry import MODELS


def test_whole_numbers_are_numbers():
    """An option of 0 or 1 is a number, not a truth value."""
    options = ProductSettings(options={"denoising": 0, "sparsity": 1}).options

    assert options == {"denoising": 0.0, "sparsity": 1.0}
    assert not any(isinstance(value, bool) for value in options.values())


@pytest.mark.parametrize(
    ("model", "width"),
    [
        pytest.param(model, width, id=f"{model} {width}")
        for model, spec in MODELS.items()
        for width in spec.widths
    ],
)
def test_every_width_of_every_model_can_be_chosen(model, width):
    """A width gives the arguments of its network, and the first is the default."""
    chosen = ProductSettings(model=model, width=width)

    spec = MODELS[model]
    assert chosen.architecture == {**spec.widths[width], **spec.usual_options}
    if width == next(iter(MODELS[model].widths)):
        assert ProductSettings(model=model).architecture == chosen.architecture


def test_options_of_the_recipe_do_not_change_the_network():
    """Noise while learning is no part of what is saved."""
    noisy = ProductSettings(options={"denoising": 0.1})

    assert noisy.architecture == ProductSettings().architecture


@pytest.mark.parametrize(
    ("others", "said"),
    [
        pytest.param({"model": "texture"}, "texture is of whole pictures", id="texture"),
        pytest.param({"witness": "texture"}, "texture is of whole pictures", id="as a witness"),
        pytest.param({"windows": True}, "regions are of pictures that are seen", id="windows"),
    ],
)
def test_boxes_that_cannot_be_looked_at_are_refused_at_once(others, said):
    """And not after the nights that gather images for a first training."""
    box = {"x": 0.1, "y": 0.1, "width": 0.5, "height": 0.5}

    with pytest.raises(ValueError, match=said):
        ProductSettings(regions=[box], **others)
    assert ProductSettings(model="fre", regions=[box]).regions
