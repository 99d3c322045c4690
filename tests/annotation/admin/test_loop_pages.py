"""Phase 2 from a study's page, and the page that says what it changed."""

import io

import numpy as np
import pytest
from django.urls import reverse
from PIL import Image as Pictures

from annotation import publishing
from annotation.admin.before_after import distance
from annotation.models import Study
from mlcore.models import AuditEntry, Explanation, Run, SupervisionItem
from tests.annotation.admin.world import supervision_of

pytestmark = pytest.mark.django_db


def page_of(client, run: Run, **query) -> str:
    return client.get(reverse("admin:annotation_study_before_after", args=[run.pk]), query).content.decode()


def test_one_press_starts_phase_2_and_its_control(loop, client):
    client.force_login(loop.owner)
    address = reverse("admin:annotation_study_phase2", args=[loop.drawings.pk])
    form = client.get(address).context["form"]
    assert [str(study) for study in form.fields["companions"].queryset] == [str(loop.ratings)]
    sent = {
        "maps": loop.maps.pk, "partition": loop.partition.pk, "companions": [loop.ratings.pk],
        "kinds": form.fields["kinds"].choices[0][0], "objective": "gradia", "attention_weight": "2", "epochs": "4",
    }  # fmt: skip
    answer = client.post(address, sent)
    assert answer.status_code == 302, answer.content.decode()
    run = Run.objects.filter(control__isnull=False).first()
    assert run.pk != loop.phase2.pk
    assert answer["Location"] == reverse("admin:mlcore_run_change", args=[run.pk])
    assert (run.recipe["objective"], run.recipe["attention_weight"], run.recipe["epochs"]) == ("gradia", 2.0, 4)
    assert run.control.recipe["objective"] == "supervised"
    assert run.classifier == loop.classifier
    # Rated and drawn: every case of the matrix may stand there, "not rated" may not.
    assert not run.supervision.items.filter(case=SupervisionItem.Case.NOT_RATED).exists()


def test_another_objective_takes_only_its_own_options(loop, client):
    client.force_login(loop.owner)
    sent = {"maps": loop.maps.pk, "partition": loop.partition.pk, "kinds": "simulated", "objective": "energy"}
    answer = client.post(reverse("admin:annotation_study_phase2", args=[loop.drawings.pk]), sent)
    assert answer.status_code == 302, answer.content.decode()
    run = Run.objects.filter(control__isnull=False).first()
    assert run.recipe["objective"] == "energy"
    assert "stop_gradient_weights" not in run.recipe


def test_phase_2_without_answers_is_refused_with_a_sentence(loop, client):
    client.force_login(loop.owner)
    runs = Run.objects.count()
    pool = loop.world.part("annotation_pool")
    fresh = publishing.create_study(
        kind="map_drawing", name="nobody yet", owner=loop.owner, images=pool, explanation_sets=[loop.maps]
    )
    publishing.publish(fresh, loop.owner)
    sent = {"maps": loop.maps.pk, "partition": loop.partition.pk, "kinds": "human", "objective": "gradia"}
    address = reverse("admin:annotation_study_phase2", args=[fresh.pk])
    human = client.post(address, sent | {"kinds": client.get(address).context["form"].fields["kinds"].choices[0][0]})
    assert human.status_code == 422
    assert "Nobody has answered yet" in human.content.decode()
    assert Run.objects.count() == runs


def test_figures_stand_beside_their_control(loop, client):
    client.force_login(loop.owner)
    page = page_of(client, loop.phase2)
    for figure in ("50.0 %", "90.0 %", "60.0 %", "+40.0 points", "+30.0 points", "+0.300"):
        assert figure in page, figure
    assert "the test part is unseen" in page


def test_the_page_costs_the_same_for_few_and_many(loop, client, django_assert_max_num_queries):
    client.force_login(loop.owner)
    with django_assert_max_num_queries(27):
        page_of(client, loop.phase2)


def test_a_look_at_the_test_part_is_told(loop, client):
    client.force_login(loop.owner)
    AuditEntry.write(loop.owner, "run.look_at_test", loop.phase2, after={"partition": str(loop.partition)})
    assert "was looked at 1 time, on record" in page_of(client, loop.phase2)


def test_the_matrix_before_is_the_frozen_one_and_live_results_stay_folded(loop, client):
    client.force_login(loop.owner)
    page = page_of(client, loop.phase2)
    items = supervision_of(loop).items
    good = items.filter(case__startswith="reasonable").count()
    cells = [int(cell.split("</b>")[0]) for cell in page.split('<figure class="h-matrix">')[1].split("<b>")[1:5]]
    assert sum(cells) == items.count() == 3
    assert cells[0] + cells[1] == good
    assert page.count('<figure class="h-matrix">') == 1
    after = publishing.create_study(
        kind="reasonability", name="of the maps after", owner=loop.owner, explanation_sets=[loop.later_maps]
    )
    publishing.publish(after, loop.owner)
    page = page_of(client, loop.phase2)
    assert "of the maps after" in page
    assert page.count('<figure class="h-matrix">') == 1
    publishing.close(Study.objects.get(pk=after.pk), loop.owner)
    assert page_of(client, loop.phase2).count('<figure class="h-matrix">') == 2


def test_images_are_ordered_by_how_far_their_maps_moved(loop, client):
    client.force_login(loop.owner)
    answer = client.get(reverse("admin:annotation_study_before_after", args=[loop.phase2.pk]))
    changed = answer.context["changed"]
    assert len(changed) == 3
    assert all(tile.distance == pytest.approx(1.0) for tile in changed)
    assert all(tile.before != tile.after for tile in changed)


def test_distance_of_maps():
    left = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert distance(left, left * 7) == pytest.approx(0)  # the scale of a map says nothing
    assert distance(left, left[:, ::-1]) == pytest.approx(1)
    assert distance(left, np.zeros((2, 2))) == pytest.approx(0.5)  # no mass counts as uniform
    assert distance(left, -left) == pytest.approx(0.5)  # negative values are no mass
    assert distance(np.kron(left, np.ones((3, 3))), left) == pytest.approx(0)  # sizes are brought together


def test_what_people_painted_is_drawn_as_an_outline(loop, client):
    client.force_login(loop.owner)
    shown = Explanation.objects.filter(set=loop.maps, image__supervision_items__map__gt="").first()
    outlined = client.get(
        reverse("admin:annotation_study_outlined", args=[loop.phase2.pk, shown.pk, "overlay", 320])
    ).content
    bare = client.get(reverse("admin:mlcore_explanationset_overlay", args=[shown.pk, "overlay", 320])).content
    with Pictures.open(io.BytesIO(outlined)) as with_line, Pictures.open(io.BytesIO(bare)) as without:
        assert with_line.size == without.size
        moved = np.abs(np.asarray(with_line, dtype=float) - np.asarray(without, dtype=float)).max(axis=2)
    assert 0.005 < (moved > 60).mean() < 0.4


def test_a_run_that_started_from_nothing_has_no_before(loop, client):
    client.force_login(loop.owner)
    assert client.get(reverse("admin:annotation_study_before_after", args=[loop.phase1.pk])).status_code == 404
