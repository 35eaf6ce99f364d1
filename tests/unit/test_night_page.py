"""The night as a page, and as the lines of ``reconad status``."""

from flows.commands.product_status import WatchStatus, golden_lines, watch_lines
from flows.jobs.night_report import night_page
from tests.night_tables import GOLDEN, record


def test_a_page_says_what_happened_first_and_then_every_test():
    """Numbers have the names that a person gives them, and are no logarithms."""
    head, _, explanation, _, *table, _, limits = night_page(record(cause="light")).splitlines()

    assert head == "**Night 2026-03-05**, version 3: ALARM, cause light"
    assert explanation == "The pictures are darker. Look at the lamp."
    assert table[2:] == [
        "| brightness | 0.331 | 0.412 | -2.00 | +1.00 |  |",
        "| sharpness | 1.392 | 1.51 | too few nights | too few nights |  |",
    ]
    assert limits.endswith("a test fails beyond 4.0 tonight, or 4.0 on average.")


def test_a_page_of_a_night_without_tests_is_a_page():
    """Nothing could be compared."""
    assert "no alarm" in night_page(record(checks={}))


def test_status_says_what_happened_and_what_to_do():
    """An alarm that was answered needs nothing any more."""
    seen = record(cause="light", also=("camera",), since="2026-03-01")

    assert watch_lines(None) == ["no night has been watched yet"]
    assert watch_lines(WatchStatus(seen, is_open=True)) == [
        "night 2026-03-05: ALARM since 2026-03-01, light, also camera",
        "The pictures are darker. Look at the lamp.",
    ]
    (answered,) = watch_lines(WatchStatus(seen, is_open=False))
    assert answered.endswith("was resolved or a version answered it")
    assert watch_lines(WatchStatus(record(), is_open=False))[0] == "night 2026-03-05: no alarm"


def test_page_and_status_say_how_the_golden_set_fares():
    """Where it is followed."""
    seen = WatchStatus(record(golden=GOLDEN), is_open=False)
    said = "image_AUROC 0.900 on 12 defects (0.930 without the lowest), below 0.95; recall 50%"

    assert golden_lines(seen) == [f"golden set, version 3: {said}"]
    assert f"Golden set: {said}." in night_page(seen.record).splitlines()
    assert seen.to_dict()["golden"]["auroc"] == 0.9
    assert golden_lines(WatchStatus(record(), is_open=False)) == golden_lines(None) == []
