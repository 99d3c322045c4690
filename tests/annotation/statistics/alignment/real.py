"""The answers of the released harmony_app: fifteen cells, five raters, 3,000 pairs of maps."""

import sqlite3
from pathlib import Path

from annotation.statistics.alignment.rows import Rows, rows_of

CHOICES = {"original": -1, "neither": 0, "learn": 1}
# Four labels were given twice: the first counts.
LABELS = """
    SELECT user.username, example.image, experiment.name || ' × ' || method.name, label.choice
    FROM relevavance_label AS label
    JOIN auth_user AS user ON user.id = label.user_id
    JOIN relevavance_example AS example ON example.id = label.example_id
    JOIN relevavance_experiment AS experiment ON experiment.id = example.experiment_id
    JOIN relevavance_relevancymethod AS method ON method.id = example.relevancy_method_id
    WHERE label.id IN (SELECT min(id) FROM relevavance_label GROUP BY user_id, example_id)
"""
RMA_GRAD_CAM = "IoULearnableMetric × GradCamAttributor"


def connect(folder: Path) -> sqlite3.Connection:
    path = folder / "studies" / "harmony_app_vgg.sqlite3"
    return sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)


def answers(folder: Path) -> Rows:
    connection = connect(folder)
    found = [(rater, image, cell, CHOICES[choice]) for rater, image, cell, choice in connection.execute(LABELS)]
    connection.close()
    return rows_of(found, kinds=dict.fromkeys({one[0] for one in found}, "imported"))
