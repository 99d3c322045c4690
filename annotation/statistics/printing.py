"""Pictures for papers by Matplotlib without a display, loaded when called: for workers and commands only.

SVG holds text as text and no date, so that the same figures give the same file; PDF embeds its fonts.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("print.mplstyle")
# Each format with what its file would else say of the hour.
FORMATS: dict[str, dict[str, None] | None] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": None}
# Of the tokens' light theme, as sRGB.
INK, QUIET, LINE = "#1b1d21", "#5b5f66", "#e1e3e6"


def printed(
    draw: Callable[[], dict[str, Figure]], style: Mapping[str, Any] | None = None
) -> dict[tuple[str, str], bytes]:
    """(name, format) → file of every figure that `draw` makes, in the house's style and what `style` changes of it."""
    import matplotlib

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every glyph that it embeds
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found: dict[tuple[str, str], bytes] = {}
    with plt.style.context([str(STYLE), dict(style or {})]):
        for name, figure in draw().items():
            for form, bare in FORMATS.items():
                stream = io.BytesIO()
                figure.savefig(stream, format=form, metadata=bare)
                found[name, form] = stream.getvalue()
            plt.close(figure)
    return found
