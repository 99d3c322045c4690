"""The table of scores and the best and worst images: the newest counts, the best is marked, orders are right."""

import csv
import io

import pytest
from django.urls import reverse

from mlcore.admin import score_table
from mlcore.models import Explanation, ExplanationSet, Score
from tests.annotation.factories import images, researcher
from tests.mlcore.admin.scored import Scored, make_scored, score_run, with_people, write_score

pytestmark = pytest.mark.django_db


@pytest.fixture
def made(db) -> Scored:
    return make_scored()


@pytest.fixture
def opened(made, client):
    client.force_login(made.owner)

    def get(name: str = "mlcore_imageset_scores", pk: int = made.image_set.pk, **query) -> str:
        answer = client.get(reverse(f"admin:{name}", args=[pk]), query)
        assert answer.status_code == 200
        return answer.content.decode()

    return get


def table_of(made: Scored, sort: str = "set", order: str = "") -> score_table.Table:
    sets = list(ExplanationSet.objects.select_related("classifier"))
    scores = score_table.scores_of(ExplanationSet.objects.all(), "all")
    return score_table.build(sets, scores, score_table.People(), sort=sort, order=order)


def order_of(table: score_table.Table) -> list[str]:
    return [row.explained.method for row in table.rows]


def test_the_best_is_marked_by_the_metrics_own_direction_and_baselines_stand_apart(made):
    table = table_of(made)
    assert [(column.name, column.arrow) for column in table.columns] == [("pointing", "↑"), ("complexity", "↓")]
    best = {row.explained.method: [cell.best for cell in row.cells] for row in table.rows}
    assert best == {"grad_cam": [True, True], "lrp": [False, False]}
    assert [row.explained.method for row in table.baselines] == ["random"]
    assert not any(cell.best for row in table.baselines for cell in row.cells)


def test_the_newest_score_counts(made):
    again = score_run(made.owner, made.image_set, list(made.sets.values()))
    write_score(again, made.sets["lrp"], "pointing", {str(made.images[0].uuid): 1.0})
    table = table_of(made)
    values = {row.explained.method: row.cells[0].score.value for row in table.rows}
    assert values == {"grad_cam": pytest.approx(5 / 6), "lrp": 1.0}


def test_a_metric_sorts_with_its_better_end_first_and_turns(made):
    assert order_of(table_of(made, "pointing")) == ["grad_cam", "lrp"]
    assert order_of(table_of(made, "pointing", "up")) == ["lrp", "grad_cam"]
    low = table_of(made, "complexity")
    assert order_of(low) == ["grad_cam", "lrp"]
    assert (low.columns[1].sorted, low.columns[1].order, low.columns[0].order) == ("ascending", "down", "down")
    Score.objects.filter(explanation_set=made.sets["grad_cam"], metric="pointing").update(value=None)
    for order in ("up", "down"):
        assert order_of(table_of(made, "pointing", order)) == ["lrp", "grad_cam"]  # without a value: last
    assert order_of(table_of(made, "nonsense")) == ["grad_cam", "lrp"]


def test_the_page_shows_value_interval_n_and_what_was_left_out(made, opened):
    shown = opened()
    assert "0.833" in shown
    assert "0.783 to 0.883" in shown
    assert "n 5, 1 left out" in shown
    assert "1: constant" in shown
    assert "Baselines" in shown
    assert 'aria-sort="descending"' in opened(sort="pointing")


def test_peoples_agreement_is_a_row_of_its_own_and_a_share(made, opened):
    share = {str(made.sets["lrp"].uuid): {"value": 0.8, "low": 0.7, "high": 0.9, "n": 6}}
    run = with_people(made, {"spearman": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 6, "share": share}})
    write_score(run, made.sets["lrp"], "spearman", {str(made.images[0].uuid): 0.4})
    shown = opened()
    assert "People among themselves" in shown
    assert "0.400 to 0.600" in shown
    assert "80 % of people" in shown


def test_csv_holds_every_number_of_the_table(made, client):
    client.force_login(made.owner)
    with_people(made, {"pointing": {"value": 0.75}})
    answer = client.get(reverse("admin:mlcore_imageset_scores_csv", args=[made.image_set.pk]))
    assert answer["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert len(rows) == 7
    first = next(row for row in rows if row["method"] == "grad_cam" and row["metric"] == "complexity")
    assert (first["better"], first["n"], first["left_out"], first["baseline"]) == ("lower", "5", "constant: 1", "no")
    assert float(first["value"]) == pytest.approx(sum(i / 6 for i in range(5)) / 50)
    assert rows[-1]["classifier"] == "people among themselves"
    assert float(rows[-1]["value"]) == 0.75


def test_best_and_worst_images_by_the_metrics_direction(made, opened, client):
    address = "mlcore_explanationset_extremes"
    shown = opened(address, made.sets["grad_cam"].pk, metric="complexity")
    best, worst = shown.split("<h2>Worst</h2>")
    names = [image.name for image in made.images]
    assert [name for name in names if f'title="{name}"' in best] == names[:3]
    assert [name for name in names if f'title="{name}"' in worst] == names[3:5]
    assert worst.index(names[4]) < worst.index(names[3])  # the worst first
    assert "Left out: constant" in shown
    assert f"?image={made.images[0].pk}&amp;with={made.sets['grad_cam'].pk}" in best


def test_empty_pages_say_what_to_do(client):
    owner = researcher()
    empty = images(1)[0].image_set
    type(empty).objects.filter(pk=empty.pk).update(owner=owner)
    client.force_login(owner)
    for name, words in (("scores", "Explain a classifier first"), ("maps", "Explain a classifier by one")):
        page = client.get(reverse(f"admin:mlcore_imageset_{name}", args=[empty.pk])).content.decode()
        assert words in page
    assert client.get(reverse("admin:mlcore_imageset_scores_csv", args=[empty.pk])).status_code == 200


def test_a_set_without_scores_and_a_metric_without_single_images(made, opened):
    Score.objects.update(per_image={})
    assert "none for a single image" in opened("mlcore_explanationset_extremes", made.sets["lrp"].pk)
    Score.objects.all().delete()
    assert "No scores of these maps yet" in opened("mlcore_explanationset_extremes", made.sets["lrp"].pk)
    assert "Score maps" in opened()


def test_a_score_run_shows_its_own_table(made, opened):
    shown = opened("mlcore_run_change", made.run.pk, sort="complexity")
    assert "Baselines" in shown
    assert "0.783 to 0.883" in shown
    assert "?sort=pointing" in shown


def test_a_page_of_a_set_shows_its_scores_and_leads_on(made, opened):
    shown = opened("mlcore_explanationset_change", made.sets["lrp"].pk)
    assert "Score these maps" in shown
    assert "Best and worst images" in shown
    row = Explanation.objects.filter(set=made.sets["lrp"]).first()
    assert f"maps/?image={row.image_id}&amp;with={made.sets['lrp'].pk}" in shown
