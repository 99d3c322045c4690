"""Which files a wish for shards means: a folder, one file, or a pattern with braces, below the folder allowed."""

import re
from pathlib import Path

MOST = 100_000
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")


class ShardsRefused(Exception):
    """What is asked for cannot be read as shards; the message is one sentence for the person."""


def expand(pattern: str) -> list[str]:
    """Names that a pattern with braces means, in its order: "train-{000..146}.tar", "{a,b}.tar". Raises ShardsRefused.

    Zeros in front of a range's first number are kept, as a shell does.
    """
    names = [pattern]
    while any("{" in name or "}" in name for name in names):
        longer: list[str] = []
        for name in names:
            found = BRACES.search(name)
            if found is None:
                raise ShardsRefused(f"“{pattern}” has a brace without its other half.")
            for choice in _choices(found[1], pattern):
                longer.append(name[: found.start()] + choice + name[found.end() :])
                if len(longer) > MOST:
                    raise ShardsRefused(f"“{pattern}” means more than {MOST} shards.")
        names = longer
    return names


def _choices(text: str, pattern: str) -> list[str]:
    found = RANGE.fullmatch(text)
    if found is None:
        return text.split(",")
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise ShardsRefused(f"“{pattern}”: the range {text} ends before it begins.")
    if last - first >= MOST:
        raise ShardsRefused(f"“{pattern}” means more than {MOST} shards.")
    return [f"{number:0{len(found[1])}d}" for number in range(first, last + 1)]


def find(wish: str, allowed: str | Path) -> list[Path]:
    """The shards that `wish` means, in order: a folder's *.tar by name, or what `expand` gives.

    Paths are taken from the folder `allowed` and must lie in it, links followed. Raises ShardsRefused naming what is
    outside, absent, empty or there twice.
    """
    if not str(allowed):
        raise ShardsRefused(
            "No folder of shards is allowed here; whoever runs this server names one in the setting SHARDS_DIR."
        )
    root = Path(allowed).resolve()
    paths = [_inside(root, name, wish) for name in expand(wish.strip())]
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(path for path in paths[0].iterdir() if path.suffix == ".tar" and not path.name.startswith("."))
        paths = [_inside(root, str(path), wish) for path in paths]
        if not paths:
            raise ShardsRefused(f"The folder “{wish}” holds no .tar file.")
    absent = [path.name for path in paths if not path.is_file()]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise ShardsRefused(f"There is no shard {absent[0]}{more}.")
    if len(set(paths)) < len(paths):
        raise ShardsRefused(f"“{wish}” names a shard twice.")
    return paths


def _inside(root: Path, name: str, wish: str) -> Path:
    try:
        path = (root / name).resolve()
    except (OSError, ValueError) as error:
        raise ShardsRefused(f"“{wish}” is no path of shards.") from error
    if not path.is_relative_to(root):
        raise ShardsRefused(f"“{wish}” lies outside the folder of shards (setting SHARDS_DIR).")
    return path
