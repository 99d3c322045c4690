"""What train, explain and evaluate have in common: start the run; with --wait perform it here, with a bar."""

import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import Bar
from mlcore.management.arguments import add_owner, find, find_owner, find_partition, options_of, sentence_of
from mlcore.models import Classifier, ImageSet, Run
from mlcore.runs.devices import CPU, CUDA, Device, NoSuchDevice, owned
from mlcore.runs.perform import perform
from mlcore.runs.start import RunRefused, start_run
from mlcore.runs.workers import worker_name

POLL_SECONDS = 0.5
INSTEAD = {
    CPU: "HARMONY_DEVICE=cpu:1 computes beside it.",
    CUDA: "HARMONY_DEVICE=cuda:1 (or cpu) names another device.",
}


class RunCommand(BaseCommand):
    """A command that starts a run of `kind`."""

    kind: str
    # Options of the recipe that have a flag of their own; every other is reached by --option.
    flags: tuple[str, ...] = ()
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--image-set", "--images", required=True, metavar="NAME", help="name or UUID of the images")
        parser.add_argument("--partition", metavar="NAME", help="name or UUID; may be left out where there is only one")
        self.add_classifier(parser)
        parser.add_argument("--name", help="what the run (and its classifier) is called")
        parser.add_argument("--seed", type=int, default=0, help="every chance in the run follows from it (default 0)")
        parser.add_argument(
            "--option", action="append", default=[], metavar="KEY=VALUE", help="any option of the recipe; repeatable"
        )
        parser.add_argument("--wait", action="store_true", help="perform the run here and now instead of queueing it")
        for flag in self.flags:
            parser.add_argument(f"--{flag.replace('_', '-')}", dest=flag)
        add_owner(parser)

    def add_classifier(self, parser: ArgumentParser) -> None:
        """--classifier: one, unless the kind of run takes another number."""
        parser.add_argument("--classifier", metavar="NAME", help="name or UUID of the classifier")

    def wish(self, options: dict[str, Any]) -> dict[str, Any]:
        """The arguments of `start_run`."""
        image_set = find(ImageSet, options["image_set"])
        recipe: dict[str, Any] = dict(options_of(options["option"]))
        recipe |= {flag: options[flag] for flag in self.flags if options[flag] is not None}
        return {
            "kind": self.kind,
            "name": options["name"] or self.default_name(image_set, recipe),
            "owner": find_owner(options["owner"]),
            "image_set": image_set,
            "partition": find_partition(image_set, options["partition"]),
            "classifier": find(Classifier, options["classifier"]) if options["classifier"] else None,
            "recipe": recipe,
            "seed": options["seed"],
        }

    def default_name(self, image_set: ImageSet, recipe: dict[str, Any]) -> str:
        """A name for a run that was given none."""
        return f"{self.kind} {image_set.name}"[:160]

    def handle(self, *args: Any, **options: Any) -> None:
        if options["wait"]:
            device_here()
        try:
            run = start_run(**self.wish(options), enqueue=not options["wait"])
        except RunRefused as refused:
            raise sentence_of(refused) from refused
        self.go_on(run, options)

    def go_on(self, run: Run, options: dict[str, Any]) -> None:
        """Wait for the run, or say where it stands in the queue."""
        if not options["wait"]:
            self.stdout.write(f"{run.uuid} queued: {run.name}")
            return
        run = perform_here(run)
        self.stdout.write(self.style.SUCCESS(f"{run.uuid} {run.state}: {run.name}"))
        for score in run.scores.order_by("part", "metric"):
            value = "–" if score.value is None else f"{score.value:.4f}"
            self.stdout.write(f"  {score.part:<16}{score.metric:<28}{value}  (n = {score.n})")


def device_here() -> Device:
    """What this process owns. Raises CommandError; asked before a run is queued, which a worker would take later."""
    try:
        return owned()
    except NoSuchDevice as error:
        raise CommandError(str(error)) from error


def perform_here(run: Run) -> Run:
    """Perform with a bar, or follow the worker that was faster. Raises CommandError unless it succeeds."""
    device = device_here()
    device.take()
    bar = Bar(run.name)

    def waits(why: str) -> None:
        sys.stderr.write(f"{why} This run waits for it. {INSTEAD[device.kind]}\n")

    try:
        run = perform(
            run.uuid,
            worker_name=f"{worker_name()} (command line)",
            on_event=bar.event,
            slot=device.slot,
            on_wait=waits,
        )
        while run.state in Run.OPEN:
            bar(run.step, run.total_steps, run.stage, run.seconds_left)
            time.sleep(POLL_SECONDS)
            run.refresh_from_db()
    except KeyboardInterrupt:
        bar.end()
        raise CommandError(
            f"Stopped. “manage.py resume_run {str(run.uuid)[:8]}” goes on from its checkpoint.", returncode=130
        ) from None
    finally:
        bar.end()
    if run.state != Run.State.SUCCEEDED:
        raise CommandError(f"{run.name} {run.get_state_display()}: {run.reason}")
    return run
