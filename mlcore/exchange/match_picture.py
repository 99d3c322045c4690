"""A comparison as one picture: SVG, whose text stays text and whose pictures lie within it, and PNG."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from xml.sax.saxutils import escape, quoteattr

from PIL import Image as Pictures
from PIL import ImageDraw

from mlcore.exchange.match_board import Board
from mlcore.exchange.match_layout import (
    GROUND,
    LEAST_WIDTH,
    MOST_WIDTH,
    NEIGHBOURS,
    USUAL_WIDTH,
    Badge,
    Box,
    Drawing,
    Picture,
    Text,
    font,
    lay_out,
)

FORMATS = {"svg": "image/svg+xml", "png": "image/png"}
FAMILY = "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"
FINER = 2  # pictures within an SVG have so many pixels for one of its own: it is seen larger, too
SMOOTH = 3  # lines are drawn so much larger and made smaller: Pillow's own have steps


def drawn(board: Board, kind: str, width: int = USUAL_WIDTH, neighbours: int = NEIGHBOURS) -> bytes:
    """The file. kind: svg or png; width: in pixels, 480 to 4800; neighbours: at most so many columns.

    Raises ValueError for another kind, or a width beyond that.
    """
    if kind not in FORMATS:
        raise ValueError(f"A comparison is drawn as {' or '.join(FORMATS)}, not as “{kind}”.")
    if not LEAST_WIDTH <= width <= MOST_WIDTH:
        raise ValueError(f"The picture is {LEAST_WIDTH} to {MOST_WIDTH} pixels wide, not {width}.")
    drawing = lay_out(board, width, neighbours)
    return svg(drawing) if kind == "svg" else png(drawing)


def svg(drawing: Drawing) -> bytes:
    """One file without scripts and without anything that is fetched from elsewhere."""
    title = escape(_plain(drawing.title))
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'width="{drawing.width}" height="{drawing.height}" viewBox="0 0 {drawing.width} {drawing.height}" '
        f'font-family="{FAMILY}">',
        f"<title>{title}</title>",
        f'<rect width="100%" height="100%" fill="{GROUND}"/>',
    ]
    known: dict[tuple[int, int], str] = {}
    defined: list[str] = []
    for shape in drawing.shapes:
        if isinstance(shape, Picture):
            lines.append(_picture(shape, known, defined))
        elif isinstance(shape, Box):
            where = _numbers(x=shape.x, y=shape.y, width=shape.width, height=shape.height)
            lines.append(f'<g fill="none"><rect {where} stroke="{shape.rim}" stroke-width="{shape.line * 1.7:.2f}"/>')
            lines.append(f'<rect {where} stroke="{shape.colour}" stroke-width="{shape.line:.2f}"/></g>')
        elif isinstance(shape, Badge):
            lines.append(_badge(shape))
        else:
            weight = ' font-weight="700"' if shape.bold else ""
            place = _numbers(x=shape.x, y=shape.y)
            lines.append(
                f'<text {place} font-size="{shape.size:.2f}" fill="{shape.colour}"{weight}>'
                f"{escape(_plain(shape.words))}</text>"
            )
    lines.insert(3, f"<defs>{''.join(defined)}</defs>")
    return "\n".join([*lines, "</svg>", ""]).encode()


def _picture(shape: Picture, known: dict[tuple[int, int], str], defined: list[str]) -> str:
    """The query stands there many times and lies in the file once."""
    side = max(1, round(max(shape.width, shape.height) * FINER))
    key = (id(shape.draw), side)
    if key not in known:
        known[key] = f"p{len(known) + 1}"
        stream = io.BytesIO()
        shape.draw(side).convert("RGB").save(stream, "JPEG", quality=90)
        data = base64.b64encode(stream.getvalue()).decode()
        defined.append(
            f'<image id="{known[key]}" {_numbers(width=shape.width, height=shape.height)} '
            f'preserveAspectRatio="none" xlink:href="data:image/jpeg;base64,{data}"/>'
        )
    place = _numbers(x=shape.x, y=shape.y)
    return f'<use {place} xlink:href="#{known[key]}" role="img" aria-label={quoteattr(_plain(shape.text))}/>'


def _badge(shape: Badge) -> str:
    colour, ink = shape.colours
    rim = "#000000" if colour == "#ffffff" else "#ffffff"
    size = shape.radius * 1.35
    return (
        f'<circle {_numbers(cx=shape.x, cy=shape.y, r=shape.radius)} fill="{colour}" stroke="{rim}" '
        f'stroke-width="{shape.radius / 8:.2f}"/>'
        f'<text {_numbers(x=shape.x, y=shape.y + size * 0.36)} font-size="{size:.2f}" font-weight="700" '
        f'text-anchor="middle" fill="{ink}">{shape.number}</text>'
    )


def _numbers(**named: float) -> str:
    return " ".join(f'{name}="{value:.2f}"' for name, value in named.items())


def _plain(text: str) -> str:
    """Without what XML must not hold."""
    return "".join(letter if letter >= " " and letter not in "\ufffe\uffff" else " " for letter in text)


def png(drawing: Drawing) -> bytes:
    """The same in pixels."""
    board = Pictures.new("RGB", (drawing.width, drawing.height), GROUND)
    scaled = lru_cache(maxsize=64)(lambda draw, size: draw(max(size)).convert("RGB").resize(size, resample=3))
    for shape in drawing.shapes:
        if isinstance(shape, Picture):
            size = (max(1, round(shape.width)), max(1, round(shape.height)))
            board.paste(scaled(shape.draw, size), (round(shape.x), round(shape.y)))
        elif isinstance(shape, Box):
            _frame(board, shape)
        elif isinstance(shape, Badge):
            _disc(board, shape)
        else:
            _write(board, shape)
    stream = io.BytesIO()
    board.save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def _frame(board: Pictures.Image, shape: Box) -> None:
    draw = ImageDraw.Draw(board)
    x0, y0 = round(shape.x), round(shape.y)
    x1, y1 = round(shape.x + shape.width), round(shape.y + shape.height)
    for colour, line in ((shape.rim, shape.line * 1.7), (shape.colour, shape.line)):
        half = line / 2
        whole = max(1, round(line))
        outer = (round(x0 - half), round(y0 - half), round(x1 + half), round(y1 + half))
        draw.rectangle(outer, outline=colour, width=whole)


def _disc(board: Pictures.Image, shape: Badge) -> None:
    colour, ink = shape.colours
    side = max(3, round(2 * shape.radius * 1.125))
    large = side * SMOOTH
    badge = Pictures.new("RGBA", (large, large), (0, 0, 0, 0))
    rim = "#000000" if colour == "#ffffff" else "#ffffff"
    ImageDraw.Draw(badge).ellipse((0, 0, large - 1, large - 1), fill=colour, outline=rim, width=max(1, large // 18))
    badge = badge.resize((side, side), resample=Pictures.Resampling.LANCZOS)
    board.paste(badge, (round(shape.x - side / 2), round(shape.y - side / 2)), badge)
    ImageDraw.Draw(board).text(
        (shape.x, shape.y), str(shape.number), fill=ink, font=font(shape.radius * 1.35, True), anchor="mm"
    )


def _write(board: Pictures.Image, shape: Text) -> None:
    ImageDraw.Draw(board).text(
        (shape.x, shape.y), shape.words, fill=shape.colour, font=font(shape.size, shape.bold), anchor="ls"
    )
