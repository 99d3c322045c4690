"""manage.py evaluate --image-set Birds --classifier "phase 1" --part validation --wait"""

from mlcore.management.run_command import RunCommand


class Command(RunCommand):
    help = "Measure a classifier and its maps on a part of a partition. A look at the test part is recorded."
    kind = "evaluate"
    flags = ("part", "method", "pointing_tolerance")
