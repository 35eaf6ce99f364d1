"""What the pages of the documentation tell a reader to type."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str) -> list[str]:
    """What stands between fences on a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
