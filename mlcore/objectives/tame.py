"""TAME's training: an attention module learns, on a frozen classifier, to keep what a decision needs (definitions §4).

Ntrougkas, Gkalelis & Mezaris, "TAME: Attention mechanism based feature fusion for generating explanation maps of
convolutional neural networks", ISM 2022.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.attention import AttentionModule
from mlcore.attribution.attention_layers import capture_all
from mlcore.attribution.base import class_scores
from mlcore.attribution.l_cam import LCAMAttention
from mlcore.attribution.layers import find_layer
from mlcore.attribution.maps import upsample
from mlcore.attribution.tame import VARIANTS, TAMEAttention
from mlcore.metrics.inputs import NORMALISATIONS
from mlcore.objectives.base import Loss, Objective, count_reduce
from mlcore.objectives.batch import Batch
from mlcore.objectives.feature_store import FeatureStore
from mlcore.objectives.shares import images_of_step

Variant = Literal["default", "no_skip", "no_skip_no_norm", "sigmoid", "l_cam"]
Preset = Literal["default", "tame"]

CLASSIFICATION_WEIGHT = 1.5
AREA_WEIGHT = 2.0
VARIATION_WEIGHT = 0.01
AREA_POWER = 0.3
AREA_SHIFT = 5e-4
BORDER_WEIGHT = 0.3


class TAMETraining(Objective):
    """1.5 · CE + 2 · mean((a + 5e-4)^0.3) + λ · TV, by which an attention module is trained.

    y is what the classifier says of the image itself, a = σ(c) the attention's map of it. CE is the cross-entropy of
    y after a, enlarged bilinearly, has dimmed the picture in [0, 1]; area and variation (TV) are taken of a at its own
    size. The classifier is frozen: its weights get no gradient, and are as ready for one afterwards as before.

    preset: "default" takes the map of y only, the classifier in eval mode, λ = 0.01 · B, by which the term has the
        released magnitude; "tame" the maps of all B labels of the batch for each image (B × B), in area and variation,
        the classifier in train mode (dropout, batch statistics, whose running means move), λ = 0.01.
    variant: of TAME's module, or "l_cam" for L-CAM's. layers: names that the module reads; None: its own suggestion.
    attention: a module to go on training, which knows its variant and layers itself. normalise: "imagenet" or "none",
        how the batches' images were made from pictures in [0, 1].

    store: set it to a FeatureStore where batches come again under the same names and the classifier is in eval mode;
    None (as made): every pass is computed.

    The parameters are the attention's, from `prepare` on; the attention keeps a mode of its own (`train`, `eval`).
    Raises ValueError with a sentence where preset, variant, layers or normalisation do not fit.
    """

    def __init__(
        self,
        *,
        preset: Preset = "default",
        variant: Variant = "default",
        layers: Sequence[str] | None = None,
        normalise: str = "imagenet",
        attention: AttentionModule | None = None,
    ) -> None:
        super().__init__()
        if preset not in ("default", "tame"):
            raise ValueError(f"The presets are default and tame, not “{preset}”.")
        if variant not in (*VARIANTS, "l_cam"):
            raise ValueError(f"The variants are {', '.join(VARIANTS)} and l_cam, not “{variant}”.")
        if normalise not in NORMALISATIONS:
            raise ValueError(f"“normalise” is one of {', '.join(NORMALISATIONS)}, not “{normalise}”.")
        if variant == "l_cam" and layers is not None and len(layers) != 1:
            raise ValueError(f"L-CAM reads one layer, not {len(layers)}.")
        self.all_pairs = preset == "tame"
        self.mode = "train" if preset == "tame" else "eval"  # type: ignore[misc]
        self.variant: Variant = variant
        self.layers = None if layers is None else tuple(layers)
        self.normalisation = NORMALISATIONS[normalise]
        self.module: AttentionModule | None = attention
        self.store: FeatureStore | None = None

    @property
    def attention(self) -> AttentionModule:
        """The module that is trained; its `save` writes it alone. Raises ValueError before `prepare`."""
        if self.module is None:
            raise ValueError("The attention module is made by `prepare`.")
        return self.module

    def prepare(self, model: nn.Module) -> None:
        """Make the attention for this classifier, on its device, unless there is one: weights by torch's generator."""
        if self.module is None:
            if self.variant == "l_cam":
                self.module = LCAMAttention.for_model(model, self.layers[0] if self.layers else None)
            else:
                self.module = TAMEAttention.for_model(model, self.layers, variant=self.variant)
            self.module.train(self.training)
        for layer in self.module.layers:
            find_layer(model, layer)
        parameter = next(model.parameters(), torch.zeros(()))
        self.module.to(parameter.device)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The loss of one batch, in the classifier's and the attention's current modes.

        Terms, before their weights: classification, area, variation; kept, the share of images whose dimmed picture
        is still given y. Logits are those of the images themselves. Raises ValueError before `prepare`, and where the
        classifier is another.
        """
        images = batch.images
        with frozen(model):
            logits, features = self._remembered(model, batch)
            labels = logits.argmax(dim=1)
            maps, own = self._maps(features, labels)
            masks = upsample(own, (images.shape[2], images.shape[3]))[:, None].to(images.dtype)
            dimmed = self.normalisation.from_unit(masks * self.normalisation.to_unit(images))
            seen = class_scores(model(dimmed))
        wide = seen.float() if seen.dtype.itemsize < 4 else seen
        classification = F.cross_entropy(wide, labels)
        area, variation = area_term(maps), total_variation(maps)
        # B of λ is the whole step's, and so are the means, where several processes have a part each.
        here = area.new_tensor(float(len(images)))
        fair = here / count_reduce(here, "images")
        weight = fair * VARIATION_WEIGHT * (1 if self.all_pairs else images_of_step(len(images), area))
        terms = {
            "classification": classification.detach(),
            "area": area.detach(),
            "variation": variation.detach(),
            "kept": (seen.detach().argmax(dim=1) == labels).to(wide.dtype).mean(),
        }
        return Loss(
            fair * (CLASSIFICATION_WEIGHT * classification + AREA_WEIGHT * area) + weight * variation,
            terms,
            logits.detach(),
        )

    def _remembered(self, model: nn.Module, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """As `_read`, from the store where it has them; a classifier in train mode answers anew each time."""
        if self.store is None or model.training:
            return self._read(model, batch.images)
        found = self.store.read(model, batch.ids)
        if found is None:
            found = self._read(model, batch.images)
            self.store.keep(model, batch.ids, *found)
        return found

    def _read(self, model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits and features of the images themselves: nothing before the attention needs a graph."""
        attention = self.attention
        with torch.no_grad(), capture_all(model, attention.layers) as captured:
            logits = class_scores(model(images))
        features = [layer.output for layer in captured]
        attention.check(features, logits)
        return logits, features

    def _maps(self, features: list[Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        """a for area and variation, (B, h, w) or (B, B, h, w), and each image's own, (B, h, w)."""
        kind = next(self.attention.parameters()).dtype
        asked = labels.expand(len(labels), -1) if self.all_pairs else labels
        with torch.autocast(labels.device.type, enabled=False):
            maps = torch.sigmoid(self.attention([feature.to(kind) for feature in features], asked))
        return maps, maps.diagonal(dim1=0, dim2=1).movedim(-1, 0) if self.all_pairs else maps


def weights_and_biases(module: nn.Module) -> list[dict[str, Any]]:
    """Groups for an optimiser, as `Objective.groups` gives them: parameters named weight (BatchNorm's γ too), and the
    others, which have twice the rate and do not decay (definitions §4)."""
    weights: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        (weights if name.rpartition(".")[2] == "weight" else others).append(parameter)
    return [{"params": weights, "rate": 1.0, "decay": 1.0}, {"params": others, "rate": 2.0, "decay": 0.0}]


def area_term(maps: Tensor) -> Tensor:
    """mean((a + 5e-4)^0.3) of maps (…, h, w) in [0, 1]: a scalar."""
    return (maps + AREA_SHIFT).pow(AREA_POWER).mean()


def total_variation(maps: Tensor) -> Tensor:
    """(Σ(Δx)² + Σ(Δy)² + 0.3 · Σ border²) / (2B) of maps (B, …, h, w): a scalar.

    The border is the outermost rows and columns; a corner lies in two of them and counts twice.
    """
    across = (maps[..., :, 1:] - maps[..., :, :-1]).square().sum()
    down = (maps[..., 1:, :] - maps[..., :-1, :]).square().sum()
    rows = maps[..., 0, :].square().sum() + maps[..., -1, :].square().sum()
    columns = maps[..., :, 0].square().sum() + maps[..., :, -1].square().sum()
    return (across + down + BORDER_WEIGHT * (rows + columns)) / (2 * len(maps))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No parameter of `model` enters a graph made inside the block; afterwards each wants a gradient as before."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)
