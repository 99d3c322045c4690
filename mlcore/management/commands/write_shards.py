"""manage.py write_shards Birds OUT --size 10000 --partition split --part train"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import count
from mlcore.exchange.tar_shards import NothingToWrite, write_folder, write_image_set
from mlcore.management.arguments import find, find_partition
from mlcore.models import ImageSet
from mlcore.models.partitions import Part


class Command(BaseCommand):
    help = "Write an image set, a part of it, or a folder of class folders as tar shards (WebDataset's layout)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", help="name or UUID of an image set, or a folder with a folder for each class")
        parser.add_argument("out", type=Path, help="folder of the shards; made where it is not there")
        parser.add_argument("--size", type=int, default=10_000, help="images a shard (default 10000)")
        parser.add_argument("--partition", metavar="NAME", help="may be left out where there is only one")
        parser.add_argument("--part", choices=Part.values, help="only this part of the partition")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["size"] < 1:
            raise CommandError("--size must be 1 or more.")
        try:
            if "/" in options["source"] or Path(options["source"]).is_dir():
                if options["part"] or options["partition"]:
                    raise CommandError("A folder has no partition: leave out --partition and --part.")
                written = write_folder(Path(options["source"]), options["out"], size=options["size"])
            else:
                written = self._of_set(options)
        except (NothingToWrite, ValueError) as refused:
            raise CommandError(str(refused)) from refused
        except OSError as error:
            why = f"{error.strerror}: {error.filename}" if error.strerror and error.filename else str(error)
            raise CommandError(f"The shards cannot be written: {why}") from error
        except KeyboardInterrupt:
            raise CommandError("Stopped: nothing was written.", returncode=130) from None
        self.stdout.write(
            f"{count(written.samples, 'image')} in {count(len(written.shards), 'shard')}: {written.shards[0].name} …"
        )

    def _of_set(self, options: dict[str, Any]) -> Any:
        image_set = find(ImageSet, options["source"])
        partition = None
        if options["part"]:
            partition = find_partition(image_set, options["partition"])
            if partition is None:
                raise CommandError(_which(image_set))
        elif options["partition"]:
            raise CommandError("--partition without --part chooses nothing: name the part, or leave both out.")
        return write_image_set(
            image_set, options["out"], partition=partition, part=options["part"] or "", size=options["size"]
        )


def _which(image_set: ImageSet) -> str:
    """Why no partition can be taken where none was named."""
    names = ", ".join(f"“{one.name}”" for one in image_set.partitions.all()[:6])
    if names:
        return f"“{image_set}” has several partitions ({names}): name one by --partition."
    return f"“{image_set}” has no partition; leave out --part, or make one (make_partition)."
