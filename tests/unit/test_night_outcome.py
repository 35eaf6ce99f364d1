"""What was done about a night, in the words that a person reads."""

import pytest

from flows.jobs.night_outcome import Action, ActionKind


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action(ActionKind.NONE), "none"),
        (Action(ActionKind.NO_IMAGES), "no images"),
        (Action(ActionKind.GATHERING, remark=": 1 of 3 nights"), "gathering: 1 of 3 nights"),
        (Action(ActionKind.TRAINED, "promoted", "1"), "trained, promoted 1"),
        (Action(ActionKind.TRAINED_BEFORE), "trained the first version"),
        (Action(ActionKind.RETRAINED, "rejected", "4"), "retrained, rejected 4"),
        (Action(ActionKind.FINETUNED, "promoted", "2"), "fine-tuned, promoted 2"),
        (Action(ActionKind.EVENT_SENT), "drift event sent"),
        (Action(ActionKind.HELD), "hold for review"),
        (Action(ActionKind.ALARM_OPEN, remark=" since 2026-03-01"), "alarm open since 2026-03-01"),
    ],
    ids=lambda value: value.kind.name.lower() if isinstance(value, Action) else "",
)
def test_an_action_reads_as_it_always_did(action, words):
    """The commands print these words, and the glossary lists them."""
    assert str(action) == words
