"""Forms of runs with lists to tick: several methods with their own options, and metrics of chosen maps."""

import re

import pytest
from django.urls import reverse

from mlcore.admin import run_form
from mlcore.catalogue import METHODS, METRICS
from mlcore.models import Classifier, HumanMapSet, Mask, Run
from mlcore.runs.start import start_run
from tests.annotation.factories import MaskFactory, explain, researcher
from tests.mlcore.admin.scored import Scored, make_scored

pytestmark = pytest.mark.django_db
START, PART = "admin:mlcore_run_start", "admin:mlcore_run_form"


@pytest.fixture
def made(db) -> Scored:
    made = make_scored(number=2, methods=("grad_cam", "lrp"))
    MaskFactory(image=made.images[0])
    return made


def wish(made: Scored, kind: str, **values) -> dict:
    return {"kind": kind, "image_set": made.image_set.pk, "classifier": made.classifier.pk, "part": "all"} | values


@pytest.fixture
def form(made, client):
    client.force_login(made.owner)

    def get(kind: str = "explain", **data) -> str:
        return client.get(reverse(PART), wish(made, kind, **data)).content.decode()

    return get


def boxes(page: str, name: str) -> dict[str, str]:
    """Value → the tag of each box to tick of this name."""
    found = re.findall(rf'<input type="checkbox"[^>]*name="{name}"[^>]*>', page)
    return {re.search(r'value="([^"]*)"', tag)[1]: tag for tag in found}


def test_every_method_stands_there_with_its_reference_and_cost(form):
    shown = form()
    assert set(boxes(shown, "methods")) == set(METHODS)
    assert "checked" in boxes(shown, "methods")["grad_cam"]
    assert "Selvaraju et al." in shown
    assert "about 8 000 passes a picture" in shown
    assert "one pass forward and back" in shown
    assert "disabled" in boxes(shown, "methods")["tame"]
    assert "needs a trained attention module" in shown


def test_each_chosen_method_shows_its_own_options_and_no_others(form):
    shown = form(methods=["rise", "lrp"])
    assert 'name="rise.masks"' in shown
    assert 'name="lrp.epsilon"' in shown
    assert 'name="grad_cam.layer"' not in shown
    assert "checked" not in boxes(shown, "methods")["grad_cam"]


def test_a_run_of_several_methods_is_the_one_of_start_run(made, client):
    client.force_login(made.owner)
    options = {"methods": ["", "lrp", "rise"], "rise.masks": "50", "lrp.epsilon": "", "name": "maps"}
    answer = client.post(reverse(START), wish(made, "explain", **options))
    by_form = Run.objects.get(name="maps")
    assert answer["Location"] == reverse("admin:mlcore_run_change", args=[by_form.pk])
    by_hand = start_run(
        kind="explain", name="maps", owner=made.owner, image_set=made.image_set, classifier=made.classifier,
        recipe={"methods": ["lrp", "rise"], "rise.masks": 50, "part": "all"}, enqueue=False,
    )  # fmt: skip
    assert by_form.recipe == by_hand.recipe
    again = client.get(reverse("admin:mlcore_run_repeat", args=[by_form.pk])).content.decode()
    assert [name for name, tag in boxes(again, "methods").items() if "checked" in tag] == ["lrp", "rise"]
    assert re.search(r'name="rise.masks"\s+value="50"', again)


def test_none_chosen_and_a_bad_option_are_said_where_they_stand(made, client):
    client.force_login(made.owner)
    none = client.post(reverse(START), wish(made, "explain", methods=[""]))
    assert none.status_code == 422
    assert 'id="error_methods">Choose at least one' in none.content.decode()
    bad = client.post(reverse(START), wish(made, "explain", methods=["rise"]) | {"rise.masks": "0"})
    assert 'id="error_rise.masks">' in bad.content.decode()
    assert not Run.objects.filter(kind="explain").exists()


def test_a_score_run_is_started_for_the_chosen_maps_and_metrics(made, client):
    client.force_login(made.owner)
    chosen = made.sets["lrp"]
    options = {"explanation_sets": ["", chosen.pk], "metrics": ["", "pointing", "sparseness"], "name": "judged"}
    client.post(reverse(START), wish(made, "score", **options) | {"pointing.tolerance": "3"})
    run = Run.objects.get(name="judged")
    assert list(run.explanation_sets.all()) == [chosen]
    assert (run.recipe["metrics"], run.recipe["pointing.tolerance"]) == (["pointing", "sparseness"], 3.0)
    repeated = run_form.build(made.owner, run_form.from_run(run))
    assert repeated.objects["explanation_sets"] == [chosen]
    assert repeated.recipe["metrics"] == "pointing,sparseness"


def test_metrics_stand_under_what_they_need_and_say_why_not(made, form):
    shown = form("score")
    there = boxes(shown, "metrics")
    assert set(there) == {name for name, spec in METRICS.items() if spec.needs}
    assert "disabled" not in there["pointing"]  # one image has a mask
    assert "disabled" in there["spearman"]
    assert "publish a study in which people draw" in shown
    assert shown.index("Against masks or boxes") < shown.index("The map alone")
    HumanMapSet.objects.create(image_set=made.image_set, name="drawn by ten", owner=made.owner)
    Classifier.objects.update(weights="")
    Mask.objects.all().delete()
    later = form("score")
    assert "drawn by ten" in later
    assert "disabled" not in boxes(later, "metrics")["spearman"]
    assert "disabled" in boxes(later, "metrics")["road"]
    assert "has no weights" in later
    assert "None of these images has a mask or a box." in later


def test_maps_and_people_of_others_are_not_offered_nor_taken(made, client, form):
    theirs = explain(made.images, owner=researcher(), method="rise")
    drawn = HumanMapSet.objects.create(image_set=made.image_set, name="theirs", owner=researcher())
    shown = form("score", explanation_sets=[theirs.pk], human_maps=drawn.pk)
    assert str(theirs.pk) not in boxes(shown, "explanation_sets")
    assert ">theirs<" not in shown
    client.post(reverse(START), wish(made, "score", explanation_sets=[theirs.pk], metrics="sparseness", name="x"))
    assert not Run.objects.filter(name="x").exists()


def test_a_link_ticks_what_it_names_and_otherwise_all_are(made, form):
    def ticked(page: str) -> list[str]:
        return [value for value, tag in boxes(page, "explanation_sets").items() if "checked" in tag]

    assert ticked(form("score", explanation_sets=str(made.sets["lrp"].pk))) == [str(made.sets["lrp"].pk)]
    assert len(ticked(form("score"))) == 2
    assert ticked(form("score", explanation_sets="")) == []


def test_without_maps_the_score_form_says_what_to_do(made, form):
    made.image_set.explanation_sets.all().delete()
    assert "Explain a classifier first" in form("score")
