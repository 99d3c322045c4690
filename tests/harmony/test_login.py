"""Guessing a password is slowed down, in kind words; the fixture of roles loads."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client

pytestmark = pytest.mark.django_db


def test_the_eleventh_guess_rests(client: Client, settings) -> None:
    settings.AXES_ENABLED = True
    get_user_model().objects.create_user("ada", password="the right one")
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        assert client.post("/login/", {"username": "ada", "password": "wrong"}).status_code == 200
    answer = client.post("/login/", {"username": "ada", "password": "wrong"})
    assert answer.status_code == 429
    assert "Too many attempts" in answer.content.decode()
    assert client.post("/login/", {"username": "ada", "password": "the right one"}).status_code == 429


def test_roles_load_twice() -> None:
    for _ in range(2):
        call_command("loaddata", "roles", verbosity=0)
    assert set(Group.objects.values_list("name", flat=True)) == {"annotator", "researcher"}
