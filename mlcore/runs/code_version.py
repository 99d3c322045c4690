"""Which code makes maps: what was made by other code is other maps."""

import hashlib
from functools import lru_cache
from pathlib import Path

ATTRIBUTION = Path(__file__).resolve().parent.parent / "attribution"


@lru_cache(maxsize=1)
def code_version() -> str:
    """A hash of the attribution room's sources."""
    sources = b"".join(path.name.encode() + path.read_bytes() for path in sorted(ATTRIBUTION.glob("*.py")))
    return hashlib.sha256(sources).hexdigest()[:16]
