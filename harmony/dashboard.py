"""The researchers' home: what runs, what waits for people, the next step of each loop; and the admin's sidebar."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone

from annotation.models import Assignment, Participant, Study, Trial
from annotation.models.studies import Phase
from harmony.health import check_broker
from harmony.next_step import next_steps
from harmony.researcher import is_researcher, owned
from mlcore.admin.run_page import latest_metrics
from mlcore.models import ImageSet, Run
from mlcore.runs import health

logger = logging.getLogger(__name__)

SHOWN = 8


@dataclass(frozen=True)
class Alarm:
    """A red line on top: what is wrong and what to do."""

    sentence: str
    remedy: str = ""


def stylesheet(request: HttpRequest) -> str:
    return static("admin_harmony/admin.css")


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar: the loop from images to people, then what administrators keep."""

    def item(title: str, icon: str, name: str) -> dict[str, Any]:
        return {"title": title, "icon": icon, "link": reverse(f"admin:{name}")}

    groups: list[dict[str, Any]] = [
        {"items": [item("Home", "home", "index")]},
        {
            "title": "Images and classifiers",
            "separator": True,
            "items": [
                item("Images", "photo_library", "mlcore_imageset_changelist"),
                item("Runs", "play_circle", "mlcore_run_changelist"),
                item("Classifiers", "category", "mlcore_classifier_changelist"),
                item("Maps", "visibility", "mlcore_explanationset_changelist"),
            ],
        },
        {
            "title": "People",
            "separator": True,
            "items": [
                item("Studies", "group", "annotation_study_changelist"),
                item("What people said", "draw", "mlcore_supervisionset_changelist"),
                item("What people drew", "gesture", "mlcore_humanmapset_changelist"),
            ],
        },
        {
            "title": "Record",
            "separator": True,
            "items": [
                item("Who changed what", "history", "mlcore_auditentry_changelist"),
                item("Workers", "memory", "mlcore_worker_changelist"),
            ],
        },
    ]
    if request.user.is_superuser:
        groups.append(
            {
                "title": "Administration",
                "separator": True,
                "items": [
                    item("Users", "person", "auth_user_changelist"),
                    item("Groups", "groups", "auth_group_changelist"),
                ],
            }
        )
    return groups if is_researcher(request.user) else groups[:1]


def context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the home page shows; unfold calls this with the page's context."""
    user = request.user
    if not is_researcher(user):
        return context | {"title": "Home", "stranger": True}
    steps = next_steps(user)
    return context | {
        "title": "Home",
        "alarms": alarms(),
        "running": running(user),
        "waiting": waiting(user),
        "steps": steps,
        "has_images": bool(steps) or owned(ImageSet.objects.all(), user).exists(),
    }


def alarms() -> list[Alarm]:
    """What must be seen first: no worker, no broker, a disk that is nearly full."""
    found = []
    try:
        check_broker()
    except Exception as error:
        logger.warning("The broker does not answer: %s", error)
        found.append(
            Alarm("The broker does not answer. Runs wait until it is back; nothing is lost.", "Look at BROKER_URL.")
        )
    queue = health.queue_state()
    if not queue.workers and not health.workers_alive():
        found.append(Alarm("No worker lives. Runs wait until one is started.", "manage.py up starts everything."))
    elif queue.sentence:
        found.append(Alarm(queue.sentence))
    disk = health.disk_state()
    if disk.sentence:
        found.append(Alarm(disk.sentence, "A run may fail when it saves. Make room, or move HARMONY_VAR."))
    return found


def running(user: Any) -> list[dict[str, Any]]:
    """Open runs, the one that started first on top, each with its newest values."""
    rows = list(
        owned(Run.objects.filter(state__in=Run.OPEN), user)
        .select_related("image_set")
        .defer("manifest", "log", "recipe")
        .order_by("created")[:SHOWN]
    )
    latest = latest_metrics(rows)
    return [{"run": row, "latest": newest_of(latest.get(row.pk, []))} for row in rows]


def newest_of(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two lines a run: its training loss and its accuracy where it has one."""
    loss = [line for line in lines if line["name"] == "loss" and line["part"] == "training"]
    other = [line for line in lines if line["name"] != "loss" and line["part"] == "validation"]
    return loss[:1] + other[:1]


def waiting(user: Any) -> list[dict[str, Any]]:
    """Live studies with their answers to main trials so far, answers per day and the expected end."""
    main = Trial.objects.filter(study=OuterRef("pk"), phase=Phase.MAIN)
    answered = Assignment.objects.filter(
        trial__study=OuterRef("pk"), trial__phase=Phase.MAIN, state=Assignment.State.ANSWERED
    ).exclude(participant__kind=Participant.Kind.PREVIEW)
    week = timezone.now() - timedelta(days=7)

    def count(rows: QuerySet, by: str) -> Coalesce:
        return Coalesce(Subquery(rows.order_by().values(by).annotate(n=Count("pk")).values("n")), 0)

    studies = (
        owned(Study.objects.filter(state=Study.State.LIVE), user)
        .annotate(
            n_trials=count(main, "study"),
            n_answers=count(answered, "trial__study"),
            n_week=count(answered.filter(answered__gte=week), "trial__study"),
        )
        .order_by("published")[:SHOWN]
    )
    return [_progress(study) for study in studies]


def _progress(study: Any) -> dict[str, Any]:
    days = 7.0
    if study.published:
        days = min(7.0, max((timezone.now() - study.published).total_seconds() / 86_400, 1.0))
    per_day = study.n_week / days
    wanted = study.n_trials * study.answers_per_trial if study.answers_per_trial else None
    left = max(wanted - study.n_answers, 0) if wanted is not None else None
    ends = timezone.now() + timedelta(days=left / per_day) if left and per_day else None
    return {"study": study, "wanted": wanted, "left": left, "per_day": per_day, "ends": ends}
