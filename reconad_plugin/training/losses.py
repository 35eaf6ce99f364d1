"""Losses that more than one model learns by."""

from functools import cache

import torch
from torch import Tensor

SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5


def focal_loss(logits: Tensor, mask: Tensor, gamma: float = 2.0) -> Tensor:
    """Compute the focal loss of two classes, without class weights: a false positive costs what a
    miss does.

    Args:
        logits: (B, 2, S, S), normal first; or (B, 2, P), of P pixels.
        mask: (B, S, S) or (B, P) bool, True is anomalous.
        gamma: how far easy pixels are discounted.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    from torchvision.ops import sigmoid_focal_loss  # takes seconds

    margin = (logits[:, 1] - logits[:, 0]).float()  # the softmax of two is the sigmoid of this
    loss: Tensor = sigmoid_focal_loss(margin, mask.float(), alpha=-1, gamma=gamma, reduction="mean")
    return loss


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Compute structural similarity at each pixel and colour, with a Gaussian window of 11 px.

    Args:
        first: (B, C, S, S) float in [0, 1].
        second: the same shape.

    Returns:
        (B, C, S, S) in [-1, 1]; 1 where the two are equal. Windows are cut at the border.

    Source: Wang et al., "Image Quality Assessment: From Error Visibility to Structural
    Similarity", IEEE Transactions on Image Processing 13, 2004, equation 13.
    """
    down, across = (_blur_matrix(side, str(first.device)) for side in first.shape[-2:])

    def smooth(image: Tensor) -> Tensor:
        return down @ image @ across.T

    first, second = first.float(), second.float()
    with torch.autocast(first.device.type, enabled=False):
        mean_1, mean_2 = smooth(first), smooth(second)
        product, squares = mean_1 * mean_2, mean_1**2 + mean_2**2
        variances = smooth(first**2 + second**2) - squares
        covariance = smooth(first * second) - product
        c1, c2 = 0.01**2, 0.03**2
        similarity = (2 * product + c1) * (2 * covariance + c2)
        return similarity / ((squares + c1) * (variances + c2))


@cache
def _blur_matrix(side_px: int, device: str) -> Tensor:
    """Gaussian blur of one axis as a (N, N) matrix; each row sums to 1."""
    with torch.inference_mode(False):  # it is kept, and may be needed for gradients later
        pixel = torch.arange(side_px, device=device)
        distance = (pixel[:, None] - pixel).abs()
        weight = torch.exp(-(distance**2) / (2 * SSIM_SIGMA_PX**2))
        weight = weight * (distance <= SSIM_WINDOW_PX // 2)
        return weight / weight.sum(1, keepdim=True)
