"""The settings file: where it is, what it may be, and what is said of one that is not."""

import pytest

from reconad_plugin.config.settings import CONFIG_VARIABLE, load_settings
from reconad_plugin.errors import ConfigError
from tests.unit.conftest import MINIMAL_SETTINGS as MINIMAL


def test_missing_file_says_what_to_do(tmp_path):
    """A file that is not there is named, with what to do."""
    with pytest.raises(
        ConfigError, match=rf"nowhere.toml does not exist: write it .* {CONFIG_VARIABLE}"
    ):
        load_settings(tmp_path / "nowhere.toml")


def test_broken_toml_says_where(write_settings):
    """A file that is no TOML is named with the place of the mistake."""
    with pytest.raises(ConfigError, match=r"settings must be TOML; .*reconad.toml: .*line 2"):
        load_settings(write_settings("[storage]\nbucket = parts"))


def test_a_mark_of_the_encoding_is_passed_over(write_settings):
    """Windows' editor begins files with one."""
    file = write_settings(MINIMAL)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())

    assert load_settings(file) == load_settings(write_settings(MINIMAL))


def test_file_that_is_no_text_is_refused(tmp_path):
    """A file in another encoding is named, not a traceback."""
    path = tmp_path / "reconad.toml"
    path.write_bytes('[storage]\nbucket = "größe"'.encode("latin-1"))

    with pytest.raises(ConfigError, match=r"settings must be TOML; .*reconad.toml"):
        load_settings(path)


def test_folder_is_no_settings_file(tmp_path):
    """A path that is a folder is named, not a traceback."""
    with pytest.raises(ConfigError, match="settings must be in a file"):
        load_settings(tmp_path)


def test_variable_points_at_the_file(write_settings, tmp_path, monkeypatch):
    """Without an argument the environment's file is read, whatever lies in the folder."""
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(MINIMAL.replace("bolt", "nut"))
    write_settings(MINIMAL)
    monkeypatch.setenv(CONFIG_VARIABLE, str(elsewhere))

    assert list(load_settings().products) == ["nut"]


def test_file_in_the_working_folder_is_the_default(write_settings, tmp_path, monkeypatch):
    """Without an argument and a variable it is reconad.toml here."""
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    write_settings(MINIMAL)

    assert list(load_settings().products) == ["bolt"]
