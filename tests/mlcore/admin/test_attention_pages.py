"""Attention modules and learning-rate tests in the admin: forms, pages, the file, and whose they are."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from mlcore.admin import run_form
from mlcore.catalogue import clean
from mlcore.catalogue.recipe_fields import RATES
from mlcore.models import AttentionModule, Run, RunMetric
from mlcore.runs import state
from tests.annotation.factories import explain, researcher

pytestmark = pytest.mark.django_db
FORM, START = "admin:mlcore_run_form", "admin:mlcore_run_start"


@pytest.fixture
def module(classifier, rita):
    made = AttentionModule(
        name="where birds are",
        classifier=classifier,
        owner=rita,
        kind="tame",
        layers=["layer2", "layer3"],
        sha256="a" * 64,
    )  # fmt: skip
    made.weights.save("a.safetensors", ContentFile(b"weights"), save=True)
    return made


def wish(world, classifier, **changes) -> dict[str, str]:
    return {
        "kind": "train", "image_set": str(world.image_set.pk), "partition": str(world.partition.pk),
        "classifier": str(classifier.pk), "name": "attends", "seed": "1", "objective": "tame",
    } | changes  # fmt: skip


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_objective_asks_for_a_classifier_and_brings_the_published_settings(client, world, classifier) -> None:
    answer = client.get(reverse(FORM), wish(world, classifier), headers={"HX-Trigger-Name": "objective"})
    page = flat(answer.content.decode())
    for line in ('name="learning_rate" value="0.001"', 'name="epochs" value="8"', 'value="one_cycle" selected'):
        assert line in page
    assert "it stays as it is" in page
    assert 'name="supervision"' not in page
    rules = page.split('name="select"')[1].split("</select>")[0]
    assert "the lowest average drop at 50 %" in rules
    assert "best_accuracy" not in rules
    refused = client.post(reverse(START), wish(world, classifier) | {"classifier": ""})
    assert refused.status_code == 422
    assert "TAME explains a trained classifier: choose one." in refused.content.decode()
    assert client.post(reverse(START), wish(world, classifier, layers="a")).status_code == 422
    assert client.post(reverse(START), wish(world, classifier)).status_code == 302
    run = Run.objects.get()
    assert run.recipe["nesterov"] is True
    assert run.recipe["resize"] == "none"  # as the classifier reads


def test_the_methods_form_offers_the_modules_of_the_classifier(client, world, classifier, module) -> None:
    data = wish(world, classifier, kind="explain", methods="tame,l_cam")
    page = flat(client.get(reverse(FORM), data).content.decode())
    assert f'value="{module.uuid}"' in page.split('name="tame.attention"')[1].split("</select>")[0]
    boxes = {name: page.split('name="methods"')[1:] for name in ("tame",)}["tame"]
    tags = {tag.split('value="')[1].split('"')[0]: tag.split(">")[0] for tag in boxes if 'value="' in tag}
    assert "disabled" not in tags["tame"]
    assert "disabled" in tags["l_cam"]
    assert "train one, with the objective" in page
    sent = {"methods": "tame", "part": "train", "tame.attention": ""}
    assert client.post(reverse(START), wish(world, classifier, kind="explain", **sent)).status_code == 302
    assert Run.objects.get().recipe["tame.attention"] == str(module.uuid)
    shown = run_form.build(module.owner, run_form.from_run(Run.objects.get()))
    assert any(line.value == str(module.uuid) for group in shown.owns for line in group.inputs)


def test_a_module_has_a_page_and_a_file_for_its_owner_alone(client, world, classifier, module) -> None:
    maps = explain(world.part("train"), owner=module.owner, method="tame", classifier=classifier)
    maps.options = {"attention": str(module.uuid)}
    maps.save()
    address = reverse("admin:mlcore_attentionmodule_change", args=[module.pk])
    page = client.get(address).content.decode()
    for text in ("where birds are", "layer2, layer3", str(module.uuid), f"tame.attention={module.uuid}"):
        assert text in page
    assert reverse("admin:mlcore_explanationset_change", args=[maps.pk]) in page
    assert "where birds are" in client.get(reverse("admin:mlcore_attentionmodule_changelist")).content.decode()
    assert address in client.get(reverse("admin:mlcore_classifier_change", args=[classifier.pk])).content.decode()
    file = reverse("admin:mlcore_attentionmodule_file", args=[module.pk])
    answer = client.get(file)
    assert b"".join(answer.streaming_content) == b"weights"
    assert "where-birds-are.safetensors" in answer["Content-Disposition"]
    link = flat(page).split('h-button-main" href="')[1].split('"')[0].replace("&amp;", "&")
    assert client.get(link).status_code == 200
    client.force_login(researcher())
    assert client.get(address).status_code == 404
    assert client.get(file).status_code == 404
    module.weights.delete(save=False)
    client.force_login(module.owner)
    assert client.get(file).status_code == 404


def test_the_page_of_a_run_links_the_module_that_it_made(client, world, classifier, module) -> None:
    client.post(reverse(START), wish(world, classifier))
    run = Run.objects.get()
    state.succeed(state.claim(run.uuid, "here:1"), {"summary": {}})
    AttentionModule.objects.update(run=run)
    page = client.get(reverse("admin:mlcore_run_change", args=[run.pk])).content.decode()
    assert reverse("admin:mlcore_attentionmodule_change", args=[module.pk]) in page
    assert "Open the classifier" not in page


def test_a_learning_rate_test_shows_its_curve_and_leads_to_a_run_with_the_rate(client, world, classifier) -> None:
    data = wish(world, classifier, kind="lr_test", steps="40", high="1", batch_size="8", layers="a,b")
    page = client.get(reverse(FORM), data).content.decode()
    for name in ("low", "high", "steps", "beta", "stop_at"):
        assert f'name="{name}"' in page
    assert client.post(reverse(START), data).status_code == 302
    run = Run.objects.get()
    assert (run.kind, run.recipe["steps"], run.recipe["high"]) == ("lr_test", 40, 1.0)
    change = reverse("admin:mlcore_run_change", args=[run.pk])
    assert "Train with this rate" not in client.get(change).content.decode()
    for step, (rate, loss, smoothed) in enumerate([(1e-8, 3.0, 3.0), (1e-4, 2.0, 2.5), (1.0, 9.0, None)], start=1):
        for name, value in (("rate", rate), ("loss", loss), ("smoothed", smoothed)):
            if value is not None:
                RunMetric.objects.create(run=run, step=step, epoch=1, part="train", name=name, value=value)
    found = client.get(reverse("admin:mlcore_run_rates", args=[run.pk])).json()
    assert found == {
        "open": True, "rates": [1e-8, 1e-4, 1.0], "loss": [3.0, 2.0, 9.0], "smoothed": [3.0, 2.5, None],
        "suggestion": None,
    }  # fmt: skip
    rates = {"suggestion": 1.2345e-4, "sentence": "It falls most steeply at a rate of 0.000123.", "doubt": "Few steps."}
    state.succeed(state.claim(run.uuid, "here:1"), {"summary": {}, "rates": rates})
    page = flat(client.get(change).content.decode())
    assert rates["sentence"] in page
    assert rates["doubt"] in page
    assert "This run measured no score" not in page
    link = page.split('h-button-main h-right" href="')[1].split('"')[0].replace("&amp;", "&")
    values = {name: found[0] for name, found in parse_qs(urlsplit(link).query).items()}
    assert (values["kind"], values["learning_rate"], values["batch_size"]) == ("train", "0.000123", "8")
    assert not {"steps", "high", "low"} & set(values)
    form = run_form.build(run.owner, values)
    wanted = clean("train", {key: value for key, value in run.recipe.items() if key not in rates_of()})
    assert clean("train", form.recipe) == wanted | {"learning_rate": 0.000123}
    assert form.objects["classifier"] == classifier
    assert client.get(link).status_code == 200


def rates_of() -> set[str]:
    return {field.name for field in RATES}


def test_without_a_suggestion_there_is_only_the_sentence(client, world, classifier) -> None:
    client.post(reverse(START), wish(world, classifier, kind="lr_test"))
    run = Run.objects.get()
    rates = {"suggestion": None, "sentence": "The smoothed loss never fell, so that no rate can be suggested."}
    state.succeed(state.claim(run.uuid, "here:1"), {"rates": rates})
    page = client.get(reverse("admin:mlcore_run_change", args=[run.pk])).content.decode()
    assert "never fell" in page
    assert "Train with this rate" not in page
