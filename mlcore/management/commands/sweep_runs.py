"""manage.py sweep_runs"""

from typing import Any

from django.core.management.base import BaseCommand

from mlcore.runs.sweep import sweep


class Command(BaseCommand):
    help = "Queue runs again (or let them fail) whose worker was lost. Beat does the same every 30 seconds."

    def handle(self, *args: Any, **options: Any) -> None:
        swept = sweep()
        for word, names in vars(swept).items():
            for name in names:
                self.stdout.write(f"{word}: {name}")
        if not swept:
            self.stdout.write("Nothing to heal.")
