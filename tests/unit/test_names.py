"""Names that a file system has and text has not."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.commands.json_file import write_json
from flows.jobs import by_hand
from reconad_plugin.errors import InvalidImageError
from reconad_plugin.images.names import as_text, path_of, printable, read_file, uri_of
from reconad_plugin.store import mirror

LATIN_1 = os.fsdecode(b"caf\xe9.png")
any_names = st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name))


@given(name=any_names)
def test_any_name_is_shown_on_one_line_and_kept_as_text(name):
    """Whatever bytes it has; and its file is found again by its address."""
    path = Path("/parts") / os.fsdecode(name)

    shown, uri = printable(str(path)), uri_of(path)

    assert shown.isprintable()
    assert len(shown.splitlines()) == 1
    assert as_text(str(path)).encode()
    assert uri.encode()
    assert path_of(uri) == path.resolve()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("a b.png", "a b.png", id="ordinary"),
        pytest.param("零件.png", "零件.png", id="other letters"),
        pytest.param("🙂.png", "🙂.png", id="emoji"),
        pytest.param(LATIN_1, r"caf\xe9.png", id="Latin 1"),
        pytest.param("a\nb\t.png", r"a\nb\t.png", id="line feed and tab"),
        pytest.param("a\x1b[31m.png", r"a\x1b[31m.png", id="colours of a terminal"),
        pytest.param("a\u202egnp.png", r"a\u202egnp.png", id="from right to left"),
    ],
)
def test_what_cannot_be_printed_is_escaped(name, shown):
    """All else stays as it is, so that it can be copied."""
    assert printable(name) == shown


def test_json_is_valid_text_whatever_the_names(tmp_path):
    """A byte that is no text is written as it is shown; all else comes back as it was."""
    names = ["a\nb.png", "🙂.png", '"\\".png', LATIN_1]

    write_json({"images": names, LATIN_1: 1}, tmp_path / "out.json")

    read = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert read == {"images": [*names[:3], r"caf\xe9.png"], r"caf\xe9.png": 1}


@pytest.mark.parametrize(
    "name", ["plain.png", "a\nb.png", "a\rb.png", LATIN_1, "-x.png", "%41.png"]
)
def test_a_picture_of_any_name_is_found_again(tmp_path, monkeypatch, name):
    """By the address that a version keeps of what it learnt from."""
    (tmp_path / name).write_bytes(b"pixels")
    sha256 = mirror.hash_file(tmp_path / name)
    learnt = pd.DataFrame({"uri": [uri_of(tmp_path / name)], "sha256": [sha256]})
    file = tmp_path / "images.csv"
    file.write_text(learnt.to_csv(index=False), encoding="utf-8")

    found = by_hand._still_there(pd.read_csv(file), {})

    assert found["path"].tolist() == [(tmp_path / name).resolve()]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        pytest.param(1, "1 of 2 images that the version learnt from are gone or changed; the "
                     "others are rehearsed", id="one"),
        pytest.param(2, "2 of 2 images that the version learnt from are gone or changed; none is "
                     "rehearsed, so the new version may forget what they show", id="all"),
    ],
)  # fmt: skip
def test_images_that_are_gone_are_counted(tmp_path, capsys, gone, said):
    """Where none is left, nobody is told that others are rehearsed."""
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]))
    hashes = [mirror.hash_file(path) for path in paths]
    for path in paths[:gone]:
        path.unlink()

    table = pd.DataFrame({"uri": [str(path) for path in paths], "sha256": hashes})
    found = by_hand._still_there(table, {})

    assert len(found) == 2 - gone
    assert capsys.readouterr().err.strip() == f"reconad: {said}"


@pytest.fixture(
    params=["missing", "folder", "dangling", "pipe", "device", "denied", "loop", "long"]
)
def no_picture(request, tmp_path, monkeypatch):
    """A path that no picture can be read from, and why."""
    path = tmp_path / "x.png"
    match request.param:
        case "missing":
            return path, "there is none of this name"
        case "folder":
            path.mkdir()
        case "dangling":
            path.symlink_to(tmp_path / "nothing")
            return path, "there is none of this name"
        case "loop":
            path.symlink_to(path)
            return path, "there is none of this name"
        case "long":
            return tmp_path / f"{300 * 'x'}.png", "File name too long"
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "denied":
            path.touch()

            def refuse(self):
                raise PermissionError(13, "Permission denied", str(self))

            monkeypatch.setattr(Path, "read_bytes", refuse)
            return path, "Permission denied"
    return path, "it is none"


def test_what_cannot_be_read_has_a_reason(no_picture):
    """Nothing blocks, and nothing but our own error comes."""
    path, why = no_picture

    with pytest.raises(
        InvalidImageError, match=f"must be a file that can be read; {why}"
    ) as caught:
        read_file(path)
    with pytest.raises(InvalidImageError, match=r"x\.png: .*take it out of the folder"):
        mirror.hash_file(path)

    assert caught.value.reason == "unreadable"
