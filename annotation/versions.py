"""Texts of a study change by a further version; answers and consents keep the one under which they were given."""

import hashlib
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from annotation.errors import StudyRefused
from annotation.models import Study, StudyVersion
from annotation.plan import clean_plan
from annotation.studies import kind_of
from mlcore.models import AuditEntry

_TEXTS = ("title", "task", "consent", "plan", "translations", "settings")
# Changing these while people answer would mix answers to different questions or rules.
_FROZEN_PLAN = ("qualification", "checks", "replace")


def digest(consent: str) -> str:
    """What tells one consent text from another; empty where nothing is asked."""
    text = consent.strip()
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


@transaction.atomic
def revise(study: Study, actor: Any, **texts: Any) -> StudyVersion:
    """The next version with these texts changed: title, task, consent, plan, translations, settings (the kind's).

    A new consent text is asked of everyone again. While the study is live, the pass mark, the checks and the rules
    for giving places back stay as they are. Raises StudyRefused, PlanInvalid.
    """
    row = Study.objects.select_for_update().get(pk=study.pk)
    if row.state == Study.State.CLOSED:
        raise StudyRefused(f"“{row}” is closed; its texts stay as people read them.")
    unknown = set(texts) - set(_TEXTS)
    if unknown:
        raise StudyRefused(f"These are no texts of a study: {', '.join(sorted(unknown))}.")
    old = row.version
    plan = clean_plan(texts["plan"]) if "plan" in texts else old.plan
    if row.state == Study.State.LIVE:
        changed = [part for part in _FROZEN_PLAN if plan.get(part) != old.plan.get(part)]
        if changed:
            raise StudyRefused(f"“{row}” is live: {', '.join(changed)} can no longer be changed.")
    title, task = str(texts.get("title", old.title)).strip(), str(texts.get("task", old.task)).strip()
    if not title or len(title) > 160 or len(task) > 300:
        raise StudyRefused("A title has 1 to 160 characters, the line below it at most 300.")
    consent = str(texts.get("consent", old.consent)).strip()
    new = StudyVersion.objects.create(
        study=row,
        number=old.number + 1,
        title=title,
        task=task,
        consent=consent,
        consent_hash=digest(consent),
        plan=plan,
        translations=dict(texts.get("translations", old.translations) or {}),
        settings=_settings(row, old, texts.get("settings")),
    )
    row.current = study.current = new
    row.save(update_fields=["current"])
    AuditEntry.write(
        actor,
        "study.revise",
        row,
        before={"version": old.number},
        after={"version": new.number, "parts": sorted(texts)},
    )
    study.__dict__.pop("version", None)
    return new


def _settings(study: Study, old: StudyVersion, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        return old.settings
    kind = kind_of(study)
    fixed = {key: value for key, value in old.settings.items() if key not in kind.default_settings()}
    cleaned = kind.clean_settings(given)
    if cleaned.get("shown_class") != old.settings.get("shown_class"):
        raise StudyRefused("Which class is named was decided when the trials were made. Copy the study to change it.")
    return cleaned | fixed
