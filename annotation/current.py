"""What stands for a trial at a moment: the newest answer, or the work towards it."""

import base64
import datetime as dt
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Current:
    """What stands for a trial: revision 0 means that nothing was answered yet.

    `payload` has the form in which answers are sent; `drawing` is a PNG of the image's size, white where painted.
    """

    revision: int
    payload: dict[str, Any] | None
    drawing: bytes | None
    saved_at: dt.datetime | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the drawing as a data URL."""
        return {
            "revision": self.revision or None,
            "payload": self.payload,
            "drawing": data_url(self.drawing),
            "saved_at": self.saved_at.isoformat() if self.saved_at else None,
        }


def data_url(png: bytes | None) -> str | None:
    return None if png is None else "data:image/png;base64," + base64.b64encode(png).decode()
