"""Frozen features of a network of torchvision, from a file or from where torchvision keeps it."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from reconad_plugin.config.product import ProductSettings, TrainingSettings
from reconad_plugin.detector.persistence import WEIGHTS_FILE, load_detector, save_detector
from reconad_plugin.errors import ConfigError, ModelFormatError
from reconad_plugin.networks.torchvision_features import TorchvisionFeatures
from reconad_plugin.training.fit import fit_detector
from reconad_plugin.training.images import NormalImages
from reconad_plugin.training.pretrained_features import (
    find_weights,
    hash_weights_file,
    load_weights,
)

SIZE_PX = 32
NAME = "resnet18"


@pytest.fixture(scope="module")
def weights():
    """Of an untrained network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return get_model(NAME).state_dict()


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    """Their file, as torchvision writes it."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="module")
def learned(file, make_normal):
    """A detector over them."""
    normal = NormalImages(make_normal(16, 1), make_normal(9, 2), make_normal(4, 3))
    product = ProductSettings(
        model="fre", image_size_px=SIZE_PX, target_fpr=0.1, features=f"{NAME}={file}"
    )
    return fit_detector(normal, product, TrainingSettings())[0]


def test_features_are_those_of_torchvision(weights, file):
    """At strides 4, 8 and 16; against the layers of the network itself."""
    features, network = TorchvisionFeatures(NAME), get_model(NAME).eval()
    load_weights(features, f"{NAME}={file}")
    network.load_state_dict(weights)
    picture = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, deviation = (
        torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    with torch.inference_mode():
        found = features.train()(picture)
        stem = network.maxpool(
            network.relu(network.bn1(network.conv1((picture - mean) / deviation)))
        )
        four = network.layer1(stem)
        eight = network.layer2(four)
        sixteen = network.layer3(eight)

    for ours, theirs in zip(found, (four, eight, sixteen), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert features.channels == 64 + 128 + 256
    assert not any(weight.requires_grad for weight in features.parameters())


def test_a_version_keeps_its_network(learned, make_normal, plant_defect, tmp_path):
    """It needs no file of weights once it is saved, and its own weights can begin another."""
    save_detector(learned, tmp_path)
    images = make_normal(4, 5)

    again = load_detector(tmp_path)

    assert again.architecture == {"backbone": NAME}
    found, defective = (again.score(each).pred_score for each in (images, plant_defect(images)))
    np.testing.assert_allclose(found, learned.score(images).pred_score, rtol=1e-4)
    assert defective.min() > found.max()
    features = TorchvisionFeatures(NAME)
    load_weights(features, f"{NAME}={tmp_path / WEIGHTS_FILE}")
    kept = learned.engine.network.features
    assert torch.equal(features.body.conv1.weight, kept.body.conv1.weight)


def test_weights_are_found_where_torchvision_keeps_them(weights, monkeypatch, tmp_path):
    """And nothing is downloaded where they are not."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    with pytest.raises(
        ConfigError, match=r"need a file of its weights; .*resnet18-\w+\.pth is not"
    ):
        find_weights(NAME)
    kept = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    kept.parent.mkdir()
    torch.save(weights, kept)

    assert find_weights(NAME) == kept
    assert hash_weights_file(NAME) == hash_weights_file(f"{NAME}={kept}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param(
            "resnet19", "a network of torchvision, such as resnet18; got 'resnet19'", id="no"
        ),
        pytest.param("vit_b_16", "strides 4, 8 and 16; vit_b_16 is none", id="without strides"),
        pytest.param("fcn_resnet50", "such as resnet18; got 'fcn_resnet50'", id="not of pictures"),
    ],
)
def test_a_network_that_is_none_is_refused(name, said):
    """By its name, or by what it shows."""
    with pytest.raises(ConfigError, match=said):
        TorchvisionFeatures(name)


def test_weights_of_another_network_are_refused(tmp_path):
    """In one line that names both."""
    file = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.ones(2, 2)}, file)

    with pytest.raises(
        ModelFormatError, match=r"^features must be weights of resnet18; .*other"
    ) as e:
        load_weights(TorchvisionFeatures(NAME), f"{NAME}={file}")

    assert "\n" not in str(e.value)


@pytest.mark.parametrize("given", [f"{NAME}=none.pth", f"{NAME}=/nowhere/none.pth"])
def test_a_file_that_is_not_there_is_named(given):
    """With what to do."""
    with pytest.raises(ConfigError, match=r"none\.pth is not there.*: put it there, or give resn"):
        find_weights(given)
