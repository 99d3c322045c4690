"""Sending an answer, keeping a draft. Each view reads the request and calls one function of the domain."""

from dataclasses import asdict
from uuid import UUID

from django.urls import reverse
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotation import answers
from annotation.api.access import own_assignment
from annotation.api.serializers import AnswerSerializer, BeaconSerializer, DraftSerializer
from annotation.errors import AnswerConflict, AnswerInvalid, StudyClosed
from annotation.flow import after_answer
from annotation.models import Assignment
from annotation.studies.serializers import checked


class TrialView(APIView):
    """Turns what the domain refuses into 400 (not an answer), 409 (answered elsewhere), 410 (closed)."""

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, AnswerInvalid):
            return Response({"errors": exc.errors}, status.HTTP_400_BAD_REQUEST)
        if isinstance(exc, AnswerConflict):
            current = exc.current.as_dict() if exc.current else None
            return Response({"current": current, "sentence": exc.sentence}, status.HTTP_409_CONFLICT)
        if isinstance(exc, StudyClosed):
            return Response({"sentence": exc.sentence}, status.HTTP_410_GONE)
        return super().handle_exception(exc)


class AnswerView(TrialView):
    """POST an answer or a change of one. The same submission again gives the first result."""

    def post(self, request: Request, uuid: UUID) -> Response:
        assignment = own_assignment(request, uuid)
        sent = answers.submit(assignment=assignment, **checked(AnswerSerializer(data=request.data)))
        return Response(
            {
                "answer": str(sent.answer.uuid),
                "revision": sent.revision.number,
                "saved_at": sent.revision.created.isoformat(),
                "repeated": sent.repeated,
                "next": after(assignment, changed=sent.revision.number > 1),
                "feedback": asdict(sent.feedback) if sent.feedback else None,
            }
        )


class DraftView(TrialView):
    """GET and PUT unfinished work. POST is what a page sends as it goes: no drawing, so the one that is kept stays."""

    def get(self, request: Request, uuid: UUID) -> Response:
        draft = answers.load_draft(own_assignment(request, uuid))
        return Response(draft.as_dict() if draft else {"payload": None, "drawing": None, "saved_at": None})

    def put(self, request: Request, uuid: UUID) -> Response:
        data = checked(DraftSerializer(data=request.data))
        saved = answers.save_draft(own_assignment(request, uuid), data["payload"], data["drawing"])
        return Response({"saved_at": saved.isoformat()})

    def post(self, request: Request, uuid: UUID) -> Response:
        data = checked(BeaconSerializer(data=request.data))
        saved = answers.save_draft(own_assignment(request, uuid), data["payload"], keep_drawing=True)
        return Response({"saved_at": saved.isoformat()})


def after(assignment: Assignment, *, changed: bool) -> str:
    """Where to go: on to the next trial or to the study, which knows what comes; after a change back to the answers."""
    study = assignment.participant.study
    if changed:
        return reverse("study-review", args=[study.uuid])
    step = after_answer(assignment)
    if step.assignment is not None:
        return reverse("trial", args=[step.assignment.uuid])
    return reverse("study", args=[study.uuid])
