"""``reconad review-page``: who may use the page, and where it listens."""

import re
import socket

import pytest
import uvicorn

from flows.commands import review_page
from flows.commands.review_page import TOKEN_VARIABLE
from mlflow_models import registry
from reconad_plugin.errors import ConfigError
from reconad_plugin.ledger.threshold_setting import ThresholdSetting
from tests.command_line import run
from tests.unit.conftest import MINIMAL_SETTINGS


@pytest.fixture
def settings(write_settings, monkeypatch):
    """Settings of one product; the page is never served."""
    monkeypatch.setenv("RECONAD_CONFIG", str(write_settings(MINIMAL_SETTINGS)))
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, sockets: sockets[0].close())


def test_each_start_has_a_token_of_its_own(settings):
    """It is printed once, with an address of this machine."""
    ended = [run("review-page", "--port", "0") for _ in range(2)]

    tokens = {
        re.findall(r"http://127\.0\.0\.1:\d+/\?token=(\S+)", each.stdout)[0] for each in ended
    }
    assert [each.returncode for each in ended] == [0, 0]
    assert len(tokens) == 2
    assert min(map(len, tokens)) >= 32
    assert ended[0].stderr == ""


def test_a_token_can_be_given(settings):
    """So that an address outlives a start; a short one is refused."""
    given = run("review-page", "--port", "0", **{TOKEN_VARIABLE: "a1" * 10})
    short = run("review-page", "--port", "0", **{TOKEN_VARIABLE: "a1"})

    assert f"token={'a1' * 10}\n" in given.stdout
    assert short.returncode == 2
    assert "at least 16 letters and digits; got 2 characters" in short.stderr


def test_a_page_for_a_network_warns(settings):
    """Its token is not encrypted."""
    ended = run("review-page", "--port", "0", "--host", "0.0.0.0")  # noqa: S104

    assert ended.returncode == 0
    assert "put a proxy with TLS before it" in ended.stderr


def test_a_port_that_is_taken_is_named(settings):
    """Nothing is served then."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("review-page", "--port", str(port))

    assert ended.returncode == 2
    assert f"got 127.0.0.1:{port} (" in ended.stderr
    assert "Address already in use" in ended.stderr
    assert "choose another with --port" in ended.stderr


def test_a_threshold_is_set_on_the_version_that_serves(monkeypatch):
    """A page that was opened before a promotion has to be looked at again."""
    version = registry.Version("2", "models:/reconad-bolt/2", {}, "run")
    monkeypatch.setattr(registry, "champion", lambda product: version)
    monkeypatch.setattr(registry, "version", lambda product, number: version)
    written = []
    monkeypatch.setattr(registry, "set_tags", lambda *tags: written.append(tags))
    setting = ThresholdSetting(0.7, "Ana", "glare", "2026-05-01")

    with pytest.raises(ConfigError, match="version 2 does now, and not 1: look again"):
        review_page._set_threshold("bolt", "1", setting, 0)
    assert written == []

    assert review_page._set_threshold("bolt", "2", setting, 0) == (setting,)
    assert len(written) == 1
