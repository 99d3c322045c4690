"""Studies with ways in, and who comes by them, for tests."""

from django.test import Client
from django.urls import reverse

from annotation.models import Participant
from tests.annotation.phased import phased_study

PID = "5f3a0c1d9b7e4a0012ab34cd"


def opened(world, **people):
    completion = {"codes": {"completed": "DONE-1"}}
    people = {"accounts": not ({"open_link", "prolific"} & set(people))} | people
    plan = {"people": people, "introduction": [], "exit": [], "completion": completion}
    return phased_study(world, practice=0, qualification=0, consent="", plan=plan)


def signed_in(user):
    client = Client()
    client.force_login(user)
    return client


def guest_of(study):
    return Participant.objects.select_related("user").get(study=study)


def prolific(study, **sent):
    sent = {"PROLIFIC_PID": PID, "STUDY_ID": "S1", "SESSION_ID": "T1"} | sent
    fields = {key: value for key, value in sent.items() if value is not None}
    return reverse("join-prolific", args=[study.join_key]), fields


def participation_of(client, study):
    return client.get(reverse("study", args=[study.uuid])).status_code == 302
