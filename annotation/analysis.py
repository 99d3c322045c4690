"""The analysis of a preference or a team study: asked for by a page, computed by a worker, kept as a row.

A fingerprint says which answers of which people are counted and how, so that the same is never computed twice, and a
study that got another answer is computed anew. The row is the truth, not the queue: a message that was lost is sent
again, and what a lost worker left is taken up once more.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from celery import current_app
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Count, Max
from django.utils import timezone
from kombu.exceptions import OperationalError

from annotation.errors import StudyRefused
from annotation.models import AnalysisFigure, Study, StudyAnalysis
from annotation.pair_studies import pair_sets_of
from annotation.statistics import table
from annotation.studies.preference import Preference
from annotation.studies.team import Team
from mlcore.catalogue import LEARNABLE, METHODS, METRICS, Spec

logger = logging.getLogger(__name__)

VERSION = 1  # of what is computed: another number computes everything anew
TASK = "annotation.tasks.compute_analysis"
UNSENT_AFTER = timedelta(minutes=2)
LOST_AFTER = timedelta(minutes=15)
State = StudyAnalysis.State


def request_analysis(study: Study, kinds: Sequence[str], *, without: Sequence[str] = ()) -> StudyAnalysis:
    """The analysis of the answers that are there now, asked for where it is new; one that failed is tried again.

    without: pseudonyms who are left out in a second look beside the first. Raises StudyRefused with a sentence.
    """
    options = _options(study, kinds, without)
    key = fingerprint(study, kinds, options)
    with transaction.atomic():
        row, made = StudyAnalysis.objects.get_or_create(
            study=study, fingerprint=key, defaults={"kinds": list(kinds), "options": options}
        )
        again = made or bool(
            StudyAnalysis.objects.filter(pk=row.pk, state=State.FAILED).update(
                state=State.QUEUED, reason="", created=timezone.now()
            )
        )
        if again:
            row.refresh_from_db()
            transaction.on_commit(lambda: send(row))
    return row


def compute_now(study: Study, kinds: Sequence[str], *, without: Sequence[str] = ()) -> dict[str, Any]:
    """The same figures here, without a row and without a queue."""
    return figures(study, kinds, _options(study, kinds, without))


def _options(study: Study, kinds: Sequence[str], without: Sequence[str]) -> dict[str, Any]:
    if study.kind not in _FIGURES:
        raise StudyRefused(f"“{study}” is neither a preference nor a team study; only these have an analysis.")
    if study.state == Study.State.DRAFT:
        raise StudyRefused(f"“{study}” was never published, so there is nothing to analyse.")
    table.checked_kinds(kinds)
    left_out = sorted({name.strip() for name in without if name.strip()})
    known = set(study.participants.filter(pseudonym__in=left_out).values_list("pseudonym", flat=True))
    unknown = [name for name in left_out if name not in known]
    if unknown:
        raise StudyRefused(f"Nobody in this study is called {', '.join(f'“{name}”' for name in unknown)}.")
    return {"without": left_out} if left_out else {}


def fingerprint(study: Study, kinds: Sequence[str], options: Mapping[str, Any]) -> str:
    """What decides the figures, in 64 letters; one query, whatever the study's size."""
    said = table.counted([study], kinds).aggregate(number=Count("pk"), last=Max("pk"), changed=Max("changed"))
    decided = [VERSION, sorted(kinds), dict(options), said["number"], said["last"], str(said["changed"])]
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def send(row: StudyAnalysis) -> bool:
    """Tell a worker. False (and a line in the log) where the broker does not answer: the sweep sends it again."""
    try:
        current_app.send_task(TASK, args=[str(row.uuid)], retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("Analysis %s waits without a message, the broker does not answer: %s", row.uuid, error)
        return False
    return True


def perform(uuid: str) -> bool:
    """Compute a queued analysis. False where another worker has it, or it is done already."""
    found = StudyAnalysis.objects.filter(uuid=uuid)
    if not found.filter(state=State.QUEUED).update(state=State.RUNNING, started=timezone.now()):
        return False
    row = found.select_related("study").get()
    try:
        result = figures(row.study, row.kinds, row.options)
        drawn = pictures(row.study.kind, result)
        with transaction.atomic():
            row.figures.all().delete()
            for (name, form), data in drawn.items():
                figure = AnalysisFigure(analysis=row, name=name, format=form)
                figure.file.save(f"{name}.{form}", ContentFile(data), save=False)
                figure.save()
            _end(row, State.DONE, result=result)
    except Exception as error:  # whatever it was, the row must say so: nobody reads a worker's log
        logger.exception("Analysis %s failed", row.uuid)
        _end(row, State.FAILED, reason=f"{type(error).__name__}: {error}"[:500])
    return True


def _end(row: StudyAnalysis, state: str, **fields: Any) -> None:
    StudyAnalysis.objects.filter(pk=row.pk).update(state=state, ended=timezone.now(), **fields)


def sweep() -> int:
    """Send messages again that were lost, of what a lost worker left too; how many were sent."""
    now = timezone.now()
    lost = StudyAnalysis.objects.filter(state=State.RUNNING, started__lt=now - LOST_AFTER)
    taken_up = lost.update(state=State.QUEUED, started=None)
    if taken_up:
        logger.warning("%d analyses were left by a lost worker and are taken up again.", taken_up)
    # A message too many does no harm: whoever comes second finds nothing to do.
    return sum(send(row) for row in StudyAnalysis.objects.filter(state=State.QUEUED, created__lt=now - UNSENT_AFTER))


def figures(study: Study, kinds: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The kind's report; loads large libraries, so never in a page's request."""
    return _FIGURES[study.kind](study, kinds, options)


def _team(study: Study, kinds: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    from annotation.statistics.team_report import report

    return report(study, kinds, options)


def _alignment(study: Study, kinds: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The report of annotation.statistics.alignment."""
    from annotation.statistics.alignment.report import Cell, report
    from annotation.statistics.alignment.rows import read

    rows, conditions = read(study, kinds)
    groups = groups_by_cell(study)
    cells = [
        Cell(
            cell=name,
            metric=_title(str(groups.get(name, {}).get("metric") or ""), LEARNABLE, METRICS),
            method=_title(str(groups.get(name, {}).get("method") or ""), METHODS),
            classifier=str(groups.get(name, {}).get("classifier") or ""),
            original=first,
            tuned=second,
        )
        for name, (first, second) in conditions.items()
    ]
    return report(rows, cells, gains_of(study), list(kinds), dict(options))


def groups_by_cell(study: Study) -> dict[str, dict[str, Any]]:
    """What is known of each cell since the study was made, by the name of its arm; one without arms has no name."""
    groups = study.version.settings.get("groups", [])
    if len(groups) == 1 and study.conditions == Study.Conditions.TOGETHER:
        return {"": groups[0]}
    return {str(group.get("name") or ""): group for group in groups}


def _title(name: str, *known: Mapping[str, Spec]) -> str:
    return next((specs[name].title for specs in known if name in specs), name)


def gains_of(study: Study) -> dict[str, Any]:
    """Cell → what its metric gained on the pairs that were shown; cells without pairs or scores are not in it."""
    from annotation.statistics.alignment.gain import Gain

    named = {str(group["pair_set"]): cell for cell, group in groups_by_cell(study).items() if "pair_set" in group}
    gains = {}
    for found in pair_sets_of(study):
        spec = LEARNABLE.get(found.metric)
        rows = list(found.pairs.values_list("image__name", "before", "after").order_by("position"))
        if spec is None or all(before is None or after is None for _, before, after in rows):
            continue
        gains[named[str(found.uuid)]] = Gain(
            metric=spec.title,
            images=[name for name, _, _ in rows],
            before=[before for _, before, _ in rows],
            after=[after for _, _, after in rows],
            higher_is_better=bool(spec.higher_is_better),
            agreement=found.agreement,
        )
    return gains


def pictures(kind: str, result: Mapping[str, Any]) -> dict[tuple[str, str], bytes]:
    """(name, format) → file, of the report of a study of this kind; loads matplotlib."""
    if kind == Team.name:
        from annotation.statistics.team_figure import pictures as drawn
    else:
        from annotation.statistics.alignment.figure import pictures as drawn
    return drawn(result)


_FIGURES = {Preference.name: _alignment, Team.name: _team}
