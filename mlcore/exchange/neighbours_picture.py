"""A picture with its nearest neighbours in a strip below, for pages that show explanations as tiles."""

from PIL import Image as Pictures

from mlcore.exchange.render import thumbnail
from mlcore.models import Explanation, Image

SHOWN = 4
GAP = 2


def with_neighbours(explanation: Explanation, side: int) -> Pictures.Image:
    """RGB, `side` × `side`: the explained picture above, its first four neighbours below, nearest first."""
    small = (side - GAP * (SHOWN - 1)) // SHOWN
    board = Pictures.new("RGB", (side, side), (24, 26, 30))
    _paste(board, explanation.image, (0, 0, side, side - small - GAP))
    listed = [one["image"] for one in explanation.data.get("neighbours", [])[:SHOWN]]
    known = {str(image.uuid): image for image in Image.objects.filter(uuid__in=listed)}
    for place, name in enumerate(listed):
        if name in known:
            left = place * (small + GAP)
            _paste(board, known[name], (left, side - small, left + small, side))
    return board


def _paste(board: Pictures.Image, image: Image, box: tuple[int, int, int, int]) -> None:
    """As large as fits into the box, in its middle."""
    left, top, right, bottom = box
    picture = thumbnail(image, max(right - left, bottom - top))
    picture.thumbnail((right - left, bottom - top))
    board.paste(picture, (left + (right - left - picture.width) // 2, top + (bottom - top - picture.height) // 2))
