"""Pages about scores: the table of an image set, the same as CSV, and the best and worst images of a set of maps."""

import csv
import io
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse

from harmony.researcher import owned
from mlcore.admin import score_table, tiles
from mlcore.exchange.csv_cells import csv_cell
from mlcore.models import Explanation, ExplanationSet, Image, Run, Score
from mlcore.runs.metric_columns import MetricColumn

SHOWN = 12
PART_NAMES = dict(Score._meta.get_field("part").choices or ())


class ScorePages:
    """Pages of the image set's admin."""

    render: Any
    seen: Any

    def scores_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Rows are sets of maps, columns metrics."""
        image_set = self.seen(request, pk)
        table, part, parts = _table(request, image_set)
        return self.render(
            request, "admin/harmony/score_page.html", obj=image_set, title="Scores of maps", table=table, part=part,
            parts=[(name, PART_NAMES.get(name, name)) for name in parts],
            sort=request.GET.get("sort", ""), order=request.GET.get("order", ""),
            keep=urlencode({"part": part}) + "&", sets=score_table.sets_of(image_set, request.user).count(),
        )  # fmt: skip

    def scores_csv(self, request: HttpRequest, pk: int) -> HttpResponse:
        """One line a set and metric, with everything that the table shows or folds."""
        image_set = self.seen(request, pk)
        table, part, _ = _table(request, image_set)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ["classifier", "method", "layer", "preset", "target", "baseline", "part", "metric", "better", "unit",
             "value", "low", "high", "n", "left_out", "share_of_ceiling", "explanation_set", "run"]
        )  # fmt: skip
        for row in [*table.rows, *table.baselines]:
            one = row.explained
            for column, cell in zip(table.columns, row.cells, strict=True):
                if cell.score is not None:
                    writer.writerow(
                        [csv_cell(one.classifier.name), one.method, csv_cell(one.layer), one.preset, one.target,
                         "yes" if row.baseline else "no", part, *_metric(column), *_numbers(cell.score),
                         _left_out(cell.score), "" if cell.of_ceiling is None else cell.of_ceiling, one.uuid,
                         csv_cell(cell.score.run.name)]
                    )  # fmt: skip
        for column, said in zip(table.columns, table.ceiling, strict=True):
            if said:
                writer.writerow(
                    ["people among themselves", "", "", "", "", "no", part, *_metric(column),
                     *(said.get(name) for name in ("value", "low", "high", "n")), "", "", "", ""]
                )  # fmt: skip
        response = HttpResponse(stream.getvalue(), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="scores_{image_set.pk}_{part}.csv"'
        response["Cache-Control"] = "private, no-store"
        return response


class ExtremePages:
    """Pages of the explanation set's admin."""

    render: Any
    seen: Any

    def extremes_page(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The twelve best and the twelve worst images by one metric."""
        explained = self.seen(request, pk)
        known = (
            Score.objects.filter(explanation_set=explained, value__isnull=False).order_by("-created", "-pk")
            .values_list("metric", "part")
        )  # fmt: skip
        pairs = list(dict.fromkeys(known))
        metrics = score_table.in_catalogue_order([metric for metric, _ in pairs])
        metric = request.GET.get("metric", "")
        metric = metric if metric in metrics else next(iter(metrics), "")
        parts = sorted({part for name, part in pairs if name == metric}, key=lambda part: (part != "all", part))
        part = request.GET.get("part", "")
        part = part if part in parts else next(iter(parts), "")
        score = (
            Score.objects.filter(explanation_set=explained, metric=metric, part=part)
            .select_related("run").defer("run__manifest", "run__log").order_by("-created", "-pk").first()
        )  # fmt: skip
        best, worst = _ends(explained, score) if score else ([], [])
        return self.render(
            request, "admin/harmony/extremes.html", obj=explained, title="Best and worst images",
            score=score, column=MetricColumn.of(metric) if metric else None, best=best, worst=worst,
            metrics=[MetricColumn.of(name) for name in metrics], part=part,
            parts=[(name, PART_NAMES.get(name, name)) for name in parts],
            directed=metric != "" and score_table.higher_is_better(metric) is not None,
        )  # fmt: skip


def _table(request: HttpRequest, image_set: Any) -> tuple[score_table.Table, str, list[str]]:
    sets = score_table.sets_of(image_set, request.user)
    parts = score_table.parts_with_scores(sets.order_by().values("pk"))
    part = request.GET.get("part", "")
    part = part if part in parts else next(iter(parts), "all")
    with_scores = Score.objects.filter(part=part, explanation_set__isnull=False).order_by().values("explanation_set")
    shown = list(sets.filter(pk__in=with_scores).select_related("classifier")[: score_table.MOST_SETS + 1])
    cut = len(shown) > score_table.MOST_SETS
    shown = shown[: score_table.MOST_SETS]
    scores = score_table.scores_of(ExplanationSet.objects.filter(pk__in=[one.pk for one in shown]), part)
    runs = owned(Run.objects.filter(image_set=image_set), request.user)
    table = score_table.build(
        shown, scores, score_table.people_of(runs, part),
        sort=request.GET.get("sort", ""), order=request.GET.get("order", ""),
    )  # fmt: skip
    table.cut = cut
    return table, part, parts


def _ends(explained: ExplanationSet, score: Score) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tiles of the best and the worst images; no image stands in both."""
    values = sorted(
        ((value, name) for name, value in score.per_image.items() if isinstance(value, (int, float))),
        reverse=score_table.higher_is_better(score.metric) is not False,
    )
    half = min(SHOWN, (len(values) + 1) // 2)
    best, worst = values[:half], values[half:][-SHOWN:][::-1]
    names = [name for _, name in (*best, *worst)]
    pks = dict(Image.objects.filter(uuid__in=names).values_list("uuid", "pk"))
    images = {str(uuid): pk for uuid, pk in pks.items()}
    maps = Explanation.objects.filter(set=explained, image__in=images.values()).select_related("image", "set")
    found = {tile["map"].image_id: tile for tile in tiles.of(explained, list(maps))}

    def shown(end: list[tuple[float, str]]) -> list[dict[str, Any]]:
        return [found[images[name]] | {"value": value} for value, name in end if images.get(name) in found]

    return shown(best), shown(worst)


def _metric(column: MetricColumn) -> tuple[str, str, str]:
    better = {"↑": "higher", "↓": "lower"}.get(column.arrow, "")
    return column.name, better, column.unit


def _numbers(score: Score) -> tuple[Any, ...]:
    return tuple("" if value is None else value for value in (score.value, score.low, score.high, score.n))


def _left_out(score: Score) -> str:
    return "; ".join(f"{reason}: {n}" for reason, n in score.left_out.items())
