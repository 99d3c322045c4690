"""The vote of the nearest: which class most of them are of, and by what share (definitions §6)."""

from __future__ import annotations

import torch
from torch import Tensor

VOTES = 20
TIES = ("nearest", "lowest")
NOBODY = -1  # no candidate stands here; of the answer: nobody voted
_MOST = 1 << 24  # comparisons of votes that stand in memory at once


def vote(labels: Tensor, *, votes: int = VOTES, ties: str = "nearest") -> tuple[Tensor, Tensor]:
    """Classes (q,) long and confidences (q,) float32, from the candidates' classes (q, k), the nearest first.

    The first `votes` candidates vote; confidence is the share of their votes that the winner has. −1 in `labels` is no
    candidate and no vote; a row without any gives −1 and 0. ties: of classes with equal votes wins that of the
    "nearest" candidate, or the "lowest" number (preset "correspondence").
    Raises ValueError for another word, for no votes, or for labels of another shape.
    """
    if ties not in TIES:
        raise ValueError(f"Equal votes go to the {' or the '.join(TIES)}, not to “{ties}”.")
    if votes < 1:
        raise ValueError(f"At least one candidate votes, not {votes}.")
    if labels.dim() != 2 or labels.is_floating_point():
        raise ValueError(f"Candidates' classes are whole numbers (queries, candidates), not {tuple(labels.shape)}.")
    cast = labels[:, :votes].long()
    queries, places = cast.shape
    if not queries or not places:
        return cast.new_full((queries,), NOBODY), torch.zeros(queries, device=cast.device)
    there = cast != NOBODY
    counts = torch.cat([_counts(some) for some in cast.split(max(_MOST // places**2, 1))])
    most = counts.amax(dim=1, keepdim=True)
    if ties == "nearest":
        # Earlier places are worth more, and less than a vote: no two are equal.
        earlier = torch.arange(places - 1, -1, -1, device=cast.device)
        winner = cast.gather(1, (counts * places + earlier).argmax(dim=1, keepdim=True)).squeeze(1)
    else:
        beaten = torch.iinfo(torch.int64).max
        winner = cast.masked_fill((counts < most) | ~there, beaten).amin(dim=1)
    voters = there.sum(dim=1)
    winner = torch.where(voters > 0, winner, NOBODY)
    return winner, most.squeeze(1) / voters.clamp(min=1)


def _counts(cast: Tensor) -> Tensor:
    """How many votes the class at each place has, (q, places); no candidate has none."""
    there = cast != NOBODY
    return ((cast.unsqueeze(2) == cast.unsqueeze(1)) & there.unsqueeze(1)).sum(dim=2) * there
