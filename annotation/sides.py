"""In which order a person sees the stimuli of a trial: drawn once, kept on the assignment, balanced by an urn.

With two stimuli the urn holds one ticket for each side: after every second draw both are used up, so that over the
answered and open trials of a person left and right differ by at most one, whatever the number of the trial and the
condition. With more stimuli the urn balances which one comes first, and the rest are shuffled.
"""

import random
from collections.abc import Mapping, Sequence

from annotation.models import Participant, Trial


def draw_order(person: Participant, trial: Trial, slots: Sequence[int], firsts: Mapping[int, int]) -> list[int]:
    """The slots in the order in which this person sees them.

    `firsts`: slot → in how many trials that the person has answered or holds it came first. Call with the person's
    row locked, so that no second draw happens meanwhile.
    """
    if len(slots) < 2:
        return list(slots)
    rng = random.Random(f"{person.study.seed}/{person.uuid}/{trial.uuid}")
    fewest = min(firsts.get(slot, 0) for slot in slots)
    chosen = rng.choice([slot for slot in slots if firsts.get(slot, 0) == fewest])
    rest = [slot for slot in slots if slot != chosen]
    rng.shuffle(rest)
    return [chosen, *rest]


def keeps_balance(order: Sequence[int], firsts: Mapping[int, int]) -> bool:
    """Whether this order, taken up again, leaves the person's firsts within one of each other."""
    if len(order) < 2:
        return True
    counts = [firsts.get(slot, 0) + (slot == order[0]) for slot in order]
    return max(counts) - min(counts) <= 1
