"""Correspondence networks in the admin: the form that trains one, their pages, the file, and whose they are."""

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from mlcore.models import CorrespondenceNetwork, Run, Score
from mlcore.runs import state
from tests.annotation.factories import explain, researcher

pytestmark = pytest.mark.django_db
FORM, START = "admin:mlcore_run_form", "admin:mlcore_run_start"


@pytest.fixture
def network(classifier, rita):
    made = CorrespondenceNetwork(
        name="points of birds",
        classifier=classifier,
        owner=rita,
        layer="layer3",
        settings={"channels": 64, "width": 256, "side": 15, "size": 240},
        sha256="b" * 64,
    )
    made.weights.save("a.safetensors", ContentFile(b"weights"), save=True)
    return made


def wish(world, classifier, **changes) -> dict[str, str]:
    return {
        "kind": "train", "image_set": str(world.image_set.pk), "partition": str(world.partition.pk),
        "classifier": str(classifier.pk), "name": "points", "seed": "1", "objective": "correspondence",
    } | changes  # fmt: skip


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_form_asks_for_a_classifier_and_brings_the_published_settings(client, world, classifier) -> None:
    answer = client.get(reverse(FORM), wish(world, classifier), headers={"HX-Trigger-Name": "objective"})
    page = flat(answer.content.decode())
    for line in ('name="learning_rate" value="0.001"', 'name="batch_size" value="20"', 'name="width" value="256"'):
        assert line in page
    assert "it stays as it is" in page
    assert 'name="supervision"' not in page
    rules = page.split('name="select"')[1].split("</select>")[0]
    assert "the highest PCK@0.1" in rules
    assert "best_accuracy" not in rules
    refused = client.post(reverse(START), wish(world, classifier) | {"classifier": ""})
    assert refused.status_code == 422
    assert "reads a trained classifier: choose one." in refused.content.decode()
    assert client.post(reverse(START), wish(world, classifier)).status_code == 302
    assert Run.objects.get().recipe["key_points"] == 20


def test_a_network_has_a_page_and_a_file_for_its_owner_alone(client, world, classifier, network) -> None:
    matches = explain(world.part("train"), owner=network.owner, method="chm_corr", classifier=classifier)
    matches.options = {"network": str(network.uuid)}
    matches.save()
    address = reverse("admin:mlcore_correspondencenetwork_change", args=[network.pk])
    page = flat(client.get(address).content.decode())
    for text in ("points of birds", "layer3", "240 px, 15 × 15 cells", "64 → 256", str(network.uuid)):
        assert text in page
    assert reverse("admin:mlcore_explanationset_change", args=[matches.pk]) in page
    listed = client.get(reverse("admin:mlcore_correspondencenetwork_changelist")).content.decode()
    assert "points of birds" in listed
    assert address in client.get(reverse("admin:mlcore_classifier_change", args=[classifier.pk])).content.decode()
    train = client.get(reverse("admin:mlcore_correspondencenetwork_start"))
    assert train.url.endswith("?kind=train&objective=correspondence")
    file = reverse("admin:mlcore_correspondencenetwork_file", args=[network.pk])
    answer = client.get(file)
    assert b"".join(answer.streaming_content) == b"weights"
    assert "points-of-birds.safetensors" in answer["Content-Disposition"]
    link = page.split('h-button-main" href="')[1].split('"')[0].replace("&amp;", "&")
    assert client.get(link).status_code == 200
    client.force_login(researcher())
    assert client.get(address).status_code == 404
    assert client.get(file).status_code == 404
    network.weights.delete(save=False)
    client.force_login(network.owner)
    assert client.get(file).status_code == 404


def test_the_page_of_a_run_links_its_network_and_the_network_says_what_it_scored(
    client, world, classifier, network
) -> None:
    client.post(reverse(START), wish(world, classifier))
    run = Run.objects.get()
    state.succeed(state.claim(run.uuid, "here:1"), {"summary": {}})
    CorrespondenceNetwork.objects.update(run=run)
    for metric, value in (("pck", 0.912), ("pck_cosine", 0.755)):
        Score.objects.create(
            run=run, classifier=classifier, partition=run.partition, part="validation", metric=metric, value=value, n=6
        )
    page = client.get(reverse("admin:mlcore_run_change", args=[run.pk])).content.decode()
    address = reverse("admin:mlcore_correspondencenetwork_change", args=[network.pk])
    assert address in page
    assert "Open the classifier" not in page
    shown = flat(client.get(address).content.decode())
    assert "This network: 0.912" in shown
    assert "Plain cosine, the same features: 0.755" in shown
    # What a network scores is no figure of the classifier.
    assert "0.912" not in client.get(reverse("admin:mlcore_classifier_change", args=[classifier.pk])).content.decode()
