"""Whether a condition of a team study brings an AI's own answers, and by which names they are said and judged."""

import re
from collections.abc import Sequence

from annotation.models import Study
from mlcore.models import ExplanationSet
from mlcore.runs.correspond_names import keys, same_classes

CONFIDENCE = "confidence"  # of `Explanation.data`, where a set brings answers of its own
_HALVES = re.compile(r"(.*?)\s*\(([^()]+)\)\s*")


def places_of(name: str, classes: Sequence[str], own: Sequence[str] = ()) -> set[int]:
    """Which of the image set's classes are meant by a name that was said; none: it is none of them.

    Those of exactly this name, which may stand twice; else the one that is called so in other words. own: the names of
    whoever said it; where the two lists have no name in common they number the same classes.
    """
    exact = {place for place, one in enumerate(classes) if str(one) == name}
    if exact:
        return exact
    (alike,) = same_classes([name], classes)
    if alike is not None:
        return {alike}
    strangers = own and all(place is None for place in same_classes(own, classes))
    return {place for place, one in enumerate(own) if str(one) == name} if strangers else set()


def spoken(own: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The names that a page says for a classifier's classes: one form for all of them.

    Of “Spizella atrogularis (Black-chinned Sparrow)” the half is said by which more of the image set's classes are
    called. Said whole where the set knows it in other words, or not at all, the form would tell what is wrong.
    """
    names = [str(name) for name in own]
    halves = [_HALVES.fullmatch(name) for name in names]
    if names == list(classes) or sum(half is not None for half in halves) * 2 < len(names):
        return names
    known = {keys(str(one))[0] for one in classes if keys(str(one))}
    counts = [
        sum(half is not None and any(key in known for key in keys(half[which])[:1]) for half in halves)
        for which in (1, 2)
    ]
    if not any(counts):
        return names
    which = 1 if counts[0] > counts[1] else 2
    return [half[which] if half is not None else name for name, half in zip(names, halves, strict=True)]


def speaks(item: ExplanationSet) -> bool:
    """Whether the set brings answers of its own. One query."""
    return bool(item.explanations.filter(data__has_key=CONFIDENCE).exists())


def alone_in(study: Study) -> set[str]:
    """The conditions that say nothing of an AI."""
    return {group["name"] for group in study.version.settings.get("groups", []) if group.get("alone")}
