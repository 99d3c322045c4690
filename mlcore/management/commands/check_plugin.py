"""manage.py check_plugin my_plugins/border_mass.py"""

import importlib
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from mlcore.catalogue import plugin_folder
from mlcore.catalogue.plugins import register
from mlcore.catalogue.spec import LearnableSpec, MethodSpec, MetricSpec


class Command(BaseCommand):
    help = "Tell what is wrong with a file of plug-ins, a sentence each. A learnable metric is tried on a toy network."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--steps", type=int, default=10, help="of tuning the toy network; 0: none (default: 10)")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"].expanduser().absolute()
        if not file.is_file():
            raise CommandError(f"There is no file {file}.")
        try:
            specs = plugin_folder.specs_of(file)
        except plugin_folder.Malformed as error:
            raise CommandError(str(error)) from error
        if not specs:
            raise CommandError(f"{file.name} does not say what it is: it has no {plugin_folder.LITERAL} = {{…}}.")
        plugin_folder.make_importable(file)
        wrong = 0
        for line, spec in specs:
            for sentence in self.sentences(spec, options["steps"]):
                wrong += not sentence.startswith("Warning: ")
                self.stdout.write(f"{file.name}, line {line}: {sentence}")
        if wrong:
            raise CommandError(f"{wrong} thing{'' if wrong == 1 else 's'} to mend.")
        self.stdout.write(self.style.SUCCESS(f"{', '.join(spec.title for _, spec in specs)}: as it should be."))

    def sentences(self, spec: MethodSpec | MetricSpec, steps: int) -> list[str]:
        """What is wrong with one thing that the file says it holds."""
        try:
            register(spec)
            module, _, name = spec.path.rpartition(".")
            made = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:
            sys.modules.pop(spec.path.rpartition(".")[0], None)
            return [f"{type(error).__name__}: {error}"]
        if isinstance(spec, LearnableSpec):
            return self.learnable(spec, made, steps)
        from mlcore.attribution.base import Attribution
        from mlcore.metrics.base import Metric

        base = Attribution if isinstance(spec, MethodSpec) else Metric
        if not (isinstance(made, type) and issubclass(made, base)):
            return [f"{name} is no {base.__name__}: write class {name}({base.__name__})."]
        missing = sorted(getattr(made, "__abstractmethods__", ()))
        return [f"{name} has no {method}." for method in missing]

    def learnable(self, spec: LearnableSpec, made: Any, steps: int) -> list[str]:
        """What the class does, and whether it says the same of itself as the file."""
        from mlcore.metrics.learnable.check import problems

        found = problems(made, steps=steps)
        for attribute, said in (
            ("name", spec.name),
            ("better_higher", spec.higher_is_better),
            ("needs_masks", "mask" in spec.trained_with),
        ):
            value = getattr(made, attribute, said)
            if value != said:
                found.append(f"{made.__name__}.{attribute} is {value!r}, and the file says {said!r}.")
        return found
