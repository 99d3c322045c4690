"""What the editor holds, read through its probe, and shapes to compare it with."""

import numpy as np

from tests.browser.easel import segment
from tests.browser.world import HEIGHT, WIDTH

PROBE = "const { probe } = await import('/static/js/editor/probe.js'); const { desk } = probe;"


def look(page, expression: str):
    return page.evaluate(f"async () => {{ {PROBE} return {expression}; }}")


def unpacked(values: list[int], width: int, height: int) -> np.ndarray:
    """The bytes of a mask as (H, W) bool."""
    rows = np.array(values, dtype=np.uint8).reshape(height, -1)
    return np.unpackbits(rows, axis=1)[:, :width].astype(bool)


def inside(corners: list[tuple[float, float]], grow: float = 0) -> np.ndarray:
    """Pixels whose centres a simple outline encloses, (H, W) bool, without those nearer than `grow` to its edges."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    found = np.zeros((HEIGHT, WIDTH), dtype=bool)
    far = np.full((HEIGHT, WIDTH), np.inf)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        if ay != by:
            crossed = (ay <= rows) != (by <= rows)
            found ^= crossed & (columns < ax + (rows - ay) / (by - ay) * (bx - ax))
        far = np.minimum(far, segment(ax, ay, bx, by))
    return np.where(far < abs(grow), grow < 0, found)


def assert_outline(mask: np.ndarray, corners: list[tuple[float, float]], slack: float = 0.7) -> None:
    assert mask[inside(corners, slack)].all(), "what the outline encloses"
    assert not mask[~inside(corners, -slack)].any(), "and nothing else"


KITE = [(30.0, 20.0), (100.0, 30.0), (90.0, 80.0), (40.0, 70.0)]


def tool(page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
