"""Short questions of a page: written as a row, answered by the worker `interactive`, read by the page that waits.

A row goes waiting → asked → answered | failed, each step one conditional UPDATE: no two workers answer it, and an
answer that comes after the sweep has given it up changes nothing.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from celery import current_app
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from mlcore.catalogue.quick import quick_methods
from mlcore.exchange import storage
from mlcore.exchange.layers import has_sign
from mlcore.exchange.verify import BadImage, verify
from mlcore.exchange.windows import PlacedMap, npy, read_map
from mlcore.models import Classifier, FeatureGallery, Image, Inquiry
from mlcore.runs.class_names import find_class
from mlcore.runs.inquiry_server import NoAnswer, server
from mlcore.runs.limits import limit
from mlcore.runs.match_questions import Cells, chosen, match_question
from mlcore.runs.questions import QuestionRefused, clean_options, layers_question, mask_question, method_of
from mlcore.runs.workers import worker_name

logger = logging.getLogger(__name__)

TASK = "mlcore.tasks.answer_inquiry"
QUEUE = "interactive"
REMEMBERED = 40  # questions that are looked through for the same one
MOST_BYTES = 32 * 1024 * 1024
State = Inquiry.State
OPEN = (State.WAITING, State.ASKED)
TOO_COSTLY = "This method asks the classifier too often to be waited for: start a run."
NO_QUEUE = "The queue does not answer, so nobody can be asked. Look at BROKER_URL."


@dataclass(frozen=True)
class Picture:
    """A picture that lies in the storage: `file` there, what it is called, its size and the hash of its bytes."""

    file: str
    name: str
    width: int
    height: int
    sha256: str


def ask_layers(classifier: Classifier, owner: Any) -> Inquiry:
    """Ask which layers a classifier has; one question at a time is enough. Raises QuestionRefused."""
    waiting = _own(owner).filter(classifier=classifier, kind=Inquiry.Kind.LAYERS, state__in=OPEN).first()
    if waiting is not None:
        return waiting
    layers_question(classifier)
    return _write(Inquiry(owner=owner, kind=Inquiry.Kind.LAYERS, classifier=classifier))


def ask_mask(
    classifier: Classifier,
    owner: Any,
    picture: IO[bytes] | Image | Inquiry,
    *,
    method: str,
    options: Mapping[str, Any] | None = None,
    label: str = "",
) -> Inquiry:
    """Ask what a classifier looks at in a picture: an uploaded file, one of an image set, or that of an earlier
    question.

    label: the class by name or index; empty: the one the classifier says. The same question again gives the row that
    has its answer, or waits for it. Raises QuestionRefused with a sentence for each field that is wrong.
    """
    errors: dict[str, str] = {}
    kept: dict[str, Any] = {"method": method}
    try:
        name, module = method_of(classifier, method)
        if name not in quick_methods():
            raise QuestionRefused({"method": TOO_COSTLY})
        if module is not None:  # the newest one of today, also where there is a newer one tomorrow
            kept["method"] = f"{name}:{module.uuid}"
        kept["options"] = clean_options(method, options or {})
    except QuestionRefused as refused:
        errors |= refused.errors
    try:
        kept["label"] = find_class(classifier.classes, label)
    except ValueError as error:
        errors["label"] = str(error)
    if errors:
        raise QuestionRefused(errors)
    mask_question(classifier, "", **kept)
    return _ask(Inquiry(owner=owner, kind=Inquiry.Kind.MASK, classifier=classifier), picture, kept)


def ask_match(
    classifier: Classifier,
    owner: Any,
    picture: IO[bytes] | Image | Inquiry,
    *,
    gallery: FeatureGallery | None,
    matcher: str,
    options: Mapping[str, Any] | None = None,
    marked: Cells | None = None,
) -> Inquiry:
    """Ask which pictures of a gallery a picture looks like, part by part, and what they say it shows.

    options: those of the matcher, and candidates, votes, ties and neighbours as of a run. marked: (row, column) of the
    cells that count. The same question again gives the row that has its answer, or waits for it. Raises QuestionRefused
    with a sentence for each field that is wrong.
    """
    kept = chosen(classifier, gallery, matcher=matcher, options=options or {}, marked=marked)
    return _ask(Inquiry(owner=owner, kind=Inquiry.Kind.MATCH, classifier=classifier), picture, kept)


def unmarked(asked: Inquiry) -> Inquiry | None:
    """The answered question that differs from this one only in that nothing is marked; None where nothing is marked
    here, or nobody asked it."""
    if not asked.question.get("marked"):
        return None
    return _same(asked, asked.question | {"marked": None}, State.ANSWERED)


def picture_of(inquiry: Inquiry) -> Picture:
    """The picture that a question is about."""
    return Picture(**{key: inquiry.question[key] for key in ("file", "name", "width", "height", "sha256")})


def map_of(inquiry: Inquiry) -> PlacedMap:
    """The map that an answered question has. Raises MapUnavailable where its file is gone."""
    told, found = inquiry.question, inquiry.answer
    left, top, right, bottom = found["window"]
    return PlacedMap(
        values=read_map(found["map"]),
        signed=has_sign(told["method"].partition(":")[0], told["options"]),
        picture=(found["picture"][0], found["picture"][1]),
        window=(left, top, right, bottom),
    )


def answer(uuid: str) -> None:
    """Answer a waiting question; nothing happens where another worker has it, or it was given up."""
    # The worker's name: a sweep can tell whether it still lives.
    if not Inquiry.objects.filter(uuid=uuid, state=State.WAITING).update(
        state=State.ASKED, answer={"worker": worker_name()}
    ):
        return
    row = Inquiry.objects.select_related("classifier").get(uuid=uuid)
    try:
        found = _ANSWERS[Inquiry.Kind(row.kind)](row)
    except (NoAnswer, QuestionRefused) as error:
        _end(row, State.FAILED, reason=str(error))
    except Exception as error:
        _end(row, State.FAILED, reason=f"The question broke off ({type(error).__name__}); the worker's log says more.")
        raise
    else:
        if not _end(row, State.ANSWERED, answer=found) and found.get("map"):
            default_storage.delete(found["map"])  # given up, or deleted with its classifier, in the meantime


def keep_layers(classifier: Classifier, found: Mapping[str, Any]) -> None:
    """Write the answer to a question for layers down with the classifier, where pages and forms read them."""
    classifier.layers = found["layers"]
    Classifier.objects.filter(pk=classifier.pk).update(layers=classifier.layers)


def give_up(row: Inquiry, reason: str) -> bool:
    """Fail a question that nobody has answered. False where it was answered in this moment."""
    return bool(
        Inquiry.objects.filter(pk=row.pk, state=row.state).update(
            state=State.FAILED, reason=reason, answer={}, ended=timezone.now()
        )
    )


def _layers(row: Inquiry) -> dict[str, Any]:
    found = server().ask(layers_question(row.classifier), limit("INQUIRY_SECONDS"))
    keep_layers(row.classifier, found)
    return {"image_size": found["image_size"], "seconds": found["seconds"]}


def _match(row: Inquiry) -> dict[str, Any]:
    question = match_question(row.classifier, _file(row), row.question)
    found = server().ask(question, limit("INQUIRY_SECONDS"))
    gallery = FeatureGallery.objects.select_related("image_set").get(uuid=row.question["gallery"])
    for way in found["ways"]:
        way["name"] = gallery.image_set.classes[way["label"]]
    return found


def _file(row: Inquiry) -> str:
    told = row.question
    path = default_storage.path(told["file"])
    if not Path(path).is_file():
        raise QuestionRefused({"picture": f"The picture {told['name']} is not in the storage any more."})
    return path


def _mask(row: Inquiry) -> dict[str, Any]:
    told, path = row.question, _file(row)
    question = mask_question(row.classifier, path, method=told["method"], options=told["options"], label=told["label"])
    found = server().ask(question, limit("INQUIRY_SECONDS"))
    values = np.asarray(found.pop("map"), dtype=np.float32)
    name = storage.put(f"inquiries/{row.uuid}-map.npy", npy(values))
    return found | {"map": name, "height": values.shape[0], "width": values.shape[1]}


_ANSWERS: dict[Inquiry.Kind, Callable[[Inquiry], dict[str, Any]]] = {
    Inquiry.Kind.LAYERS: _layers,
    Inquiry.Kind.MASK: _mask,
    Inquiry.Kind.MATCH: _match,
}


def _end(row: Inquiry, state: str, **fields: Any) -> bool:
    ended = Inquiry.objects.filter(pk=row.pk, state=State.ASKED)
    return bool(ended.update(**{"answer": {}, "state": state, "ended": timezone.now()} | fields))


def _own(owner: Any) -> Any:
    return Inquiry.objects.filter(owner=owner).order_by("-created", "-pk")


def _ask(row: Inquiry, picture: IO[bytes] | Image | Inquiry, kept: Mapping[str, Any]) -> Inquiry:
    """Write the question about the picture, unless the same one was written before."""
    shown = _picture(row, picture)
    row.question = dict(kept) | {
        "file": shown.file, "name": shown.name, "width": shown.width, "height": shown.height, "sha256": shown.sha256,
    }  # fmt: skip
    return _same(row, row.question) or _write(row)


def _same(row: Inquiry, question: Mapping[str, Any], *states: str) -> Inquiry | None:
    """A question of this person that asks just this, and has not failed."""
    known = _own(row.owner).filter(classifier=row.classifier, kind=row.kind).exclude(state=State.FAILED)
    if states:
        known = known.filter(state__in=states)
    return next((before for before in known[:REMEMBERED] if before.question == question), None)


def _picture(row: Inquiry, picture: IO[bytes] | Image | Inquiry) -> Picture:
    if isinstance(picture, Inquiry):
        shown = picture_of(picture)
        if not default_storage.exists(shown.file):
            raise QuestionRefused({"picture": f"The picture {shown.name} is not kept any more. Give it again."})
        if picture.picture:
            row.picture = picture.picture.name
        return shown
    if isinstance(picture, Image):
        if not picture.file:
            raise QuestionRefused({"picture": f"{picture.name} came without its picture; choose another one."})
        return Picture(str(picture.file.name), picture.name, picture.width, picture.height, picture.sha256)
    return _uploaded(row, picture)


def _uploaded(row: Inquiry, upload: IO[bytes]) -> Picture:
    data = upload.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise QuestionRefused({"picture": f"The picture has more than {MOST_BYTES // 1024**2} MB. Save it smaller."})
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            found = verify(Path(file.name))
        except BadImage as error:
            raise QuestionRefused({"picture": str(error)}) from error
    row.picture.save("picture", ContentFile(found.data), save=False)
    name = Path(str(getattr(upload, "name", "") or "picture")).name[:120]
    return Picture(str(row.picture.name), name, found.width, found.height, found.sha256)


def _write(row: Inquiry) -> Inquiry:
    most = int(limit("INQUIRY_MOST"))
    if _own(row.owner).filter(state__in=OPEN).count() >= most:
        raise QuestionRefused({"": f"{most} questions of yours wait already. Ask again when one is answered."})
    row.save()
    transaction.on_commit(lambda: _send(row))
    return row


def _send(row: Inquiry) -> None:
    try:
        current_app.send_task(TASK, args=[str(row.uuid)], queue=QUEUE, retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("The question %s cannot be sent: %s", row.uuid, error)
        give_up(row, NO_QUEUE)
