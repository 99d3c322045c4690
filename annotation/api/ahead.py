"""The pictures that a person will probably need next, so that their browser can fetch them while they look."""

from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from annotation.api.access import own_assignment
from annotation.assignment import peek
from annotation.models import Stimulus
from annotation.studies import kind_of
from mlcore.models import Explanation

TRIALS = 2


@require_safe
@never_cache
def ahead(request: HttpRequest, uuid: UUID) -> JsonResponse:
    """`{"pictures": [address, …]}` of the next two trials. Maps stand in the order of their random names, which says
    nothing of the order in which they will be shown."""
    participant = own_assignment(request, uuid).participant
    trials = peek(participant, TRIALS)
    maps = Stimulus.objects.filter(trial__in=trials, explanation__payload=Explanation.Payload.MAP)
    names: dict[int, list[str]] = {}
    for trial, name in maps.values_list("trial_id", "picture").order_by("picture"):
        names.setdefault(trial, []).append(name)
    pictures: list[str] = []
    compared = dict(
        Stimulus.objects.filter(trial__in=trials)
        .exclude(explanation__payload=Explanation.Payload.MAP)
        .exclude(explanation=None)
        .values_list("trial_id", "explanation__data")
    )
    study = participant.study
    shown = kind_of(study).neighbours_ahead(study.version.settings) if compared else 0
    for trial in trials:
        pictures.append(reverse("trial-picture", args=[trial.uuid]))
        pictures += [reverse("stimulus-picture", args=[name]) for name in names.get(trial.pk, [])]
        listed = compared.get(trial.pk, {}).get("neighbours", [])
        pictures += [reverse("trial-neighbour", args=[trial.uuid, place]) for place in range(len(listed[:shown]))]
    return JsonResponse({"pictures": pictures})
