"""Birds by comparison: accuracies of nearest neighbours, EMD-Corr and CHM-Corr, for docs/correspondence.md.

    HARMONY_TEST_DATA=... HARMONY_VAR=FOLDER python -m bench.correspondence_cub [--write] [--only species families …]

Through the program's own commands, in a deployment of its own below HARMONY_VAR: images, MobileNetV2 of 965 iNaturalist
birds, a correspondence network trained on warps of 240 pictures that are no query of it, and the runs. What is done is
kept: called again it goes on where it was. --write puts the tables into the document.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "correspondence.md"
BEGIN, END = "<!-- figures of bench/correspondence_cub.py -->", "<!-- end of figures -->"
SPECIES, FAMILIES, CLASSIFIER, PARTITION, NETWORK = "CUB", "CUB families", "iNat", "split", "chm"
QUERIES, CHOOSE, TRAIN = 160, 40, 240  # images of the parts test, validation, train; the others are of the gallery
ENOUGH = 10  # images of a family whose images are asked about
TRAINING = {"objective": "correspondence", "width": 64, "epochs": 3, "learning_rate": 2e-3, "batch_size": 10}
ALL = "knn,emd_corr,cosine_corr"
# name → image set, matchers, part, whether families are large ones only, and what stands above the table
RUNS: dict[str, tuple[str, str, str, bool, str]] = {
    "species": (SPECIES, ALL, "all", False, "195 species, leave one out, every image a query"),
    "families": (FAMILIES, ALL, "all", True, f"Families of {ENOUGH} images or more, leave one out"),
    "species-chm": (SPECIES, f"{ALL},chm_corr", "test", False, f"{QUERIES} queries of the test part, species"),
    "families-chm": (FAMILIES, f"{ALL},chm_corr", "test", True, "The same part, families of 10 images or more"),
}


def manage(*arguments: str) -> None:
    print("manage.py", *arguments, file=sys.stderr)
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, check=True)


def prepare(data: Path, folder: Path) -> None:
    """Images, classifier and partition; what is there stays."""
    from mlcore.models import Classifier, ImageSet, Partition

    birds = data / "cub832"
    splits = folder / "splits.csv"
    with (birds / "labels.csv").open() as stream:
        names = sorted(row["file"] for row in csv.DictReader(stream))
    random.Random(0).shuffle(names)
    parts = ["test"] * QUERIES + ["validation"] * CHOOSE + ["train"] * TRAIN
    with splits.open("w") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "split"])
        writer.writerows(zip(names, parts + ["annotation_pool"] * (len(names) - len(parts)), strict=True))
    for name, column in ((SPECIES, "class"), (FAMILIES, "family")):
        if not ImageSet.objects.filter(name=name).exists():
            labels = ["--labels", str(birds / "labels.csv"), "--class-column", column]
            manage("import_images", str(birds / "images"), "--name", name, *labels)
        if not Partition.objects.filter(image_set__name=name, name=PARTITION).exists():
            manage("make_partition", "--image-set", name, "--name", PARTITION, "--splits", str(splits))
    if not Classifier.objects.filter(name=CLASSIFIER).exists():
        weights, classes = data / "weights/mobilenet_v2_inat_bird.npz", data / "weights/inat_bird_classes.txt"
        manage(
            "import_classifier", str(weights), "--name", CLASSIFIER, "--architecture", "mobilenet_v2",
            "--classes", str(classes), "--padding", "tensorflow",
        )  # fmt: skip


def train() -> None:
    """The correspondence network, unless one is there."""
    from mlcore.models import CorrespondenceNetwork

    if not CorrespondenceNetwork.objects.filter(classifier__name=CLASSIFIER).exists():
        options = [f"--option={key}={value}" for key, value in TRAINING.items()]
        where = ["--image-set", SPECIES, "--partition", PARTITION, "--classifier", CLASSIFIER]
        manage("train", *where, "--name", NETWORK, *options, "--wait")


def outcome(name: str) -> Any:
    """The outcome of a run by its name, performed or gone on with where it is not finished."""
    from mlcore.models import Run
    from mlcore.runs.correspond_report import outcome_of

    images, matchers, part, large, _ = RUNS[name]
    runs = Run.objects.filter(kind="correspond", name=name).order_by("-created")
    if not runs.filter(state="succeeded").exists():
        stopped = runs.filter(state__in=("failed", "cancelled")).first()
        if stopped is not None:
            manage("resume_run", str(stopped.uuid), "--wait")
        else:
            more = ["--classes", ",".join(_large())] if large else []
            manage(
                "correspond", "--images", images, "--partition", PARTITION, "--classifier", CLASSIFIER,
                "--matchers", matchers, "--part", part, "--name", name, *more, "--wait",
            )  # fmt: skip
    run = runs.filter(state="succeeded").first()
    found = outcome_of(run) if run is not None else None
    assert found is not None, "a comparison that succeeded has an outcome"
    return found


def _large() -> list[str]:
    """Families with so many images that the vote of 20 can name them."""
    from django.db.models import Count

    from mlcore.models import ImageLabel, ImageSet

    classes = ImageSet.objects.get(name=FAMILIES).classes
    counts = ImageLabel.objects.filter(image__image_set__name=FAMILIES).values("index").annotate(n=Count("pk"))
    return sorted(classes[row["index"]] for row in counts if row["n"] >= ENOUGH)


def table(name: str, found: Any) -> list[str]:
    """Lines of Markdown."""
    lines = [f"{RUNS[name][4]} ({found.queries} queries, {found.gallery} images in the gallery):", ""]
    lines += ["| decided by | right, vote of 20 | first neighbour alone | n | wrong → right | right → wrong | p |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for way in found.ways:
        if not way.accuracy.n:  # the head knows species, and no family by name
            continue
        change = next((one for one in found.changes if (one.before, one.after) == ("knn", way.name)), None)
        changed = f"{change.mended} | {change.broken} | {change.shown_p}" if change else " | | "
        first = _share(way.first) if way.first else ""
        lines.append(f"| {way.title} | {_share(way.accuracy)} | {first} | {way.accuracy.n} | {changed} |")
    return [*lines, ""]


def _share(share: Any) -> str:
    low, high = share.interval
    return f"{share.percent} ({low}–{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), help="which of the tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/correspondence.md")
    given = parser.parse_args()
    data, var = os.environ.get("HARMONY_TEST_DATA", ""), os.environ.get("HARMONY_VAR", "")
    if not data or not var:
        sys.exit("HARMONY_TEST_DATA names the folder of test data, HARMONY_VAR a folder for this deployment.")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "harmony.settings")
    Path(var).mkdir(parents=True, exist_ok=True)
    manage("migrate", "-v0")
    import django

    django.setup()
    prepare(Path(data), Path(var))
    if any(name.endswith("-chm") for name in given.only):
        train()
    text = "\n".join(line for name in given.only for line in table(name, outcome(name)))
    print(text)
    if given.write:
        before, rest = DOCUMENT.read_text("utf-8").split(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}", "utf-8")


if __name__ == "__main__":
    main()
