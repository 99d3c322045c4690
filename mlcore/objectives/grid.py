"""Grid consistency: what a classifier looks at stays the same when the image is part of a collage (definitions §3).

Pillai & Pirsiavash, "Explainable models with consistent interpretations", AAAI 2021.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.hires_cam import HiResCAM
from mlcore.attribution.layer_gradient import Form
from mlcore.attribution.maps import distribution, upsample
from mlcore.objectives.base import Loss, Objective, mean_over
from mlcore.objectives.batch import Batch
from mlcore.objectives.classification import classification_loss
from mlcore.objectives.collage import Collages, alone, place, plan_collages, tile

PRESETS = ("default", "grid")


class GridConsistency(Objective):
    """mean_i(w_p·CE_i) + λ · mean over images of mean_cells |G(collage) − place(G(image), q)|.

    The collage has twice the side: the image in quadrant q, images of other classes of the batch in the rest. G:
    HiResCAM of the image's TRUE class, R/(ΣR + 1e-8) + 1e-8 with R = ReLU(map). The gradient goes through both maps,
    exactly. The classification loss sees the image alone. Where the collage's map is not twice the image's, both are
    bilinearly resized to the size of their input first.

    An image without one of another class in its batch has no collage; it is counted and left out of the second mean.
    So is an image with a map, of its own or of its collage, that has no positive cell; preset "grid" keeps it, as
    published: its map is uniform.

    Where images have several labels: bce_weight · mean_i(w_p · mean_k BCE_ik) in place of the cross-entropy; G is the
    map of the class that the batch's `labels` name, and the collage shows images that do not have this class.

    grid_weight: λ. detach_target: the map of the image is held constant. layer, form: as in HiResCAM.
    seed: of the quadrants and distractors; None: that of PyTorch's own generator at `prepare`.

    Raises ValueError for a negative weight or an unknown preset.
    """

    seed: Tensor
    steps: Tensor

    def __init__(
        self,
        *,
        grid_weight: float = 25.0,
        bce_weight: float = 80.0,
        detach_target: bool = False,
        preset: str = "default",
        layer: str | None = None,
        form: Form = "auto",
        seed: int | None = None,
    ) -> None:
        super().__init__()
        if not grid_weight >= 0:
            raise ValueError(f"The weight of consistency must be 0 or more, not {grid_weight}.")
        if preset not in PRESETS:
            raise ValueError(f"Grid consistency has the presets default and grid, not “{preset}”.")
        self.grid_weight = float(grid_weight)
        self.bce_weight = float(bce_weight)
        self.detach_target = detach_target
        self.preset = preset
        self.layer = layer or None
        self.form: Form = form
        self.given_seed = seed
        # What a resumed run needs to draw the same collages.
        self.register_buffer("seed", torch.tensor(seed or 0, dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._cam: HiResCAM | None = None

    def prepare(self, model: nn.Module) -> None:
        """Find the layer and its head. Raises ValueError where the classifier has no such layer."""
        self._cam = self._cam_of(model)
        if self.given_seed is None:
            self.seed.fill_(torch.initial_seed() % 2**63)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the model's current mode. Terms: classification, consistency; images_in_collage,
        images_without_collage, dark_maps.
        """
        if self._cam is None:
            self.prepare(model)
        elif self._cam.model is not model:
            self._cam = self._cam_of(model)
        logits, maps = self._maps(batch.images, batch.labels)
        classification = classification_loss(logits, batch, self.bce_weight)
        ids = batch.ids or [str(index) for index in range(len(batch))]
        collages = plan_collages(batch.labels, ids, seed=int(self.seed), step=int(self.steps), targets=batch.targets)
        self.steps += 1
        found = len(collages.rows)
        distance = classification.new_zeros(0)
        counted = torch.zeros(0, dtype=torch.bool, device=logits.device)
        dark = counted.sum()
        # Several processes make as many passes each: BatchNorm that is shared between them waits for all.
        if found or _processes() > 1:
            shown = collages if found else alone(0, batch.labels.device)
            distance, lit = self._distance(batch, maps, shown)
            counted = lit if found and self.preset == "default" else torch.full_like(lit, found > 0)
            dark = (~lit).sum() if found else dark
            distance = torch.where(counted, distance, torch.zeros_like(distance))
        consistency = mean_over(distance, counted.sum())
        terms = {
            "classification": classification.detach(),
            "consistency": consistency.detach(),
            "images_in_collage": torch.tensor(found),
            "images_without_collage": torch.tensor(len(batch) - found),
            "dark_maps": dark,
        }
        return Loss(classification + self.grid_weight * consistency, terms, logits)

    def _cam_of(self, model: nn.Module) -> HiResCAM:
        return HiResCAM(model, self.layer, form=self.form, relu=False)

    def _maps(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K) and R (B, h, w) of one pass; the gradient through R is exact."""
        assert self._cam is not None
        logits, maps = self._cam.forward(images, targets, create_graph=True, stop_gradient_weights=False)
        return logits, F.relu(maps)  # at 0 its gradient is 0, where `clamp` has 1: dark maps stay as they are

    def _distance(self, batch: Batch, maps: Tensor, collages: Collages) -> tuple[Tensor, Tensor]:
        """(n,): mean over cells of |G(collage) − place(G(image), q)|; (n,) bool: both maps have a positive cell."""
        pictures = tile(batch.images, collages.sources)
        _, tiled = self._maps(pictures, batch.labels[collages.rows])
        single = maps[collages.rows]
        lit = _lit(single) & _lit(tiled)
        if self.preset == "default":
            # Replaced before anything else: a NaN that torch.where hides afterwards still poisons the gradient.
            single = torch.where(lit[:, None, None], single, torch.zeros_like(single))
            tiled = torch.where(lit[:, None, None], tiled, torch.zeros_like(tiled))
        expected, seen = distribution(single), distribution(tiled)
        if (seen.shape[1], seen.shape[2]) != (2 * expected.shape[1], 2 * expected.shape[2]):
            expected = upsample(expected, (batch.images.shape[2], batch.images.shape[3]))
            seen = upsample(seen, (pictures.shape[2], pictures.shape[3]))
        if self.detach_target:
            expected = expected.detach()
        return (seen - place(expected, collages.quadrants)).abs().mean(dim=(1, 2)), lit


def _lit(maps: Tensor) -> Tensor:
    """(B,) bool: R (B, h, w) that are finite and have a positive cell."""
    total = maps.detach().sum(dim=(1, 2))
    return torch.isfinite(total) & (total > 0)


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
