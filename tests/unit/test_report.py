"""A night becomes a report of Evidently, and a few kilobytes of it the dashboard's."""

from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pytest

from monitoring.report import lean, run_report
from reconad_plugin.ledger.night_values import NIGHT_VALUES, night_values
from reconad_plugin.watch.cause import CAUSES
from reconad_plugin.watch.results import CountCheck
from reconad_plugin.watch.statistics import STATISTICS
from tests.night_tables import GOLDEN, NIGHT, record, score_table

OF_GOLDEN = {"golden_auroc", "golden_recall", "golden_floor"}


def values_of(snapshot):
    """Name of the metric with its parameter -> value."""
    found = {}
    for result in snapshot.metric_results.values():
        params = result.metric_value_location.metric.params
        name = params["type"].rsplit(":", 1)[1]
        found[name, params.get("column", params.get("statistic"))] = result.value
    return found


def ordinary_values():
    return night_values(record(golden=GOLDEN), 0.3, is_retrained=False, is_promoted=False)


def test_a_report_has_every_statistic_and_every_value_of_the_night():
    """Ours and Evidently's own, and its drift score where there are nights before."""
    table, reference = score_table(), score_table(images=100, seed=1)

    values = values_of(run_report(NIGHT, table, ordinary_values(), reference))

    assert {name for kind, name in values if kind == "NightMean"} == set(STATISTICS)
    assert {name for kind, name in values if kind == "NightValue"} == set(NIGHT_VALUES)
    assert values["RowCount", None] == 40
    assert values["QuantileValue", "pred_score"] == table["pred_score"].quantile(0.95)
    assert values["ValueDrift", "pred_score"] > 0


def test_a_table_of_an_older_reconad_makes_a_report():
    """What its columns do not allow is left out, and so is what is not a number."""
    table = score_table(noise=np.nan).drop(columns=["map_extent", "framing_x"])

    values = values_of(run_report(NIGHT, table, ordinary_values(), None))

    left_out = {"noise", "framing_x", "log_map_extent"}
    assert {name for kind, name in values if kind == "NightMean"} == set(STATISTICS) - left_out


def test_a_table_of_a_served_model_makes_a_report():
    """Its version may be a name, and it may know the scores alone, beside a reference."""
    table = score_table()[["pred_score", "matched_score", "model_version"]]
    named = record(model_version="housing-v2")

    night = night_values(named, 0.3, is_retrained=False, is_promoted=False)
    values = values_of(run_report(NIGHT, table, night, score_table(seed=1)))

    assert set(night) == set(NIGHT_VALUES) - {"model_version", *OF_GOLDEN}
    assert values["ValueDrift", "pred_score"] > 0
    assert ("ValueDrift", "luminance") not in values


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_cells_of_maps_are_no_column_of_a_report():
    """A table with them makes the same report, beside tables of nights that were kept without."""
    table, reference = score_table(), score_table(images=100, seed=1)
    with_cells = table.assign(map_cells=[np.zeros(256)] * len(table))

    values = values_of(run_report(NIGHT, with_cells, ordinary_values(), reference))

    assert values == values_of(run_report(NIGHT, table, ordinary_values(), reference))


def test_nights_before_an_update_are_a_reference_for_those_after():
    """What only tonight's table has is compared with nothing."""
    reference = score_table(seed=1).drop(columns=["map_extent", "is_suspect"])

    values = values_of(run_report(NIGHT, score_table(), ordinary_values(), reference))

    assert {name for kind, name in values if kind == "NightMean"} == set(STATISTICS)
    assert values["ImageShare", "is_suspect"] == 0


def test_a_run_is_stamped_with_its_night_without_a_time_zone():
    """One aware stamp among naive ones would break the panels."""
    model = run_report(NIGHT, score_table(), ordinary_values(), None).to_snapshot_model()

    assert model.timestamp == datetime(2026, 3, 5)
    assert model.timestamp.tzinfo is None
    assert model.name == "night 2026-03-05"


def test_a_lean_run_keeps_its_values_in_a_few_kilobytes():
    """Two years of nights stay quick on the dashboard."""
    snapshot = run_report(NIGHT, score_table(), ordinary_values(), score_table(seed=1))
    before = values_of(snapshot)

    content = lean(snapshot).dumps()

    assert values_of(snapshot) == before
    assert len(content) < 20_000


def test_all_causes_that_are_seen_are_marked():
    """The cause and the further ones."""
    values = night_values(record(cause="defects", also=("light",)), 0.3, True, False)

    assert [cause for cause in CAUSES if values[f"alarm_{cause}"]] == ["light", "defects"]
    assert (values["alarm"], values["retrained"], values["promoted"]) == (1, 1, 0)


def test_a_cause_without_an_alarm_is_not_marked():
    """Nothing is open, whatever else the record says."""
    values = night_values(record(also=("light",)), 0.3, False, False)

    assert values["alarm"] == values["alarm_light"] == values["open_nights"] == 0


def test_the_farthest_test_is_measured_by_its_limit():
    """Scores, moving averages and counts alike: above 1 a test fails."""
    suspects = CountCheck(above=9, images=40, expected_share=0.01, chance=1e-6, limit=1e-4)

    quiet = night_values(record(), 0.3, False, False)["farthest"]
    loud = night_values(record(suspects=suspects), 0.3, False, False)["farthest"]

    assert quiet == pytest.approx(0.5)
    assert loud == pytest.approx(1.5)


def test_a_count_that_never_happens_by_chance_is_a_number():
    """A chance that is rounded to 0 has no logarithm."""
    suspects = CountCheck(above=40, images=40, expected_share=0.01, chance=0.0, limit=1e-4)
    seen = record(date(2026, 1, 1), suspects=suspects)

    assert night_values(seen, 0.3, False, False)["farthest"] > 1


def test_a_night_has_the_figures_on_the_golden_set_where_it_is_followed():
    """And its floor where one is set: the dashboard draws what held on the night."""
    unset = replace(GOLDEN, floor=None)

    nights = [night_values(record(golden=each), 0.3, False, False) for each in (GOLDEN, unset)]

    assert [nights[0][name] for name in sorted(OF_GOLDEN)] == [0.9, 0.95, 0.5]
    assert OF_GOLDEN - set(nights[1]) == {"golden_floor"}
