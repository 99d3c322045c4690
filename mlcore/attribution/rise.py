"""RISE: random masks, each weighed by the class's probability behind it (definitions §1).

Petsiuk et al., "RISE: Randomized input sampling for explanation of black-box models", BMVC 2018, equations 6 and
the masks of its section 3.2.
"""

from __future__ import annotations

from math import ceil
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlcore.attribution.base import Attribution, Targets, class_scores, resolve_targets

# Grids are drawn so many at a time: the first n masks of a seed are the same however many are asked for.
_BLOCK = 256


class RISE(Attribution):
    """map = Σ_n p_t(M_n ⊙ x) · M_n / (N · keep), at the picture's own size.

    masks: N. cells: a mask is a grid of cells × cells, each seen with the chance `keep`, enlarged bilinearly to one
    cell more than the picture a side and cut out at a random place.
    seed: of grids and places; the same masks for every image, whatever the batch, the device and `chunk`.
    preset: "torchray" divides by N alone.
    chunk: masked pictures that the classifier sees at once.

    Raises ValueError for numbers out of their range and an unknown preset.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        masks: int = 8000,
        cells: int = 7,
        keep: float = 0.5,
        seed: int = 0,
        preset: Literal["default", "torchray"] = "default",
        chunk: int = 64,
    ) -> None:
        super().__init__(model)
        for name, value in (("masks", masks), ("cells", cells), ("chunk", chunk)):
            if value < 1:
                raise ValueError(f"{name} is 1 or more, not {value}.")
        if not 0 < keep < 1:
            raise ValueError(f"keep lies between 0 and 1, not at {keep}.")
        if preset not in ("default", "torchray"):
            raise ValueError(f"RISE has the presets default and torchray, not “{preset}”.")
        self.masks, self.cells, self.keep, self.seed, self.chunk = masks, cells, keep, seed, chunk
        self.preset = preset

    def _explain(self, images: Tensor, targets: Targets) -> Tensor:
        chosen = resolve_targets(class_scores(self.model(images)), targets)
        columns = chosen[:, None] if chosen.dim() == 1 else chosen
        size = (images.shape[2], images.shape[3])
        maker = MaskMaker(size, self.masks, self.cells, self.keep, self.seed, images.device)
        total = torch.zeros(*columns.shape, size[0] * size[1], device=images.device)
        for start in range(0, self.masks, self.chunk):
            masks = maker.masks(start, min(start + self.chunk, self.masks))
            # One image at a time: what stands beside it in the batch is never in its pass.
            for index, image in enumerate(images):
                logits = class_scores(self.model(image * masks[:, None].to(images.dtype)))
                with torch.autocast(images.device.type, enabled=False):
                    share = torch.softmax(logits.float(), dim=1)[:, columns[index]]
                    total[index] += share.T @ masks.flatten(1)
        divisor = self.masks * (self.keep if self.preset == "default" else 1.0)
        maps = total.reshape(*columns.shape, *size) / divisor
        return maps[:, 0] if chosen.dim() == 1 else maps

    def _explain_several(self, images: Tensor, targets: Tensor) -> Tensor:
        return self._explain(images, targets)


class MaskMaker:
    """The masks of one seed for pictures of one size, made when they are asked for: (n, H, W) float32 in [0, 1].

    size: (H, W). A grid of `cells` × `cells` zeros and ones is enlarged bilinearly to (cells + 1) · ⌈H / cells⌉ rows
    (columns likewise) and H × W are cut out, moved by 0 … ⌈H / cells⌉ − 1.
    """

    def __init__(
        self, size: tuple[int, int], count: int, cells: int, keep: float, seed: int, device: torch.device | str
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        grids, places = [], []
        for _ in range(0, count, _BLOCK):
            grids.append(torch.rand(_BLOCK, cells, cells, generator=generator) < keep)
            places.append(torch.rand(_BLOCK, 2, generator=generator))
        self._grids = torch.cat(grids)[:count].to(device)
        steps = torch.tensor([ceil(side / cells) for side in size])
        self._places = (torch.cat(places)[:count] * steps).long().to(device)
        self._rows, self._columns = (_cut_outs(side, cells, device) for side in size)

    def masks(self, start: int, stop: int) -> Tensor:
        """Masks start … stop − 1 as (stop − start, H, W)."""
        grids, places = self._grids[start:stop].float(), self._places[start:stop]
        with torch.autocast(grids.device.type, enabled=False):
            return self._rows[places[:, 0]] @ grids @ self._columns[places[:, 1]].transpose(1, 2)


def _cut_outs(side: int, cells: int, device: torch.device | str) -> Tensor:
    """What bilinear enlarging does to one side, for each place of the cut-out: (⌈side / cells⌉, side, cells)."""
    step = ceil(side / cells)
    each = torch.eye(cells, device=device)[:, None]
    enlarged = F.interpolate(each, size=(cells + 1) * step, mode="linear", align_corners=False)[:, 0].T
    return torch.stack([enlarged[place : place + side] for place in range(step)])
