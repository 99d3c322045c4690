"""The reasonability matrix (definitions §2) and what stands around it. "Accurate": the prediction is correct."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from annotation.correctness import correctness
from annotation.models import Study
from annotation.statistics import table
from annotation.statistics.agreement import pairwise, shares
from annotation.statistics.consensus import majority
from annotation.statistics.table import Rating
from annotation.studies.base import Table
from mlcore.models import ExplanationSet

CASES = ("reasonable_accurate", "reasonable_inaccurate", "unreasonable_accurate", "unreasonable_inaccurate")
CASE_TITLES = {
    "reasonable_accurate": "Reasonable, accurate",
    "reasonable_inaccurate": "Reasonable, inaccurate",
    "unreasonable_accurate": "Unreasonable, accurate",
    "unreasonable_inaccurate": "Unreasonable, inaccurate",
}


@dataclass(frozen=True)
class Matrix:
    """Images by case, and their shares. `tied`: evenly split raters; `unknown`: no prediction or no label."""

    counts: dict[str, int]
    shares: dict[str, float | None]
    tied: int
    unknown: int

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def case_of(reasonable: bool, accurate: bool) -> str:
    return f"{'reasonable' if reasonable else 'unreasonable'}_{'accurate' if accurate else 'inaccurate'}"


def matrix(verdicts: Iterable[tuple[bool | None, bool | None]]) -> Matrix:
    """The 2 × 2 matrix of (reasonable, accurate), one pair an image; None where either is not known."""
    counts = dict.fromkeys(CASES, 0)
    tied = unknown = 0
    for reasonable, accurate in verdicts:
        if reasonable is None:
            tied += 1
        elif accurate is None:
            unknown += 1
        else:
            counts[case_of(reasonable, accurate)] += 1
    return Matrix(counts, shares(counts), tied, unknown)


def verdicts(ratings: Iterable[Rating]) -> dict[int, bool | None]:
    """Image → reasonable by majority; None where the raters are evenly split."""
    said: dict[int, list[bool]] = defaultdict(list)
    for rating in ratings:
        said[rating.image].append(rating.reasonable)
    return {image: majority(values) for image, values in said.items()}


def summary(ratings: Sequence[Rating], accurate: Mapping[int, bool]) -> dict[str, Any]:
    """The figures of one explanation set from its ratings and image → prediction correct."""
    agreed = verdicts(ratings)
    found = matrix((verdict, accurate.get(image)) for image, verdict in agreed.items())
    by_image: dict[int, list[Rating]] = defaultdict(list)
    for rating in ratings:
        by_image[rating.image].append(rating)
    agreement = {
        question: pairwise([getattr(rating, question) for rating in rated] for rated in by_image.values())
        for question in ("reasonable", "necessary", "unnecessary", "quality")
    }
    return {
        "ratings": len(ratings),
        "images": len(agreed),
        "reasonable_share": fmean(rating.reasonable for rating in ratings) if ratings else None,
        "necessary_share": fmean(rating.necessary for rating in ratings) if ratings else None,
        "unnecessary_share": fmean(rating.unnecessary for rating in ratings) if ratings else None,
        "mean_quality": fmean(rating.quality for rating in ratings) if ratings else None,
        "matrix": asdict(found),
        "agreement": {name: {"share": value.share, "pairs": value.pairs} for name, value in agreement.items()},
    }


def figures(study: Study, kinds: Sequence[str]) -> dict[str, Any]:
    """All figures of a study, of the people of these kinds, ready for JSON. One entry in `models` a set of maps."""
    by_set: dict[int, list[Rating]] = defaultdict(list)
    answers = set()
    for rating in table.ratings([study], kinds):
        by_set[rating.set].append(rating)
        answers.add(rating.answer)
    shown = ExplanationSet.objects.filter(pk__in=study.trials.values("stimuli__explanation__set"))
    models = []
    for item in shown.select_related("classifier").order_by("pk"):
        rated = by_set.get(item.pk, [])
        accurate = correctness(item.classifier, {rating.image for rating in rated})
        models.append(
            {
                "explanation_set": str(item.uuid),
                "classifier": str(item.classifier.uuid),
                "name": item.classifier.name,
                "method": item.method,
                **summary(rated, accurate),
            }
        )
    milliseconds = table.median_milliseconds([study], kinds)
    return {
        "kinds": list(kinds),
        "people": table.people([study], kinds),
        "answers": len(answers),
        "median_seconds": None if milliseconds is None else milliseconds / 1000,
        "models": models,
    }


def tables(found: Mapping[str, Any]) -> list[Table]:
    """The figures as tables."""
    models = found["models"]
    comparison = Table(
        "Models compared",
        ("Model", "Method", "Images", "Ratings", "Reasonable", "Necessary details", "Unnecessary details",
         "Mean quality (1–5)", "Pairs that agree on reasonable"),
        [
            (m["name"], m["method"], m["images"], m["ratings"], m["reasonable_share"], m["necessary_share"],
             m["unnecessary_share"], m["mean_quality"], m["agreement"]["reasonable"]["share"])
            for m in models
        ],
    )  # fmt: skip
    cases = Table("Reasonability matrix (images, majority of raters)", ("Model", "Case", "Images", "Share"))
    for model in models:
        counted = model["matrix"]
        cases.rows.extend(
            (model["name"], CASE_TITLES[case], counted["counts"][case], counted["shares"][case]) for case in CASES
        )
        cases.rows.append((model["name"], "Evenly split: not rated", counted["tied"], None))
        cases.rows.append((model["name"], "No prediction or no label", counted["unknown"], None))
    return [comparison, cases]
