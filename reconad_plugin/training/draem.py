"""How DRAEM learns: undo simulated anomalies, and mark them."""

from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reconad_plugin.images.light import standard_light
from reconad_plugin.networks.draem import Draem
from reconad_plugin.networks.sspcab import LOSS_WEIGHT
from reconad_plugin.simulation.anomalies import simulate_anomalies
from reconad_plugin.training.losses import focal_loss, ssim_map
from reconad_plugin.training.recipe import Recipe

ANOMALOUS_SHARE: Final = 0.5  # of a batch; the rest stays clean


class DraemRecipe(Recipe):
    """Squared error, structural similarity and focal loss, all of weight 1.

    Source: Zavrtanik, Kristan and Skocaj, "DRAEM", ICCV 2021, equations 1 to 4.
    """

    learning_rate = 1e-3
    batch_size = 8

    def losses(self, image: Tensor, generator: Generator) -> dict[str, Tensor]:
        """See ``Recipe`` and ``losses_on``."""
        anomalous = max(1, round(ANOMALOUS_SHARE * len(image)))
        with torch.autocast(image.device.type, enabled=False):  # pixels need their 8 bits
            how = self.simulation
            simulated = simulate_anomalies(
                image[:anomalous], generator, how.preset, how.textures, how.inside
            )
        mask = image.new_zeros(len(image), *image.shape[2:], dtype=torch.bool)
        mask[:anomalous] = simulated.mask
        return self.losses_on(image, torch.cat([simulated.image, image[anomalous:]]), mask)

    def losses_on(self, image: Tensor, seen: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Compute losses of a batch whose anomalies are already simulated; ``ssim`` is 1 - SSIM.

        Args:
            image: (B, 3, S, S) float in [0, 1], without anomalies.
            seen: the same with anomalies.
            mask: (B, S, S) bool, where they are.
        """
        network = cast(Draem, self.network)
        clean = standard_light(image, like=seen)  # the same change for both
        seen = standard_light(seen, like=seen).contiguous(memory_format=torch.channels_last)
        reconstruction, logits = network(seen)
        squared = F.mse_loss(self.inside(reconstruction.float()), self.inside(clean))
        ssim = (1 - self.inside(ssim_map(reconstruction, clean))).mean()
        focal = focal_loss(self.inside(logits), self.inside(mask))
        losses = {"squared_error": squared, "ssim": ssim, "focal": focal}
        predictor = network.reconstructor.predictor
        if predictor is not None:
            losses["sspcab"] = LOSS_WEIGHT * predictor.loss
        return {"total": torch.stack(list(losses.values())).sum(), **losses}
