"""manage.py explain --image-set Birds --classifier "phase 1" --part annotation_pool --wait"""

from mlcore.management.run_command import RunCommand


class Command(RunCommand):
    help = "Write maps of what a classifier looked at; images that were explained so before are skipped."
    kind = "explain"
    flags = ("part", "method", "target", "layer", "preset")
