"""Runs that compare the tiny world's images, and another set to compare them with."""

from typing import Any

from mlcore.models import Classifier, Explanation, ImageSet, Run
from mlcore.runs.perform import perform
from tests.mlcore.runs.world import World, make_world, start

RECIPE = {
    "matchers": "knn,emd_corr", "part": "validation", "gallery_part": "train", "candidates": 8, "votes": 5,
    "neighbours": 4, "batch_size": 2, "device": "cpu",
}  # fmt: skip


def compare(world: World, classifier: Classifier | None, **changes: Any) -> Run:
    """A queued run of RECIPE, with other options in `recipe`."""
    recipe = RECIPE | changes.pop("recipe", {})
    return start(world, "correspond", classifier=classifier, recipe=recipe, **changes)


def done(run: Run, **more: Any) -> Run:
    """The run, performed by the real process."""
    ended = perform(run.uuid, worker_name="here:1", **more)
    assert ended.state == "succeeded", ended.reason + ended.log
    return ended


def answers(run: Run) -> dict[str, dict[str, tuple]]:
    """Way of comparing → image → all that was said of it."""
    return {
        made.method: {
            str(row.image.uuid): (row.target, row.payload, row.data)
            for row in Explanation.objects.filter(set=made).select_related("image")
        }
        for made in run.explanation_sets.all()
    }


def told(run: Run) -> dict[str, Any]:
    """The result without what differs from one time to the next."""
    found = dict(run.result["comparison"])
    differs = ("milliseconds", "set")
    found["ways"] = [{key: value for key, value in way.items() if key not in differs} for way in found["ways"]]
    found["features"] = [{key: row[key] for key in ("layer", "shape")} for row in found["features"]]
    return found


def other_set(classes: list[str], name: str = "gallery") -> ImageSet:
    """The world's pictures once more under another name, with class names of its own."""
    made = make_world(name, masks=False).image_set
    made.classes = classes
    made.save()
    return made
