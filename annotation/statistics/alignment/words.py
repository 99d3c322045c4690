"""What the figures of a cell say, in two sentences."""

from collections.abc import Mapping
from typing import Any

LEVEL = 0.05
_PEOPLE = {"human": ("person", "people")}


def raters(who: Mapping[str, int]) -> str:
    """“5 people”, “1 imported rater”; of several kinds “6 raters (5 human, 1 simulated)”. who: number by kind."""
    if len(who) == 1:
        ((kind, number),) = who.items()
        one, several = _PEOPLE.get(kind, (f"{kind} rater", f"{kind} raters"))
        return f"{number} {one if number == 1 else several}"
    return f"{sum(who.values())} raters ({', '.join(f'{number} {kind}' for kind, number in who.items())})"


def sentences(found: Mapping[str, Any], who: Mapping[str, int]) -> list[str]:
    """Direction, size, interval and whose they are; then how the answers fell. `who`: raters of this cell by kind."""
    score, shares = found["alignment"], found["shares"]
    if score["mean"] is None:
        return ["Nobody has answered yet."]
    said = f"Alignment of “{found['tuned']}” over “{found['original']}”: {score['mean']:+.2f}"
    images = f"{found['images']} {'image' if found['images'] == 1 else 'images'}"
    only = "; these raters only" if score["these_raters_only"] else ""
    if score["low"] is None:
        said += f" ({raters(who)}, {images}{only})"
    else:
        interval = f"95 % interval {score['low']:+.2f} to {score['high']:+.2f}, Student's t over {raters(who)}"
        said += f" ({interval}, {images}{only}): {_direction(found)}"
    # Pairs of tuned copies are spoken of plainly; the two maps of any other study by their own names.
    tuned = "the tuned map" if found["tuned"] == "tuned" else f"“{found['tuned']}”"
    original = "the original" if found["original"] == "original" else f"“{found['original']}”"
    answers = "answer" if found["answers"] == 1 else "answers"
    return [
        f"{said}.",
        f"Of {found['answers']} {answers}, {shares['tuned']:.1%} chose {tuned}, "
        f"{shares['original']:.1%} {original} and {shares['neither']:.1%} neither.",
    ]


def _direction(found: Mapping[str, Any]) -> str:
    score, p_holm = found["alignment"], found["p_holm"]
    if score["low"] <= 0 <= score["high"]:
        return "neither is clearly preferred"
    role = "tuned" if score["low"] > 0 else "original"
    said = f"the {role} maps are preferred" if found[role] == role else f"the maps of “{found[role]}” are preferred"
    if p_holm is not None and p_holm >= LEVEL:
        return f"taken alone, {said}; not as one of all declared cells (Holm's p = {p_holm:.2f})"
    return said
