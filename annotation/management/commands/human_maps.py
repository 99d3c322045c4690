"""manage.py human_maps "What should it look at?" --name "first drawings" """

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from annotation.feedback import FeedbackRefused, make_human_maps
from annotation.management.arguments import find_study
from annotation.models import Participant


class Command(BaseCommand):
    help = "Freeze what each person drew in map-drawing studies, to score maps against people (manage.py score)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("studies", nargs="+", metavar="STUDY", help="name or UUID of a map-drawing study")
        parser.add_argument("--name", default="", help="what the set is called; default: the first study's name")
        parser.add_argument(
            "--kinds", nargs="+", choices=Participant.Kind.values, default=["human"], metavar="KIND",
            help="whose maps: human (default), simulated, imported",
        )  # fmt: skip
        parser.add_argument("--owner", metavar="USERNAME", help="the user who owns what is made")

    def handle(self, *args: Any, **options: Any) -> None:
        studies = [find_study(given) for given in options["studies"]]
        try:
            made = make_human_maps(
                name=options["name"], owner=_owner(options["owner"]), drawings=studies, kinds=options["kinds"]
            )
        except FeedbackRefused as refused:
            raise CommandError("\n".join(f"{field}: {said}" for field, said in refused.errors.items())) from refused
        images = made.maps.values("image").distinct().count()
        people = ", ".join(f"{number} {kind}" for kind, number in made.participants.items())
        self.stdout.write(
            f"{made.uuid} {made}: {_some(made.maps.count(), 'map')} of {_some(images, 'image')} by {people}"
        )


def _owner(username: str | None) -> Any:
    if not username:
        return None
    user = get_user_model()._default_manager.filter(username=username).first()
    if user is None:
        raise CommandError(f"There is no user “{username}”.")
    return user


def _some(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
