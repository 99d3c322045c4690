"""Hands for the drawing editor's tests: where pixels lie on the page, strokes, fingers, and what arrives."""

import io

import numpy as np
from PIL import Image as Pillow

from annotation.models import DrawnMap
from tests.browser.world import HEIGHT, WIDTH

# Where the easel lies once it lies still: a panel or a note that goes gives it another size, and the editor follows a
# frame later.
GEOMETRY = """async () => {
  const read = () => {
    const box = document.getElementById('easel').getBoundingClientRect();
    return { left: box.left, top: box.top, width: box.width, height: box.height };
  };
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  let box = read();
  for (let still = 0; still < 4; ) {
    await frame();
    const next = read();
    still = JSON.stringify(next) === JSON.stringify(box) ? still + 1 : 0;
    box = next;
  }
  return box;
}"""


class Easel:
    """Where a pixel of the picture lies on the page, while the whole picture is shown."""

    def __init__(self, page):
        self.page = page
        box = page.evaluate(GEOMETRY)
        margin = 8 if box["width"] < 500 else 24
        self.scale = min((box["width"] - 2 * margin) / WIDTH, (box["height"] - 2 * margin) / HEIGHT)
        self.left = box["left"] + (box["width"] - WIDTH * self.scale) / 2
        self.top = box["top"] + (box["height"] - HEIGHT * self.scale) / 2

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.scale, self.top + y * self.scale

    def stroke(self, *points: tuple[float, float], button: str = "left") -> None:
        self.page.mouse.move(*self.at(*points[0]))
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.page.mouse.move(*self.at(*point), steps=6)
        self.page.mouse.up(button=button)


def size(page, pixels: int) -> None:
    """Sets the brush as the slider does."""
    page.evaluate(
        """([pixels, largest]) => {
          const slider = document.getElementById('size');
          slider.value = 100 * Math.log(pixels) / Math.log(largest);
          slider.dispatchEvent(new Event('input'));
        }""",
        [pixels, max(8, round(max(WIDTH, HEIGHT) / 2))],
    )
    assert page.locator("#size-read").inner_text() == f"{pixels} px"


def sent(page) -> np.ndarray:
    """Sends and gives what is stored as (H, W) bool."""
    before = page.url
    page.locator("#send").click()
    page.wait_for_url(lambda url: url != before)
    return stored(DrawnMap.objects.latest("pk").file)


def stored(file) -> np.ndarray:
    with file.open("rb") as stream:
        picture = Pillow.open(io.BytesIO(stream.read()))
    assert picture.size == (WIDTH, HEIGHT)
    return np.asarray(picture) == 1


def segment(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Each pixel centre's distance from a segment, (H, W)."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((columns - x0) * dx + (rows - y0) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
    return np.hypot(columns - x0 - along * dx, rows - y0 - along * dy)


def assert_capsule(mask: np.ndarray, ends: tuple[float, ...], radius: float, slack: float = 0.8) -> None:
    far = segment(*ends)
    assert mask[far < radius - slack].all(), "painted where the pointer went"
    assert not mask[far > radius + slack].any(), "and nowhere else"


def touch(session, kind: str, points: list[tuple[float, float]]) -> None:
    session.send(
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]},
    )
