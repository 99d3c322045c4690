"""manage.py export_pairs --tuned "focus copy" --study "Focus?" --out pairs.zip"""

from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation import publishing
from annotation.errors import StudyRefused
from annotation.exchange.bundle import write_bundle
from annotation.exchange.harmony_app_export import FIRST_KEY, write_harmony_app
from annotation.models import Study
from annotation.pair_studies import create_pair_study
from mlcore.catalogue import METHODS
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.exchange.pairs import USUAL, Cell, PairsRefused, make_pairs
from mlcore.management.arguments import add_owner, find, find_owner, find_partition, options_of, sentence_of
from mlcore.management.run_command import perform_here
from mlcore.models import Classifier, ExplanationSet, ImageSet, PairSet, Partition
from mlcore.models.partitions import Part
from mlcore.runs.pair_maps import both_maps, explain_runs, score_run, tuned_for, usual_way
from mlcore.runs.start import RunRefused


@dataclass(frozen=True)
class Asked:
    """One cell as it was asked for."""

    original: Classifier
    tuned: Classifier
    metric: str
    method: str
    layer: str


class Command(BaseCommand):
    help = (
        "Make attribution pairs of an original classifier and of copies that were tuned for a metric, a blind "
        "preference study of them, and one file that carries both elsewhere (manage.py import_pairs). Maps and scores "
        "that are missing are made here and now."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--tuned", action="append", required=True, metavar="CLASSIFIER",
            help="name or UUID of a tuned classifier; repeatable: each makes a cell a method",
        )  # fmt: skip
        parser.add_argument(
            "--original", metavar="CLASSIFIER", help="name or UUID; default: the one that it was tuned from"
        )
        parser.add_argument(
            "--metric", action="append", metavar="NAME",
            help="what it was tuned for, once for all or once for each; default: as its run says",
        )  # fmt: skip
        parser.add_argument(
            "--method", action="append", metavar="NAME", help="repeatable; default: as it was tuned through"
        )
        parser.add_argument("--layer", help="default: as it was tuned through, else the method's own")
        parser.add_argument(
            "--option",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="of the runs that make maps here, such as rise.masks=500 or batch_size=16",
        )
        parser.add_argument("--image-set", metavar="NAME", help="default: the images of the tuning")
        parser.add_argument("--partition", metavar="NAME", help="default: the partition of the tuning")
        parser.add_argument("--part", default=Part.TEST.value, choices=Part.values, help="default: test")
        parser.add_argument("--n", type=int, default=USUAL, help=f"pairs of a cell at most (default {USUAL})")
        parser.add_argument("--no-scores", action="store_true", help="do not measure the metric of both sets of maps")
        parser.add_argument("--study", metavar="NAME", help="make a study of that name; a draft without --publish")
        parser.add_argument("--k", type=int, metavar="PEOPLE", help="answers a pair gets; default: from everyone")
        parser.add_argument("--publish", action="store_true", help="the study is live at once")
        parser.add_argument("--out", type=Path, metavar="FILE.zip", help="where the pairs are written to")
        parser.add_argument(
            "--format", default="harmony", choices=("harmony", "harmony_app"),
            help="harmony: a bundle of the study; harmony_app: fixture and pictures of the released project",
        )  # fmt: skip
        parser.add_argument(
            "--first-key", type=int, default=FIRST_KEY, help="harmony_app: key of the first example (default 1)"
        )
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["out"] and options["format"] == "harmony" and not options["study"]:
            raise CommandError("A bundle carries a study: give it a name by --study.")
        if options["publish"] and not options["study"]:
            raise CommandError("There is no study to publish: give it a name by --study.")
        owner = find_owner(options["owner"])
        asked = self._asked(options)
        partition = _partition(options, asked[0].tuned)
        try:
            cells = [self._cell(one, partition, options, owner) for one in asked]
            pair_sets = make_pairs(cells, partition=partition, part=options["part"], n=options["n"], owner=owner)
            for pair_set in pair_sets:
                self.stdout.write(line(pair_set))
            study = self._study(pair_sets, options, owner) if options["study"] else None
            if options["out"]:
                self._write(study, pair_sets, options)
        except RunRefused as refused:
            raise sentence_of(refused) from refused
        except (PairsRefused, StudyRefused) as refused:
            raise CommandError(str(refused)) from refused
        except OSError as error:
            raise CommandError(f"{options['out']} cannot be written ({error.strerror or error}).") from error

    def _asked(self, options: dict[str, Any]) -> list[Asked]:
        tuned = [find(Classifier, name) for name in options["tuned"]]
        metrics = options["metric"] or []
        if len(metrics) not in (0, 1, len(tuned)):
            raise CommandError(f"Give --metric once, or once for each of the {len(tuned)} tuned classifiers.")
        found = []
        for place, one in enumerate(tuned):
            metric = metrics[place % len(metrics)] if metrics else tuned_for(one)
            if metric is None:
                raise CommandError(f"“{one}” was not tuned by a run here: say by --metric what it was tuned for.")
            if metric not in LEARNABLE:
                raise CommandError(f"There is no metric “{metric}” to tune for. Known: {', '.join(LEARNABLE)}.")
            original = find(Classifier, options["original"]) if options["original"] else one.parent
            if original is None:
                raise CommandError(f"“{one}” does not say what it was tuned from: name it by --original.")
            usual, layer = usual_way(one)
            for method in options["method"] or [usual]:
                if method not in METHODS:
                    raise CommandError(f"There is no method “{method}”. Known: {', '.join(METHODS)}.")
                own = options["layer"] if options["layer"] is not None else (layer if method == usual else "")
                found.append(Asked(original, one, metric, method, own))
        return found

    def _cell(self, asked: Asked, partition: Partition, options: dict[str, Any], owner: Any) -> Cell:
        part, given = options["part"], dict(options_of(options["option"]))
        way = {"partition": partition, "part": part, "method": asked.method, "layer": asked.layer}
        there = both_maps(asked.original, asked.tuned, **way)
        sets: list[ExplanationSet | None] = [there.original, there.tuned]
        if given or not there.complete:
            # Those of another method that is asked for beside this one are not its own.
            own = {k: value for k, value in given.items() if "." not in k or k.startswith(f"{asked.method}.")}
            runs = explain_runs(asked.original, asked.tuned, **way, options=own, owner=owner)
            sets = [perform_here(run).explanation_sets.get(method=asked.method) for run in runs]
        original, tuned = sets
        assert original is not None
        assert tuned is not None
        if not options["no_scores"]:
            try:
                run = score_run(asked.metric, original, tuned, partition=partition, part=part, owner=owner)
            except RunRefused as refused:
                raise CommandError(f"{sentence_of(refused)}\nWithout the values of the metric: --no-scores.") from None
            if run is not None:
                perform_here(run)
        return Cell(asked.metric, original, tuned)

    def _study(self, pair_sets: list[PairSet], options: dict[str, Any], owner: Any) -> Study:
        study = create_pair_study(pair_sets, name=options["study"], owner=owner, answers_per_trial=options["k"])
        if options["publish"]:
            publishing.publish(study, owner)
        state = "live" if options["publish"] else "a draft"
        self.stdout.write(f"{study.uuid} {study}: {study.main_trials} trials, {state}")
        return study

    def _write(self, study: Study | None, pair_sets: list[PairSet], options: dict[str, Any]) -> None:
        out: Path = options["out"]
        if options["format"] == "harmony_app":
            number = write_harmony_app(pair_sets, out, first_key=options["first_key"])
            self.stdout.write(self.style.SUCCESS(f"{out}: {number} examples with their pictures"))
            return
        assert study is not None
        manifest = write_bundle([study], out)
        self.stdout.write(self.style.SUCCESS(f"{out}: “{study}” with {len(manifest['files'])} files"))


def _partition(options: dict[str, Any], tuned: Classifier) -> Partition:
    run = tuned.run
    if options["image_set"]:
        image_set = find(ImageSet, options["image_set"])
    elif run is not None:
        image_set = run.image_set
    else:
        raise CommandError(f"“{tuned}” was not made by a run here: name the images by --image-set.")
    same = run is not None and run.partition is not None and run.partition.image_set_id == image_set.pk
    if not options["partition"] and same:
        assert run is not None
        assert run.partition is not None
        return run.partition
    partition = find_partition(image_set, options["partition"])
    if partition is None:
        raise CommandError(f"“{image_set}” has several partitions, or none: name one by --partition.")
    return partition


def line(pair_set: PairSet) -> str:
    """One cell in words: pairs of those wanted, agreement, and the metric's mean before and after."""
    spec = pair_set.spec
    said = f"{pair_set.uuid} {pair_set}: {spec['pairs']} of {spec['wanted']} pairs"
    if pair_set.agreement is not None:
        said += f", same prediction on {100 * pair_set.agreement:.1f} % of {spec['images']} images"
    values = [
        (before, after)
        for before, after in pair_set.pairs.values_list("before", "after")
        if before is not None and after is not None
    ]
    if values:
        means = [sum(column) / len(values) for column in zip(*values, strict=True)]
        said += f", {spec['scores']['metric']} {means[0]:.4f} → {means[1]:.4f} (n = {len(values)})"
    return said
