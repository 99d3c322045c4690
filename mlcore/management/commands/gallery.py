"""manage.py gallery build|list|delete|recall: features of image sets, computed once (docs/galleries.md)."""

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import Bar
from mlcore.management.arguments import add_owner, find, find_owner, options_of
from mlcore.management.one_question import ask
from mlcore.management.run_command import device_here
from mlcore.models import Classifier, FeatureGallery, ImageSet
from mlcore.runs import galleries
from mlcore.runs.correspond_features import in_bytes
from mlcore.runs.inquiries import keep_layers
from mlcore.runs.questions import layers_question


class Command(BaseCommand):
    help = "Features of image sets by a classifier's layer: compute or complete them, list and delete them."
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="build|list|delete|recall")
        build = actions.add_parser("build", help="compute what is missing, drop what is gone")
        build.add_argument("--classifier", required=True, metavar="NAME", help="name or UUID")
        build.add_argument("--image-set", required=True, metavar="NAME", help="name or UUID")
        build.add_argument("--layer", default="", help="empty: the last with cells")
        build.add_argument(
            "--option",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="image_size, resize or normalise, where they are not the classifier's own; repeatable",
        )
        build.add_argument("--batch-size", type=int, default=32, metavar="N")
        build.add_argument("--estimate", action="store_true", help="only say how large it would be")
        add_owner(build)
        actions.add_parser("list", help="what there is, and what is left of deleted classifiers and sets")
        delete = actions.add_parser("delete", help="delete galleries with their files")
        delete.add_argument("gallery", nargs="*", help="UUID or its beginning")
        delete.add_argument("--orphans", action="store_true", help="files whose classifier or set is gone")
        compared = actions.add_parser("recall", help="compare approximate searches with the exact one")
        compared.add_argument("gallery", help="UUID or its beginning")
        compared.add_argument("-k", type=int, default=50, metavar="N", help="neighbours (default 50)")
        compared.add_argument("--queries", type=int, default=200, metavar="N", help="of its images (default 200)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except galleries.GalleryRefused as refused:
            raise CommandError(str(refused)) from refused

    def _build(self, options: dict[str, Any]) -> None:
        if options["batch_size"] < 1:
            raise CommandError("--batch-size: at least one image is computed at a time.")
        wanted = _plan(options)
        if wanted.bytes is None and not wanted.classifier.layers:
            keep_layers(wanted.classifier, ask(lambda: layers_question(wanted.classifier)))
            wanted = _plan(options)
        self.stdout.write(wanted.sentence)
        if options["estimate"]:
            return
        if wanted.missing is not None and wanted.missing > wanted.free:
            raise CommandError(f"The disk has {in_bytes(wanted.free)} free, which is too little.")
        row, computed = self._filled(wanted, options)
        gone = f"; {wanted.images - computed} were there" if computed < wanted.images else ""
        self.stdout.write(
            self.style.SUCCESS(
                f"{row.uuid} {row.images} images, {row.channels} × {row.height} × {row.width}, {in_bytes(row.bytes)} "
                f"({computed} computed{gone})"
            )
        )

    def _filled(self, wanted: galleries.Plan, options: dict[str, Any]) -> tuple[FeatureGallery, int]:
        from mlcore.correspondence.store import GalleryCancelled
        from mlcore.training.galleries import fill

        device = device_here()
        device.take()
        bar = Bar(f"{wanted.layer} of {wanted.image_set}")
        with tempfile.TemporaryDirectory() as workdir:
            job = galleries.job_of(wanted, device=device.kind, batch_size=options["batch_size"], workdir=Path(workdir))
            try:
                gallery, computed = fill(job, progress=bar, tell=lambda text: self.stderr.write(text))
            except (ValueError, OSError, GalleryCancelled) as error:
                raise CommandError(str(error)) from error
            except KeyboardInterrupt:
                raise CommandError(
                    "Stopped. What is computed stays; the same command goes on.", returncode=130
                ) from None
            finally:
                bar.end()
        row = galleries.row_for(wanted, find_owner(options["owner"]))
        galleries.note(row, shape=gallery.shape, images=len(gallery), nbytes=gallery.nbytes)
        return row, computed

    def _list(self, options: dict[str, Any]) -> None:
        rows = list(FeatureGallery.objects.select_related("classifier", "image_set"))
        for row in rows:
            gone = "" if galleries.is_there(row) else ", files are gone"
            self.stdout.write(
                f"{str(row.uuid)[:8]}  {row}: {row.images} images, {row.channels} × {row.height} × {row.width}, "
                f"{in_bytes(row.bytes)}{gone}"
            )
        if not rows:
            self.stdout.write("There is no gallery yet.")
        left = galleries.orphans()
        if left:
            self.stdout.write(
                f"{len(left)} more without their classifier or set; “manage.py gallery delete --orphans” deletes them."
            )

    def _delete(self, options: dict[str, Any]) -> None:
        if not options["gallery"] and not options["orphans"]:
            raise CommandError("Name a gallery by its UUID, or give --orphans.")
        rows = [find(FeatureGallery, given) for given in options["gallery"]]
        freed = sum(galleries.delete_gallery(row, None) for row in rows)
        if options["orphans"]:
            freed += galleries.delete_orphans()
        self.stdout.write(self.style.SUCCESS(f"{in_bytes(freed)} are free again."))

    def _recall(self, options: dict[str, Any]) -> None:
        from mlcore.correspondence.compared_searches import compared_searches
        from mlcore.correspondence.store import Gallery, GalleryCorrupt, GalleryMissing

        row = find(FeatureGallery, options["gallery"])
        try:
            gallery = Gallery.open(galleries.folder_for(row))
            self.stdout.write(f"{row}: {len(gallery)} images, {options['k']} neighbours of {options['queries']}")
            self.stdout.write(f"{'search':<8}{'made in':>12}{'a query':>12}{'recall':>10}")
            for cost in compared_searches(gallery.pooled_rows, k=options["k"], queries=options["queries"]):
                self.stdout.write(
                    f"{cost.kind:<8}{cost.made:>10.2f} s{1000 * cost.each:>9.2f} ms{100 * cost.recall:>8.1f} %"
                )
        except (GalleryMissing, GalleryCorrupt) as error:
            raise CommandError(f"{error} “manage.py gallery build” makes it anew.") from error
        except ValueError as error:
            raise CommandError(str(error)) from error


def _plan(options: dict[str, Any]) -> galleries.Plan:
    return galleries.plan(
        find(Classifier, options["classifier"]),
        find(ImageSet, options["image_set"]),
        layer=options["layer"],
        transform=options_of(options["option"]),
    )
