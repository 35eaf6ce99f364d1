"""Features of a network of torchvision, which learns no more.

What it shows last at strides 4, 8 and 16 describes a picture. As with ``frozen_features`` its
weights come from whoever trains, and travel in the version.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import get_model, list_models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from reconad_plugin.errors import ConfigError
from reconad_plugin.networks.frozen_features import Features

STRIDES: Final = (4, 8, 16)
_PROBE_PX: Final = 128  # side of the picture that tells where the strides are
# of the colours that torchvision's weights were trained on
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)


class TorchvisionFeatures(Features):
    """Features of a network of torchvision; its weights get no gradient.

    Args:
        name: a network as ``torchvision.models.get_model`` names it.

    Raises:
        ConfigError: there is none of this name, or it has no features at these strides.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        check_name(name)
        self.body, self.channels = _tapped(name)
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, S, S) float in [0, 1] -> features at strides 4, 8 and 16, (B, C, S/4, S/4) etc."""
        mean, deviation = (image.new_tensor(each).view(3, 1, 1) for each in (_MEAN, _DEVIATION))
        return list(self.body((image - mean) / deviation).values())


def check_name(name: str) -> None:
    """Raise a ConfigError where torchvision has no network of this name for whole pictures."""
    if name not in list_models(module=models):
        raise ConfigError(
            "features must be a file of weights, random, or a network of torchvision, such as "
            f"resnet18; got {name!r}"
        )


def _tapped(name: str) -> tuple[nn.Module, int]:
    """Cut a network where it shows the strides last; return it and the channels of all three."""
    try:
        network = get_model(name, weights=None).eval()
        names = get_graph_node_names(network, suppress_diff_warning=True)[1]
        with torch.inference_mode():
            shown = create_feature_extractor(
                network, {each: each for each in names}, suppress_diff_warning=True
            )(torch.zeros(1, 3, _PROBE_PX, _PROBE_PX))
    except Exception as error:  # networks of other kinds raise almost anything
        raise _unfit(name, type(error).__name__) from None
    sides = {
        each: value.shape[-1]
        for each, value in shown.items()
        if isinstance(value, Tensor) and value.dim() == 4 and value.shape[-1] == value.shape[-2]
    }
    last = {side: each for each, side in sides.items()}  # in the order of the network
    wanted = [_PROBE_PX // stride for stride in STRIDES]
    if not set(wanted) <= last.keys():
        raise _unfit(name, "it has others")
    taps = {last[side]: f"stride_{stride}" for side, stride in zip(wanted, STRIDES, strict=True)}
    body = create_feature_extractor(network, taps, suppress_diff_warning=True)
    return body, sum(int(shown[each].shape[1]) for each in taps)


def _unfit(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"features must be of a network with strides 4, 8 and 16; {name} is none ({reason}): "
        "name another, such as resnet18"
    )
