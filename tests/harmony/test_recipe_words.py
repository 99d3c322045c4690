"""Options and values as the researchers' pages say them."""

from harmony.templatetags.researcher import gain, metric_value, recipe_default, recipe_line
from mlcore.catalogue import differences


def test_a_list_of_choices_is_said_by_its_labels():
    lines = {line.field.name: line for line in differences("score", {"metrics": ["content_heat_map", "road"]})}
    assert recipe_line(lines["metrics"]) == "Content heat map, ROAD"
    assert recipe_default(lines["metrics"]) == "–"
    lines = {line.field.name: line for line in differences("explain", {"methods": ["lrp"], "target": "true"})}
    assert recipe_line(lines["target"]) == "the true class"
    assert recipe_line(lines["methods"]).startswith("LRP")


def test_what_is_not_there_is_a_dash():
    assert [metric_value(value, "accuracy") for value in (None, "", 0.5)] == ["–", "–", "50.0 %"]
    assert [gain(value, "harmony_score") for value in (None, "")] == ["–", "–"]
