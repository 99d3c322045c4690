"""Fixed lists: each person is given one list of trials and answers it in its order."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from annotation.errors import StudyRefused
from annotation.models import ListEntry, Study, Trial, TrialList
from annotation.models.studies import Phase
from mlcore.models import Image

MOST_LISTS = 10_000


@dataclass(frozen=True)
class ListPlan:
    """Lists as they were given, or how to make them.

    `given`: for each list its images, or pairs of image and condition, in order. Otherwise `length` trials a list,
    so that every trial is in `repeats` lists.
    """

    given: Sequence[Sequence[Image | tuple[Image, str]]] = ()
    length: int = 0
    repeats: int = 1


def write_lists(study: Study, plan: ListPlan) -> int:
    """Write the lists of a new study; how many that were. Raises StudyRefused naming the list and the image."""
    lists = _given(study, plan.given) if plan.given else _made(study, plan.length, plan.repeats)
    if len(lists) > MOST_LISTS:
        raise StudyRefused(f"There would be {len(lists)} lists; at most {MOST_LISTS} are possible.")
    rows = TrialList.objects.bulk_create(TrialList(study=study, number=number) for number in range(1, len(lists) + 1))
    ListEntry.objects.bulk_create(
        (
            ListEntry(trial_list=row, trial_id=trial, position=position)
            for row, trials in zip(rows, lists, strict=True)
            for position, trial in enumerate(trials)
        ),
        batch_size=1000,
    )
    return len(lists)


def _given(study: Study, given: Sequence[Sequence[Image | tuple[Image, str]]]) -> list[list[int]]:
    known: dict[int, dict[str, int]] = defaultdict(dict)
    main = Trial.objects.filter(study=study, phase=Phase.MAIN)
    for trial, image, arm in main.values_list("pk", "image", "arm__name"):
        known[image][arm or ""] = trial
    lists = []
    for number, entries in enumerate(given, 1):
        trials: list[int] = []
        for entry in entries:
            image, condition = entry if isinstance(entry, tuple) else (entry, "")
            choices = known.get(image.pk, {})
            if not choices:
                raise StudyRefused(f"List {number}: image {image.name} is not in this study.")
            if not condition and len(choices) == 1:
                condition = next(iter(choices))
            if condition not in choices:
                raise StudyRefused(
                    f"List {number}, image {image.name}: say which condition. Conditions: {', '.join(sorted(choices))}."
                )
            if choices[condition] in trials:
                raise StudyRefused(f"List {number} has image {image.name} twice.")
            trials.append(choices[condition])
        if not trials:
            raise StudyRefused(f"List {number} is empty.")
        lists.append(trials)
    return lists


def _made(study: Study, length: int, repeats: int) -> list[list[int]]:
    """Shuffled once a repeat and cut into pieces of even length. Where a person meets an image only once, each list
    takes the conditions in turn, so that every list holds all of them equally often."""
    if length < 1 or repeats < 1:
        raise StudyRefused("A list has at least one trial, and every trial is in at least one list.")
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    main = Trial.objects.filter(study=study, phase=Phase.MAIN).order_by("random_key", "pk")
    for trial, image, arm in main.values_list("pk", "image", "arm"):
        found[image].append((arm or 0, trial))
    # The conditions of every image in one order, so that taking them in turn takes each as often.
    by_image = {image: [trial for _, trial in sorted(trials)] for image, trials in found.items()}
    rng = random.Random(f"{study.seed}/lists")
    images = list(by_image)
    lists: list[list[int]] = []
    for _ in range(repeats):
        rng.shuffle(images)
        if study.image_once:
            turns = len(by_image[images[0]])
            passes = [
                [by_image[image][(rank + turn) % turns] for rank, image in enumerate(images)] for turn in range(turns)
            ]
        else:
            whole = [trial for image in images for trial in by_image[image]]
            rng.shuffle(whole)
            passes = [whole]
        for trials in passes:
            pieces = -(-len(trials) // length)
            cuts = [round(index * len(trials) / pieces) for index in range(pieces + 1)]
            for start, end in pairwise(cuts):
                piece = trials[start:end]
                rng.shuffle(piece)
                lists.append(piece)
    return lists
