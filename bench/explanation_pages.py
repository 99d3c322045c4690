"""How fast are the pages about maps with 5,000 explanations? Milliseconds and queries of each page, side by side.

    python -m bench.explanation_pages [--images 5000] [--small 50] [--rounds 10]

Makes a set of images under two classifiers × three methods with real shards (7 × 7 and 224 × 224), scored by six
metrics with a value for every image, in a temporary SQLite database; and the same with few images. One set of the
large world holds --images explanations, the others a tenth, as do their scores. Every page is asked for through
Django's whole stack; the median of --rounds after two that warm up. Exits with 1 where a page of the large world
takes 300 ms or more, or more queries than in the small one. Beside the time stands that of the processor alone,
which says more while something else runs.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from typing import Any

BUDGET = 300.0
METHODS = (("grad_cam", 7), ("layer_cam", 7), ("input_x_gradient", 224))
METRICS = ("pointing", "content_heat_map", "deletion", "insertion", "complexity", "sparseness")
SHARD = 32


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=5000)
    arguments.add_argument("--small", type=int, default=50)
    arguments.add_argument("--rounds", type=int, default=10)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="harmony-explanations-") as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "harmony.settings", "HARMONY_VAR": folder, "DEBUG": "1"}
        os.environ |= {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "STORAGE_URL": f"file://{folder}/media"}
        os.environ.setdefault("SECRET_KEY", "bench-" + "x" * 50)
        import django

        django.setup()
        from django.test.utils import setup_databases, setup_test_environment, teardown_databases

        setup_test_environment()
        databases = setup_databases(verbosity=0, interactive=False)
        try:
            return _compare(given)
        finally:
            teardown_databases(databases, verbosity=0)


def _compare(given: argparse.Namespace) -> int:
    from django.test import Client

    from annotation.people import add_researcher

    owner = add_researcher("bench")
    client = Client()
    client.force_login(owner)
    worlds = [_world(owner, number) for number in (given.small, given.images)]
    print(f"{'page':<24} {given.small:>6} images     {given.images:>6} images")
    failed = False
    for name in worlds[0]:
        (small, _, few), (large, busy, many) = (_measure(client, world[name], given.rounds) for world in worlds)
        ok = large < BUDGET and many <= few
        failed |= not ok
        times = f"{small:>6.0f} ms {few:>3} q   {large:>6.0f} ms ({busy:.0f} ms of processor) {many:>3} q"
        print(f"{name:<24} {times}  {'ok' if ok else 'OVER'}", flush=True)
    return int(failed)


def _measure(client: Any, address: str, rounds: int) -> tuple[float, float, int]:
    """Median milliseconds, those of the processor, and the queries of one more."""
    from django.db import connection, reset_queries
    from django.test.utils import CaptureQueriesContext

    times, busy = [], []
    for _ in range(rounds + 2):
        reset_queries()
        started, worked = time.perf_counter(), time.process_time()
        answer = client.get(address)
        times.append(1000 * (time.perf_counter() - started))
        busy.append(1000 * (time.process_time() - worked))
        assert answer.status_code == 200, (address, answer.status_code)
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    return statistics.median(times[2:]), statistics.median(busy[2:]), len(queries)


def _world(owner: Any, number: int) -> dict[str, str]:
    """Rows and files; name → address."""
    import numpy as np
    from django.core.files.base import ContentFile
    from django.urls import reverse
    from PIL import Image as Pictures

    from mlcore.models import Classifier, Explanation, ExplanationSet, Image, ImageLabel, ImageSet, Prediction

    rng = np.random.default_rng(number)
    image_set = ImageSet.objects.create(name=f"{number} images", classes=["Admiral", "Monarch", "Zebra"], owner=owner)
    stream = io.BytesIO()
    Pictures.fromarray(rng.integers(0, 256, (375, 500, 3), dtype=np.uint8)).save(stream, "JPEG")
    first = Image(image_set=image_set, name="0.jpg", sha256="0" * 64, width=500, height=375)
    first.file.save("0.jpg", ContentFile(stream.getvalue()), save=True)
    rest = [
        Image(image_set=image_set, name=f"{i}.jpg", sha256=f"{i:064x}", file=first.file.name, width=500, height=375)
        for i in range(1, number)
    ]
    images = [first, *Image.objects.bulk_create(rest, batch_size=500)]
    ImageLabel.objects.bulk_create((ImageLabel(image=one, index=one.pk % 3) for one in images), batch_size=500)
    sets = []
    for name in ("original", "tuned"):
        net = Classifier.objects.create(name=name, architecture="squeezenet1_1", classes=image_set.classes, owner=owner)
        Prediction.objects.bulk_create(
            (Prediction(classifier=net, image=one, label=0, confidence=0.8) for one in images), batch_size=500
        )
        for method, side in METHODS:
            made = ExplanationSet.objects.create(
                classifier=net, image_set=image_set, owner=owner, method=method, code_version="1",
                hash=f"{number}{name}{method}",
            )  # fmt: skip
            sets.append(made)
            shown = images if len(sets) == 1 else images[: max(1, number // 10)]
            Explanation.objects.bulk_create(_maps(made, shown, side, rng), batch_size=500)
    run = _scores(owner, image_set, sets, images, rng)
    one = Explanation.objects.filter(set=sets[2]).order_by("-pk").first()
    assert one is not None
    place = {"image_set": [image_set.pk], "set": [sets[0].pk]}
    return {
        "explanation set": reverse("admin:mlcore_explanationset_change", args=place["set"]),
        "explanation set, wrong": reverse("admin:mlcore_explanationset_change", args=place["set"]) + "?show=wrong",
        "compare, first image": reverse("admin:mlcore_imageset_maps", args=place["image_set"]),
        "compare, common scale": reverse("admin:mlcore_imageset_maps", args=place["image_set"])
        + f"?image={images[number // 20].pk}&scale=common",
        "score table": reverse("admin:mlcore_imageset_scores", args=place["image_set"]),
        "score table, sorted": reverse("admin:mlcore_imageset_scores", args=place["image_set"]) + "?sort=pointing",
        "best and worst": reverse("admin:mlcore_explanationset_extremes", args=place["set"]),
        "score run": reverse("admin:mlcore_run_change", args=[run.pk]),
        "form of a score run": reverse("admin:mlcore_run_start") + f"?kind=score&image_set={image_set.pk}",
        "a layer, 224 × 224": reverse(
            "admin:mlcore_explanationset_layer", args=[one.pk, "overlay", "cividis", 480]
        ),
    }  # fmt: skip


def _maps(made: Any, images: list[Any], side: int, rng: Any) -> list[Any]:
    """Shards as an explain run leaves them."""
    import numpy as np
    from django.core.files.base import ContentFile
    from django.core.files.storage import default_storage

    from mlcore.models import Explanation

    rows = []
    for start in range(0, len(images), SHARD):
        part = images[start : start + SHARD]
        maps = rng.random((len(part), side, side), dtype=np.float32) - (0.5 if side > 100 else 0.0)
        stream = io.BytesIO()
        np.savez_compressed(stream, maps=maps)
        shard = default_storage.save(f"explanations/{made.uuid}/{start:05}.npz", ContentFile(stream.getvalue()))
        rows += [
            Explanation(
                set=made, image=image, shard=shard, index=index, height=side, width=side,
                maximum=float(maps[index].max()), target=1,
            )
            for index, image in enumerate(part)
        ]  # fmt: skip
    return rows


def _scores(owner: Any, image_set: Any, sets: list[Any], images: list[Any], rng: Any) -> Any:
    from django.utils import timezone

    from mlcore.models import Run, Score

    now = timezone.now()
    run = Run.objects.create(
        name="scores", kind="score", owner=owner, image_set=image_set, state="succeeded", started=now, ended=now,
        recipe={"metrics": list(METRICS), "part": "all"},
        manifest={"all": [[str(one.uuid), 0, one.sha256] for one in images]},
    )  # fmt: skip
    run.explanation_sets.set(sets)
    for place, made in enumerate(sets):
        shown = images if place == 0 else images[: max(1, len(images) // 10)]
        for metric in METRICS:
            values = rng.random(len(shown))
            Score.objects.create(
                run=run, classifier=made.classifier, explanation_set=made, part="all", metric=metric,
                value=float(values.mean()), low=0.4, high=0.6, n=len(shown), left_out={"constant": 2},
                per_image={str(image.uuid): float(value) for image, value in zip(shown, values, strict=True)},
            )  # fmt: skip
    return run


if __name__ == "__main__":
    sys.exit(main())
