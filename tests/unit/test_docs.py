"""The documentation says of commands, decisions and pages what is there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from flows.commands.cli import _parse
from tests.doc_tables import commands_page, decisions_list

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```(?:sh|bash)?\n(.*?)^```$", re.M | re.S)


def test_every_command_stands_in_the_reference_as_it_is():
    """Replace what docs/reference/commands.md says from its first group on with that of
    ``commands_page`` where a command changes."""
    assert (
        (DOCS / "reference" / "commands.md").read_text(encoding="utf-8").endswith(commands_page())
    )


def test_every_decision_is_listed():
    """Replace the list of docs/decisions/index.md with that of ``decisions_list``."""
    folder = DOCS / "decisions"
    assert (
        (folder / "index.md")
        .read_text(encoding="utf-8")
        .endswith(f"\n\n{decisions_list(folder)}\n")
    )


def test_every_page_stands_in_the_menu():
    """Decisions stand in their list."""
    menu = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]

    missing = [page for page in pages if page not in menu and not page.startswith("decisions/0")]
    assert missing == []


def test_the_lock_has_the_versions_that_are_tested_together():
    """And a hash for each, and nobody's address. Its head says how it is made."""
    locked, constraints = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("requirements.lock", "constraints.txt")
    )
    entries = re.findall(r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}", locked, re.M)
    tested = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.M))
    tested = {_as_pip_says(name): version for name, version in tested.items()}

    assert len(entries) == locked.count("==") > 100
    tested["setuptools"] = dict(entries)["setuptools"]  # comes with Python's own pip too
    assert {name: tested[_as_pip_says(name)] for name, _ in entries} == dict(entries)
    assert "://" not in locked


def _as_pip_says(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def commands_shown():
    """Each ``reconad`` command of a block, and where it stands."""
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("reconad "):
                    yield pytest.param(line, id=f"{page.name}: {line[:60]}")


@pytest.mark.parametrize("line", list(commands_shown()))
def test_a_command_that_a_page_shows_is_one(line):
    """Its options are there, and take what they are given."""
    words = shlex.split(re.split(r"\s(?:\||>|&|;)(?:\s|$)", line)[0], comments=True)[1:]

    _parse(words)
