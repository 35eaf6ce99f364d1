"""Asking a server over HTTP: what is tried again, what is refused, and what never leaves."""

import json
import logging

import pytest

from flows.jobs import scoring_client
from flows.jobs.scoring_client import MOST_TRIES, ScoringClient, check_url
from flows.platform.processes import free_ports
from reconad_plugin.errors import ConfigError, PlatformError
from tests.scoring_server import Reply, predictions, row_of, serving

TOKEN = "s3cret-token"


@pytest.fixture
def waits():
    """Seconds that a client has waited."""
    return []


@pytest.fixture
def client_of(waits):
    """Makes clients that wait no second."""
    return lambda url, token=None: ScoringClient(url, token, waits.append, seed=0)


def test_each_picture_has_its_row(client_of):
    """In the order that they were asked in, with a map where it is asked for."""
    with serving(predictions("7")) as server:
        first, broken, last = client_of(server.url).ask([b"x" * 900, b"", b"x"], with_map=True)
        (plain,) = client_of(f"{server.url}/invocations").ask([b"x"])

    assert (first.pred_score, last.pred_score) == (0.9, 0.001)
    assert (first.pred_label, last.pred_label, broken.pred_score) == (True, False, None)
    assert broken.error == "empty: no bytes"
    assert {each.model_version for each in (first, broken, last)} == {"7"}
    assert first.anomaly_map is not None
    assert plain.anomaly_map is None
    assert server.paths == ["/invocations"] * 2


@pytest.mark.parametrize(
    "busy",
    [
        *[pytest.param(Reply(status), id=str(status)) for status in (429, 502, 503, 504)],
        pytest.param(Reply(None), id="cut off"),
    ],
)
def test_a_busy_server_is_asked_again(client_of, waits, capsys, busy):
    """After waits that grow and are never alike; it is said once what is waited for."""
    with serving(busy, busy, busy, predictions()) as server:
        (row,) = client_of(server.url).ask([b"x"])

    assert row.error is None
    assert server.asked == [[b"x"]] * 4
    assert [2**tries / 2 <= wait <= 2**tries for tries, wait in enumerate(waits)] == [True] * 3
    assert len({round(wait / 2**tries, 6) for tries, wait in enumerate(waits)}) == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"reconad: {server.url} does not answer yet (")


def test_a_server_that_never_answers_is_an_outage(client_of, waits):
    """After some tries, with its address and what to do."""
    (port,) = free_ports(1)

    with pytest.raises(PlatformError, match=rf"served at http://127.0.0.1:{port}; after 6 tries"):
        client_of(f"http://127.0.0.1:{port}").ask([b"x"])

    assert len(waits) == MOST_TRIES - 1


def test_a_server_that_is_silent_for_too_long_is_an_outage(client_of, monkeypatch):
    """It takes the request and says nothing."""
    import time

    monkeypatch.setattr(scoring_client, "ANSWER_S", 0.05)
    monkeypatch.setattr(scoring_client, "MOST_TRIES", 2)

    def sleep(pictures, with_map):
        time.sleep(0.2)
        return Reply(200)

    with serving(sleep) as server, pytest.raises(PlatformError, match=r"no answer within 0\.05 s"):
        client_of(server.url).ask([b"x"])


def test_a_wrong_request_is_not_asked_again(client_of, waits):
    """Its sentence is shown, on one line."""
    said = json.dumps({"error_code": "BAD_REQUEST", "message": "Model is missing\ninputs ['a']."})

    with (
        serving(Reply(400, said)) as server,
        pytest.raises(ConfigError, match=r"refuses: Model is missing inputs \['a'\]\."),
    ):
        client_of(server.url).ask([b"x"])

    assert (len(server.asked), waits) == (1, [])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        pytest.param(Reply(401, "who?"), "401: who?: set RECONAD_TOKEN", id="401"),
        pytest.param(Reply(404, ""), "404: Not Found: no `mlflow models serve`", id="404"),
        pytest.param(Reply(500, "<p>a page"), "500: <p>a page: see the server's log", id="500"),
        pytest.param(Reply(200, "<p>a page"), "gives other fields", id="a page"),
        pytest.param(Reply(200, '{"predictions": [1]}'), "gives other fields", id="another model"),
        pytest.param(Reply(200, '{"predictions": []}'), "gives 0 rows to 1", id="fewer rows"),
        pytest.param(
            Reply(200, json.dumps({"predictions": [row_of(b"x") | {"pred_score": None}]})),
            "neither score nor error",
            id="no score",
        ),
        pytest.param(
            Reply(200, json.dumps({"predictions": [row_of(b"x") | {"p_value": float("nan")}]})),
            "gives other fields",
            id="no number",
        ),
    ],
)
def test_other_answers_are_told(client_of, waits, reply, said):
    """They are no outage that passes."""
    with serving(reply) as server, pytest.raises(PlatformError) as refused:
        client_of(server.url).ask([b"x"])

    assert said in str(refused.value)
    assert (len(server.asked), waits) == (1, [])


def test_a_redirect_to_nowhere_is_wrong_input(client_of):
    """No failure of ours."""
    away = Reply(302, headers={"Location": "http://[x"})

    with serving(away) as server, pytest.raises(ConfigError, match="an address that can be asked"):
        client_of(server.url).ask([b"x"])


@pytest.mark.parametrize("status", [301, 307, 308])
def test_nobody_is_followed(client_of, status):
    """Pictures and a token go to the address that was given, and to no other."""
    with serving(predictions()) as other:
        away = Reply(status, headers={"Location": f"{other.url}/invocations?key=1"})
        with (
            serving(away) as server,
            pytest.raises(ConfigError, match=r"sends on to http://127\.0\.0\.1, which is not"),
        ):
            client_of(server.url, TOKEN).ask([b"x"])

    assert other.asked == []


def test_a_token_is_sent_and_never_shown(client_of, capsys, caplog, tmp_path, monkeypatch):
    """Not in a message that quotes the server, nor in a log; a .netrc does not take its place."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    echo = Reply(403, f"no right for Bearer {TOKEN}{'.' * 300}")

    with serving(predictions(), echo) as server:
        client = client_of(server.url, TOKEN)
        client.ask([b"x"])
        with pytest.raises(PlatformError, match=r"no right for Bearer \.\.\."):
            client.ask([b"x"])
    with serving(predictions()) as plain:
        client_of(plain.url).ask([b"x"])

    assert [each["Authorization"] for each in server.headers] == [f"Bearer {TOKEN}"] * 2
    assert "Authorization" not in plain.headers[0]
    assert TOKEN not in capsys.readouterr().err + caplog.text + repr(client)


def test_a_token_on_an_open_way_is_warned_of(client_of, capsys):
    """Of http to another machine; https and this machine are no reason."""
    client_of("https://scores.factory", TOKEN)
    client_of("http://localhost:5055", TOKEN)
    client_of("http://[::1]:5055", TOKEN)
    client_of("http://scores.factory")
    assert capsys.readouterr().err == ""

    client_of("http://scores.factory:5055", TOKEN)

    said = capsys.readouterr().err
    assert "RECONAD_TOKEN goes to scores.factory unencrypted" in said
    assert TOKEN not in said


@pytest.mark.parametrize("token", ["two words", "line\nfeed", "caf\u00e9"])
def test_a_token_that_can_be_none_is_refused(client_of, token):
    """Without showing it."""
    with pytest.raises(ConfigError, match="RECONAD_TOKEN must be one word") as refused:
        client_of("http://127.0.0.1:1", token)

    assert token not in str(refused.value)


def test_this_machine_is_asked_without_a_proxy(client_of, monkeypatch):
    """Whatever the environment says."""
    (port,) = free_ports(1)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    with serving(predictions()) as server:
        (row,) = client_of(server.url).ask([b"x"])

    assert row.error is None


def test_another_machine_is_asked_through_the_proxy(client_of, monkeypatch):
    """As the environment says."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    with serving(predictions()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        client_of("http://scores.factory:5055").ask([b"x"])

    assert proxy.paths == ["http://scores.factory:5055/invocations"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("ftp://127.0.0.1", "an http or https address", id="scheme"),
        pytest.param("127.0.0.1:5055", "an http or https address", id="no scheme"),
        pytest.param("http://", "an http or https address", id="no host"),
        pytest.param("http://127.0.0.1:99999", "an address; got one that can", id="port"),
        pytest.param("http://[::1", "an address; got one that can", id="bracket"),
        pytest.param("http://me:secret@host", "no user and no password", id="password"),
        pytest.param("http://secret@host", "no user and no password", id="user"),
        pytest.param("file://me:secret@host", "no user and no password", id="both"),
        pytest.param("http://host/?key=secret", "got one with ? or #", id="query"),
    ],
)
def test_an_address_is_checked(url, said):
    """What is wrong is said, and no secret is."""
    with pytest.raises(ConfigError) as refused:
        check_url(url)

    assert said in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_host_that_no_name_can_be_is_wrong_input(client_of):
    """It is found when it is asked."""
    with pytest.raises(ConfigError, match="an address that can be asked"):
        client_of("http://.example").ask([b"x"])
