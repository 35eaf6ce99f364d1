"""What became of a version, in a type and in words, and what judged it in plots."""

import io

import pytest
from matplotlib.figure import Figure

from flows.jobs.judging import PromotionOutcome, _title, outcome_of
from mlflow_models.registry import PROMOTED, REJECTED, ROLLED_BACK, STATE_TAG, Version


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        pytest.param(PROMOTED, "promoted 2", id="promoted"),
        pytest.param(REJECTED, "rejected 2", id="rejected"),
        pytest.param(ROLLED_BACK, "rolled_back 2", id="rolled back"),
    ],
)
def test_an_outcome_in_words(kind, words):
    """Logs, reports and the action of a night show it like this; a version that was judged before
    has it as its state."""
    version = Version("2", "models:/reconad-part/2", {STATE_TAG: kind}, "run")

    assert str(PromotionOutcome(kind, "2")) == words
    assert outcome_of(version) == PromotionOutcome(kind, "2")


def test_a_version_that_was_not_judged_has_no_outcome():
    """It is judged then."""
    assert outcome_of(Version("2", "models:/reconad-part/2", {}, "run")) is None


@pytest.mark.parametrize("name", ["cost $5 $^", "$\\frac$", "a_b|c"])
def test_any_name_of_a_defect_can_be_drawn(name):
    """A person types it on the review page; a broken formula would stop the gate."""
    figure = Figure()
    text = figure.text(0, 0, _title(name))

    figure.savefig(io.BytesIO())

    assert text.get_text().replace("\\$", "$") == name
