"""Do people favour a side? The share of the left map among decided answers: descriptive, as sides are balanced."""

from typing import Any

import numpy as np

from annotation.statistics.alignment.binomial import share
from annotation.statistics.alignment.rows import NEITHER, TUNED, UNKNOWN, Rows


def summary(rows: Rows) -> dict[str, Any]:
    """Left and right among decided answers whose order is known, Wilson's interval and the exact test of one half."""
    known = (rows.choice != NEITHER) & (rows.left != UNKNOWN)
    chosen = (rows.choice[known] == TUNED).astype(np.int8)
    whole, left = int(known.sum()), int((chosen == rows.left[known]).sum())
    found = share(left, whole)
    return {"left": left, "right": whole - left, "share_left": found.pop("share"), **found}
