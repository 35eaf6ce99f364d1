"""The numbers of the gate stand in one table, and the documentation shows it."""

from pathlib import Path

from tests.doc_tables import limits_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "gate.md"


def test_the_documentation_shows_the_numbers_of_the_code():
    """Replace the table of docs/gate.md with that of ``limits_table`` where a number changes."""
    assert limits_table() in PAGE.read_text(encoding="utf-8")
