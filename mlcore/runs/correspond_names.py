"""Classes of different sets and classifiers that are meant by the same name.

One list says “036.Northern_Flicker”, another “Colaptes auratus (Northern Flicker)”; both are the northern flicker.
"""

import re
from collections.abc import Mapping, Sequence

_NUMBER = re.compile(r"^\d+\.(?=\D)")
_OTHER_NAME = re.compile(r"(.*?)\s*\(([^()]*)\)\s*")
_POSSESSIVE = re.compile(r"['’]s\b")
_BETWEEN = re.compile(r"[\W_]+")


def keys(name: str) -> list[str]:
    """What a class may be called by, the whole name first: without a number in front, capitals, hyphens, underscores
    and the possessive “'s”; then a name in brackets at the end, and the one before it."""
    found = [_plain(name)]
    bracketed = _OTHER_NAME.fullmatch(name)
    if bracketed:
        found += [_plain(bracketed[2]), _plain(bracketed[1])]
    return [key for key in dict.fromkeys(found) if key]


def _plain(text: str) -> str:
    text = _POSSESSIVE.sub("", _NUMBER.sub("", text.strip()).casefold())
    return _BETWEEN.sub(" ", text).strip()


def same_classes(names: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """For each of `names` the place of the same class in `others`; None where there is none, or more than one.

    Lists that are equal are the same, whatever they say.
    """
    if list(names) == list(others):
        return list(range(len(names)))
    places: dict[str, set[int]] = {}
    for place, name in enumerate(others):
        for key in keys(str(name)):
            places.setdefault(key, set()).add(place)
    found = [_only(places, keys(str(name))) for name in names]
    # Two names of one list that meet in one class of the other would make one of them right by chance.
    return [None if place is not None and found.count(place) > 1 else place for place in found]


def _only(places: Mapping[str, set[int]], wanted: Sequence[str]) -> int | None:
    for key in wanted:
        if key in places:
            return next(iter(places[key])) if len(places[key]) == 1 else None
    return None


def chosen_classes(classes: Sequence[str], given: str) -> list[int]:
    """The classes that a person listed with commas; a name that has commas itself is one name.

    Raises ValueError with a sentence that says which name no class has.
    """
    known = {name: place for place, name in reversed(list(enumerate(map(str, classes))))}
    by_key: dict[str, int | None] = {}
    for place, name in enumerate(map(str, classes)):
        for key in keys(name):
            by_key[key] = None if key in by_key and by_key[key] != place else place
    pieces = [piece.strip() for piece in given.replace("\n", ",").split(",")]
    pieces = [piece for piece in pieces if piece]
    found: list[int] = []
    at = 0
    while at < len(pieces):
        for end in range(len(pieces), at, -1):
            text = ", ".join(pieces[at:end])
            meant = known.get(text, by_key.get(_plain(text)))
            if meant is not None:
                found.append(meant)
                at = end
                break
        else:
            raise ValueError(f"There is no class “{pieces[at]}” among the {len(classes)} classes of these images.")
    return sorted(set(found))
