"""Re-ranking a query's candidates as the published code does it, written from a description of what it does.

One query at a time, whatever is asked: what cells have in common is summed in numpy, one cell of the query at a time;
the entries of each plan are sorted whole, one candidate at a time, and the largest picked from a list; votes are
counted from the candidates' labels, the lowest of equal ones wins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm.transfer import transfer

Array = NDArray[np.float32]
VOTES = 20


def common(query: Array, candidate: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each cell has in common with the other picture, (h, w) of both; query and candidate: (C, h, w)."""
    a, b = (each.reshape(each.shape[0], -1).T for each in (query, candidate))
    a_scaled = a / np.linalg.norm(a.mean(axis=0)) / len(a)
    b_scaled = b / np.linalg.norm(b.mean(axis=0)) / len(b)
    table = np.zeros((len(a), len(b)))
    for cell in range(len(a)):
        repeated = np.tile(a_scaled[cell], (len(b), 1))
        table[cell] = np.multiply(repeated, b_scaled).sum(axis=1)
    return table.sum(axis=1).reshape(query.shape[1:]), table.sum(axis=0).reshape(query.shape[1:])


def balance(kernel: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Plans (N, S, R), candidates' cells first, stopped together; single precision."""
    r, c = torch.ones_like(u), torch.ones_like(v)
    for _ in range(100):
        before = r
        r = u / torch.matmul(kernel, c.unsqueeze(-1)).squeeze(-1)
        c = v / torch.matmul(kernel.permute(0, 2, 1).contiguous(), r.unsqueeze(-1)).squeeze(-1)
        if (r - before).abs().mean().item() < 0.1:
            break
    return torch.matmul(r.unsqueeze(-1), c.unsqueeze(-2)) * kernel


def emd_scores(cells: Tensor, num_patch: int = 5) -> Tensor:
    """(N − 1,): scores of the candidates; cells (N, C, h, w), the query first."""
    query = cells[0].numpy()
    of_query, of_candidates = [], []
    for picture in cells:
        mine, theirs = common(query, picture.numpy())
        of_query.append(torch.from_numpy(mine))
        of_candidates.append(torch.from_numpy(theirs))
    u, v = torch.stack(of_candidates).flatten(1), torch.stack(of_query).flatten(1)
    u, v = u / (u.sum(dim=1, keepdim=True) + 1e-5), v / (v.sum(dim=1, keepdim=True) + 1e-5)
    unit = F.normalize(cells.flatten(2), dim=1)
    similar = torch.einsum("cm,ncs->nsm", unit[0], unit).contiguous()
    plans = balance(torch.exp(-(1 - similar) / 0.05), u.to(similar.dtype), v.to(similar.dtype))
    scores = []
    for plan, s in zip(plans.flatten(1), similar.flatten(1), strict=True):
        largest = torch.argsort(plan)[-num_patch:]
        moved = np.array([plan[entry] for entry in largest])
        alike = np.array([s[entry] for entry in largest])
        scores.append(torch.as_tensor(np.sum(moved * alike)))
    return torch.stack(scores)[1:]


def chm_scores(cells: Tensor, middle: Tensor, network: CHMNetwork, points: Tensor) -> Tensor:
    """(N − 1,): scores of the candidates, one pair at a time; the query first. points: (P, 2) in −1…1."""
    side = cells.shape[2]
    cosine = torch.nn.CosineSimilarity(dim=0, eps=1e-6)
    scores = []
    for candidate in range(1, len(cells)):
        matched = network(middle[:1], middle[candidate : candidate + 1])
        moved = transfer(matched, points[None])[0]
        found = np.zeros((side, side))
        for start, end in zip(points.tolist(), moved.tolist(), strict=True):
            x, y = (min(max(int((value + 1) / 2 * side), 0), side - 1) for value in start)
            to_x, to_y = (min(max(int((value + 1) / 2 * side), 0), side - 1) for value in end)
            found[x, y] = cosine(cells[0, :, x, y], cells[candidate, :, to_x, to_y])
        mine, _ = common(cells[0].numpy(), cells[candidate].numpy())
        scaled = (mine - mine.min()) / (mine.max() - mine.min())
        kept = (found * (scaled >= 0.55)).T.reshape(-1)
        best = np.argsort(kept)[::-1][:5]
        scores.append(np.mean([kept[place] for place in best]))
    return torch.tensor(np.array(scores), dtype=torch.float32)


def neighbours(query: Array, gallery: Sequence[Array]) -> NDArray[np.int64]:
    """All rows, the most alike first: one cosine after the other."""
    unit = query / np.linalg.norm(query)
    alike = [float(np.dot(unit, row / np.linalg.norm(row))) for row in gallery]
    return np.argsort(alike)[::-1]


def vote(labels: NDArray[np.int64], order: NDArray[np.int64]) -> int:
    """The class of most of the first 20, the lowest of equal ones."""
    return int(np.argmax(np.bincount(labels[order[:VOTES]])))
