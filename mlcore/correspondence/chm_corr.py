"""CHM-Corr: parts of the query go where a trained network finds them in the candidate (definitions §6).

Taesiri, Nguyen & Nguyen, "Visual correspondence-based explanations improve AI robustness and human–AI team accuracy",
NeurIPS 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from mlcore.correspondence.base import Compared, Described
from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm.transfer import transfer
from mlcore.correspondence.part_scores import (
    BEST,
    THRESHOLD,
    check_options,
    cosines,
    cross_correlation,
    mean_of_best,
    sum_of_marked,
)

SIZE = 240
KEY_POINTS = (18, 52, 86, 120, 154, 188, 222)  # px of 240, along either edge
PAIRS_AT_ONCE = 8  # some 40 MB each


class CHMCorr:
    """Scores candidates by the cosines of the last cells that a correspondence network matches.

    network: a trained `CHMNetwork`, or the file that its `save` wrote. A grid of 7 × 7 key points of the query is moved
    to the candidate; a point lies in the cell ⌊(x + 1)/2 · w⌋ of a grid of any size (49 of 13 × 13 cells are visited),
    row from y and column from x. Points count whose query cell's scaled cross-correlation is `threshold` or more; the
    score is the mean of their `best` greatest cosines, of fewer where fewer count.
    preset "correspondence" repeats the released code: rows from x and columns from y in both images, and zeros enter
    where fewer than `best` count.

    With cells that a person marked (CHM-Corr+) the score is the sum of the cosines of the marked points over 49. On
    another grid than 7 × 7 a point is marked where any cell that touches its 49th of the picture is.

    pairs: cells of the actual grids. Raises ValueError where there is no network, or its file is bad.
    """

    needs_middle: ClassVar[bool] = True

    def __init__(
        self,
        network: CHMNetwork | str | Path | None = None,
        *,
        preset: str = "default",
        threshold: float = THRESHOLD,
        best: int = BEST,
    ) -> None:
        check_options(preset, threshold, best)
        if network is None or network == "":
            raise ValueError("CHM-Corr needs a trained correspondence network: give network=….")
        self.network = network if isinstance(network, CHMNetwork) else CHMNetwork.load(network)
        self.network.eval()
        self.preset, self.threshold, self.best = preset, threshold, best

    @property
    def layer(self) -> str:
        """The stage whose features `Described.middle` holds."""
        return self.network.layer

    @torch.no_grad()
    def compare(self, queries: Described, candidates: Described, marked: Tensor | None = None) -> Compared:
        """See `Matcher`; middle: features of `layer`, (Q, C', h', w') and (Q, K, C', h', w')."""
        if queries.middle is None or candidates.middle is None:
            raise ValueError(f"CHM-Corr reads the features of layer “{self.layer}” besides the last ones.")
        ours, theirs = queries.cells, candidates.cells
        points = key_points(ours.device)
        released = self.preset == "correspondence"
        of_query = cell_of(points, ours.shape[2:], swapped=released)
        moved = self.moved(queries.middle, candidates.middle, points)
        of_candidate = cell_of(moved, theirs.shape[3:], swapped=released)
        found = cosines(ours, theirs, of_query, of_candidate)
        if marked is not None:
            chosen = _marked_points(marked)
            return sum_of_marked(found, chosen.mT.flatten(1) if released else chosen.flatten(1), of_query, of_candidate)
        crossed = cross_correlation(ours, theirs)
        counts = crossed >= self.threshold
        if not released:  # where all cells are equally like the candidate, none is less than another
            counts |= ~torch.isfinite(crossed)
        return mean_of_best(found, counts[:, :, of_query], of_query, of_candidate, best=self.best, zeros=released)

    def moved(self, queries: Tensor, candidates: Tensor, points: Tensor) -> Tensor:
        """Where points (P, 2) of each query lie in its candidates: (Q, K, P, 2) in −1…1."""
        self.network.to(queries.device)
        count = candidates.shape[1]
        ours, flat = self.network.embed(queries.float()), candidates.flatten(0, 1)
        found = []
        for start in range(0, len(flat), PAIRS_AT_ONCE):
            theirs = self.network.embed(flat[start : start + PAIRS_AT_ONCE].float())
            rows = torch.arange(start, start + len(theirs), device=ours.device) // count
            scores = self.network.match(ours[rows], theirs)
            found.append(transfer(scores, points.expand(len(theirs), -1, -1)))
        return torch.cat(found).unflatten(0, (len(queries), count))


def key_points(device: torch.device | str = "cpu") -> Tensor:
    """(49, 2): x and y in −1…1 of the grid, by rows."""
    line = (torch.tensor(KEY_POINTS, dtype=torch.float32, device=device) - SIZE / 2) / (SIZE / 2)
    down, across = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], dim=1)


def cell_of(points: Tensor, grid: torch.Size | tuple[int, int], *, swapped: bool = False) -> Tensor:
    """Points (…, 2) in −1…1: row · width + column of the cell that each lies in, (…) long. swapped: row from x."""
    down, across = (0, 1) if swapped else (1, 0)
    height, width = grid
    row = ((points[..., down] + 1) / 2 * height).floor().long().clamp(0, height - 1)
    column = ((points[..., across] + 1) / 2 * width).floor().long().clamp(0, width - 1)
    return row * width + column


def _marked_points(marked: Tensor) -> Tensor:
    """(Q, h, w) bool: (Q, 7, 7) bool, the 49ths of the picture that a marked cell touches."""
    side = len(KEY_POINTS)
    return F.adaptive_max_pool2d(marked[:, None].float(), side)[:, 0] > 0
