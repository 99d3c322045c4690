"""manage.py index_shards "train-{000000..000146}.tar" """

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from harmony.terminal import Bar, count
from mlcore.tars.index import ensure
from mlcore.tars.names import ShardsRefused, find


class Command(BaseCommand):
    help = "Look through tar shards once and keep what lies where, so that runs on them start at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shards", help="folder or pattern below SHARDS_DIR")

    def handle(self, *args: Any, **options: Any) -> None:
        bar = Bar("shards")
        images = 0
        try:
            paths = find(options["shards"], settings.SHARDS_DIR)
            for number, path in enumerate(paths):
                images += len(ensure(path, settings.SHARD_INDEX_DIR)[0])
                bar(number + 1, len(paths), path.name, None)
        except ShardsRefused as refused:
            raise CommandError(str(refused)) from refused
        except KeyboardInterrupt:
            raise CommandError("Stopped: what was looked through is kept.", returncode=130) from None
        finally:
            bar.end()
        self.stdout.write(f"{count(len(paths), 'shard')}, {count(images, 'image')}.")
