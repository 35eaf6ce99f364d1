"""What became of a version, in a type and in words, and what judged it in plots."""

import io

import pandas as pd
import pytest
from matplotlib.figure import Figure

from flows.jobs import judging
from flows.jobs.judging import Contenders, PromotionOutcome, _title, outcome_of
from mlflow_models.registry import PROMOTED, REJECTED, ROLLED_BACK, Version
from mlflow_models.version_tags import STATE_TAG


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


def test_what_filled_one_of_both_judges_neither(monkeypatch):
    """Or the version that has seen a defect would win by it."""
    filled = {"1": ["a"], "2": ["a", "b"]}
    listed = {number: pd.DataFrame({"sha256": hashes}) for number, hashes in filled.items()}
    monkeypatch.setattr(judging, "filled_from", lambda version: listed[version.number])
    first, second = (
        Version(number, f"models:/reconad-part/{number}", {}, "run") for number in "12"
    )

    assert Contenders(second, first, ()).filled_from == {"a", "b"}
    assert Contenders(first, None, ()).filled_from == {"a"}


@pytest.mark.parametrize("name", ["cost $5 $^", "$\\frac$", "a_b|c"])
def test_any_name_of_a_defect_can_be_drawn(name):
    """A person types it on the review page; a broken formula would stop the gate."""
    figure = Figure()
    text = figure.text(0, 0, _title(name))

    figure.savefig(io.BytesIO())

    assert text.get_text().replace("\\$", "$") == name
