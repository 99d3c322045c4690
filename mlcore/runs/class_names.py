"""A class as a person names it: by its name, a part of it, or its index."""

from collections.abc import Sequence

SHOWN = 6
MOST_DIGITS = 9
FIRST = 3


def find_class(classes: Sequence[str], given: str) -> int | None:
    """The index of the class that is meant; None for an empty text.

    In this order: the whole name, in capitals or not; an index; a part that only one name has. Raises ValueError with
    one sentence that offers what comes near.
    """
    text = given.strip()
    if not text:
        return None
    if text in classes:
        return list(classes).index(text)
    folded = [name.casefold() for name in classes]
    wanted = text.casefold()
    if folded.count(wanted) == 1:
        return folded.index(wanted)
    if text.isdecimal():
        if len(text) <= MOST_DIGITS and int(text) < len(classes):
            return int(text)
        raise ValueError(f"The classifier has the classes 0 to {len(classes) - 1}; there is no class {text[:20]}.")
    near = [index for index, name in enumerate(folded) if wanted in name]
    if len(near) == 1:
        return near[0]
    if near:
        names = ", ".join(f"“{classes[index]}”" for index in near[:SHOWN])
        more = f" and {len(near) - SHOWN} more" if len(near) > SHOWN else ""
        raise ValueError(f"“{text}” is part of {len(near)} names of classes: {names}{more}. Write more of one.")
    first = ", ".join(f"“{name}”" for name in classes[:FIRST])
    more = ", …" if len(classes) > FIRST else ""
    raise ValueError(f"There is no class “{text}”. The classifier knows {first}{more}.")
