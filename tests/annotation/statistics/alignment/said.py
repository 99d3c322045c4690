"""Answers for these tests, written short."""

from dataclasses import replace
from typing import Any

import numpy as np

from annotation.statistics.alignment.rows import Rows, rows_of

CHOICES = {"o": -1, "n": 0, "t": 1}


def said(table: dict[str, str], *, cell: str = "cell", left: Any = -1) -> list[tuple[Any, ...]]:
    """rater → a letter for each image: o original, n neither, t tuned, a space where the image was not answered."""
    return [
        (rater, f"image {place:03}", cell, CHOICES[letter], left, -1)
        for rater, letters in table.items()
        for place, letter in enumerate(letters)
        if letter != " "
    ]


def rows(table: dict[str, str], **values: Any) -> Rows:
    return rows_of(said(table, **values))


def crowd(seed: int = 0, *, people: int = 12, images: int = 9, cells: int = 2, tuned: float = 0.5) -> Rows:
    """Everyone about every image of every cell, with sides; some images and some people prefer the tuned map more."""
    random = np.random.default_rng(seed)
    own, of_image = random.normal(0, 0.5, people), random.normal(0, 0.5, (cells, images))
    answers = []
    for person in range(people):
        for cell in range(cells):
            for image in range(images):
                value = tuned + own[person] + of_image[cell, image] + random.normal()
                choice = 0 if abs(value) < 0.5 else int(np.sign(value))
                side = int(random.integers(2))
                answers.append((f"p{person:02}", f"image {image:03}", f"cell {cell}", choice, side, 1000))
    return rows_of(answers)


def swapped(given: Rows) -> Rows:
    """The same answers where original and tuned have changed places."""
    return replace(given, choice=-given.choice, left=np.where(given.left < 0, given.left, 1 - given.left))
