"""manage.py import_pairs pairs.zip"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from annotation.exchange.bundle_import import BundleRefused, import_bundle
from mlcore.management.arguments import add_owner, find_owner


class Command(BaseCommand):
    help = (
        "Take in a study that manage.py export_pairs wrote: pictures, maps, pairs and the study itself. All of it or "
        "nothing; what is here already stays as it is."
    )
    requires_migrations_checks = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "bundle", type=Path, help="the zip, or a bundle of this project such as preference_demo.zip"
        )
        add_owner(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        administrators = get_user_model()._default_manager.filter(is_superuser=True).order_by("pk")
        owner = find_owner(options["owner"]) or administrators.first()
        try:
            done = import_bundle(options["bundle"], owner=owner)
        except BundleRefused as refused:
            raise CommandError(str(refused)) from refused
        except OSError as error:
            raise CommandError(
                f"The files cannot be kept ({error.strerror or error}). Nothing was imported."
            ) from error
        self.stdout.write(self.style.SUCCESS(done.sentence()))
        for study in done.studies:
            whose = f"of {study.owner}" if study.owner else "of nobody: administrators see it"
            self.stdout.write(f"  {study.uuid} {study} ({study.get_state_display()}, {whose})")
