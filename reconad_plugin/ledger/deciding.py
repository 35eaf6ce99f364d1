"""What persons decide on images that wait, so that no decision is overwritten unseen."""

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from reconad_plugin.errors import ConfigError
from reconad_plugin.images.names import printable
from reconad_plugin.ledger.night_record import DEFECT, SAID_BY_PERSONS, WAITING

MOST_CHARACTERS: Final = 60  # of the name of a person or of a defect
_RESERVED: Final = ("masks", "normal", "simulated")  # folders of golden images, and what is none
_MARK: Final = 12  # characters that tell decisions on one image apart


@dataclass(frozen=True)
class Decision:
    """What a person says of some images of a night."""

    decision: str  # ``normal``, ``defect``, or ``waiting`` to take back what was said
    by: str = ""  # the person; empty where nobody gave a name
    at: str = ""  # when, ISO 8601
    defect: str = ""  # its name; empty without one

    @property
    def columns(self) -> dict[str, str]:
        """What stands in the rows of a review."""
        defect = self.defect if self.decision == DEFECT else ""
        return {"decision": self.decision, "defect": defect, "by": self.by, "at": self.at}


def marks(review: pd.DataFrame) -> pd.Series:
    """Mark what each row of a review says by now, so that a person can say what was seen: (N,)."""
    said = review[["decision", *SAID_BY_PERSONS]].itertuples(index=False)
    return pd.Series([_mark("\n".join(each)) for each in said], review.index, dtype=object)


def decide(review: pd.DataFrame, decision: Decision, seen: Mapping[str, str]) -> pd.DataFrame:
    """Write a decision into a night's review, for the images that are as the person saw them.

    Where somebody else decided meanwhile, that decision stays.

    Args:
        review: of the night, as it is now.
        decision: what the person says.
        seen: SHA-256 of each image -> its mark when the person looked at it.

    Returns:
        The review with the decision; ``left`` finds what was left as it is.
    """
    is_as_seen = review["sha256"].map(seen) == marks(review)
    changed = review.copy()
    for name, value in decision.columns.items():
        changed[name] = changed[name].mask(is_as_seen, value)
    return changed


def left(review: pd.DataFrame, decision: Decision, seen: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows of a review that ``decide`` left, since they say something else by now."""
    return review[review["sha256"].isin(list(seen)) & ~says(review, decision)]


def says(review: pd.DataFrame, decision: Decision) -> pd.Series:
    """Say which rows of a review hold this very decision: (N,) bool."""
    said = decision.columns
    return (review[list(said)] == pd.Series(said)).all(axis=1)


def check_person(name: str) -> str:
    """Return the name of a person, without spaces around it.

    Raises:
        ConfigError: it is empty, too long, or has characters that cannot be shown.
    """
    name = _checked(name, "a person's name")
    if not name:
        raise ConfigError("a decision needs the name of the person; got none: write yours first")
    return name


def check_defect(name: str) -> str:
    """Return the name of a defect, without spaces around it; it may be empty.

    Raises:
        ConfigError: it is too long, cannot be shown, or can name no folder of golden images.
    """
    name = _checked(name, "a defect's name")
    if name.lower() in _RESERVED or "/" in name or name.startswith("."):
        raise ConfigError(
            f"a defect's name must have no slash, begin with no dot and be none of "
            f"{', '.join(_RESERVED)}; got {name!r}: choose another"
        )
    return name


def describe_decision(row: Mapping[Hashable, Any]) -> str:
    """Say what a row of a review says, in words.

    Example:
        >>> describe_decision({"decision": "defect", "defect": "pit", "by": "Ana", "at": ""})
        'defect, pit, by Ana'
    """
    said = "waiting" if row["decision"] == WAITING else row["decision"]
    by = f"by {row['by']}" if row["by"] else ""
    return ", ".join(filter(None, (said, row["defect"], by)))


def _checked(name: str, what: str) -> str:
    name = " ".join(name.split())
    if len(name) > MOST_CHARACTERS or printable(name) != name:
        raise ConfigError(
            f"{what} has at most {MOST_CHARACTERS} characters, all of which can be shown; got "
            f"{len(name)}, '{printable(name[:MOST_CHARACTERS])}': choose another"
        )
    return name


def _mark(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:_MARK]
