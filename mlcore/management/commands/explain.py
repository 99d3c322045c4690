"""manage.py explain --image-set Birds --classifier "phase 1" --methods grad_cam,lrp --part annotation_pool --wait"""

from typing import Any

from mlcore.management.run_command import RunCommand, perform_here
from mlcore.models import Run


class Command(RunCommand):
    help = (
        "Write maps of what a classifier looked at, by one or several methods; images that were explained so before "
        "are skipped. An option of one method is --option METHOD.OPTION=VALUE, such as --option rise.masks=500."
    )
    kind = "explain"
    # --method is what --methods was called while there was one.
    flags = ("part", "methods", "target", "layer", "preset", "method")

    def go_on(self, run: Run, options: dict[str, Any]) -> None:
        if not options["wait"]:
            super().go_on(run, options)
            return
        run = perform_here(run)
        self.stdout.write(self.style.SUCCESS(f"{run.uuid} {run.state}: {run.name}"))
        made = (run.result.get("summary") or {}).get("methods") or {}
        for one in run.explanation_sets.order_by("pk"):
            told = made.get(one.method, {})
            odd = ", ".join(f"{n} {word}" for word, n in (told.get("status") or {}).items() if word != "ok")
            self.stdout.write(
                f"  {one.uuid}  {one.method:<22}{told.get('maps', 0)} maps, {told.get('skipped', 0)} were there"
                + (f" ({odd})" if odd else "")
            )
