"""No question waits for ever, and neither pictures nor maps of one are kept for ever."""

import os
from datetime import timedelta

import pytest
from django.core.files.storage import default_storage
from django.utils import timezone

from mlcore.models import Inquiry, Worker
from mlcore.runs.inquiries import answer, ask_mask
from mlcore.runs.inquiry_sweep import BUSY, LOST, NO_WORKER, sweep
from mlcore.runs.workers import worker_name
from tests.mlcore.runs import test_inquiries as shared
from tests.mlcore.runs.asked import upload

pytestmark = pytest.mark.django_db
serving, owner, classifier, image = shared.serving, shared.owner, shared.classifier, shared.image
again = shared.again


def age(row: Inquiry, seconds: float) -> None:
    Inquiry.objects.filter(pk=row.pk).update(created=timezone.now() - timedelta(seconds=seconds))


def alive(name: str = "there:1") -> None:
    Worker.objects.update_or_create(name=name, defaults={"queues": "interactive", "seen": timezone.now()})


def test_waiting_without_a_worker_ends_with_what_to_do(classifier, owner, image) -> None:
    row = ask_mask(classifier, owner, image, method="grad_cam")
    assert sweep().failed == 0
    age(row, 31)
    assert sweep().failed == 1
    assert (again(row).state, again(row).reason) == ("failed", NO_WORKER)


def test_a_busy_worker_is_waited_for_longer(classifier, owner, image) -> None:
    alive()
    row = ask_mask(classifier, owner, image, method="grad_cam")
    age(row, 120)
    assert sweep().failed == 0
    age(row, 301)
    assert sweep().failed == 1
    assert again(row).reason == BUSY


def test_a_lost_worker_is_noticed(classifier, owner, image) -> None:
    alive(worker_name())
    row = ask_mask(classifier, owner, image, method="grad_cam")
    Inquiry.objects.filter(pk=row.pk).update(state="asked", answer={"worker": worker_name()})
    assert sweep().failed == 0
    Worker.objects.update(seen=timezone.now() - timedelta(seconds=61))
    assert sweep().failed == 1
    assert again(row).reason == LOST


def test_old_questions_go_with_their_files_and_shared_pictures_stay(classifier, owner, image) -> None:
    first = ask_mask(classifier, owner, upload(image), method="grad_cam")
    answer(str(first.uuid))
    second = ask_mask(classifier, owner, again(first), method="grad_cam", label="1")
    answer(str(second.uuid))
    picture = first.picture.name
    age(first, 90_000)
    assert sweep().deleted == 1
    assert default_storage.exists(picture)
    assert set(default_storage.listdir("inquiries")[1]) == {os.path.basename(picture), f"{second.uuid}-map.npy"}
    age(second, 90_000)
    assert sweep().deleted == 1
    assert not default_storage.listdir("inquiries")[1]
    assert default_storage.exists(image.file.name)  # an image of a set is nobody's upload


def test_files_without_a_row_go_too(classifier, owner, image) -> None:
    row = ask_mask(classifier, owner, upload(image), method="grad_cam")
    answer(str(row.uuid))
    Inquiry.objects.all().delete()
    names = [default_storage.path(f"inquiries/{name}") for name in default_storage.listdir("inquiries")[1]]
    assert len(names) == 2
    sweep()
    assert all(os.path.exists(name) for name in names)  # perhaps its row is being written
    for name in names:
        os.utime(name, (1, 1))
    sweep()
    assert not any(os.path.exists(name) for name in names)
