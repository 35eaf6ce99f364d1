"""Benchmarks: turns, figures, ratios, and what is said when something is missing."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.compare import (
    OURS,
    PEER,
    Benchmark,
    Worker,
    WorkerFailedError,
    alternate,
    compare,
)
from flows.commands.benchmark import BENCHMARKS as FOLDER
from flows.commands.benchmark import load_benchmarks, run
from flows.commands.cli import main
from flows.commands.options import BenchmarkOptions
from reconad_plugin.errors import ConfigError

BY_NAME = load_benchmarks(FOLDER)
RATE = Benchmark("things a second", (("fast", "slow"),), "1/s", is_rate=True)
SECONDS = Benchmark("seconds a thing", (("fast", "slow"),))


def make_worker(folder: Path, name: str, code: str) -> Worker:
    script = folder / f"{name}.py"
    script.write_text(code, encoding="utf-8")
    return Worker(name, [sys.executable, "-I", "-S", str(script)])


def results(ours: list[float], peer: list[float]) -> dict:
    return {
        OURS: [{"figures": {"fast": value}} for value in ours],
        PEER: [{"figures": {"slow": value}} for value in peer],
    }


@pytest.mark.parametrize(
    ("benchmark", "ours", "peer"),
    [
        pytest.param(RATE, [40.0, 10.0, 30.0], [10.0, 90.0, 5.0], id="a rate: higher is faster"),
        pytest.param(SECONDS, [2.0, 9.0, 1.0], [6.0, 1.0, 7.0], id="seconds: lower is faster"),
    ],
)
def test_ratio_is_that_of_the_medians(benchmark, ours, peer):
    """Three times as fast by the medians, whatever single rounds say."""
    (comparison,) = compare(benchmark, results(ours, peer))

    assert comparison.ratio == 3.0
    assert (comparison.ours.min, comparison.ours.max) == (min(ours), max(ours))
    assert (comparison.peer.min, comparison.peer.max) == (min(peer), max(peer))


def test_workers_take_turns(tmp_path):
    """Ours begins, the peer follows, and so on; each round is a process of its own."""
    log = tmp_path / "log"
    code = (
        "import os\n"
        f"with open({str(log)!r}, 'a') as log: log.write(f'{{__file__[-4]}} {{os.getpid()}}\\n')\n"
        "print('a word before')\n"
        'print(\'{"figures": {"fast": 2}, "notes": {"threads": 1}}\')\n'
    )
    ours, peer = make_worker(tmp_path, OURS, code), make_worker(tmp_path, PEER, code)
    said: list[str] = []

    found = alternate(ours, peer, rounds=2, on_start=said.append)

    names, processes = zip(*(line.split() for line in log.read_text().splitlines()), strict=True)
    assert names == ("s", "r", "s", "r")
    assert len(set(processes)) == 4
    assert said[0] == "round 1 of 2: ours"
    assert found[OURS] == found[PEER] == [{"figures": {"fast": 2.0}, "notes": {"threads": 1}}] * 2


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(
            "import anomalib_is_not_here",
            "worker of ours must end well; it ended with 1: ModuleNotFoundError: .*not_here",
            id="it raises",
        ),
        pytest.param("raise SystemExit(3)", "ended with 3: it said nothing", id="it is silent"),
        pytest.param("print('no JSON')", "figures as JSON .* 'no JSON'", id="its line is no JSON"),
        pytest.param("print([1])", r"figures as JSON .* '\[1\]'", id="its line has no figures"),
    ],
)
def test_failing_worker_is_named_with_its_last_line(tmp_path, code, message):
    """The one line says which side failed and what it said last; nothing runs after it."""
    ours = make_worker(tmp_path, OURS, code)
    peer = make_worker(tmp_path, PEER, f"open({str(tmp_path / 'ran')!r}, 'w')")

    with pytest.raises(WorkerFailedError, match=message):
        alternate(ours, peer, rounds=1)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [0.0, float("nan")], ids=["zero", "not a number"])
def test_figure_must_be_above_zero(value):
    """No ratio is made of a figure that was not measured."""
    with pytest.raises(WorkerFailedError, match="ours must measure 'fast' as a number above 0"):
        compare(RATE, results([value], [1.0]))


def test_rounds_must_be_positive():
    """No round, no figure."""
    worker = Worker(OURS, ["never-run"])

    with pytest.raises(ConfigError, match="rounds must be at least 1; got 0"):
        alternate(worker, worker, rounds=0)


def options(name: str, **others: object) -> BenchmarkOptions:
    return BenchmarkOptions(name=name, **{"rounds": 1, **others})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(
            options("speed"),
            f"one of {', '.join([*BY_NAME.BENCHMARKS, *BY_NAME.ALONE])}; got 'speed'",
            id="unknown name",
        ),
        pytest.param(options("step"), "step needs the peer: give --peer-python", id="no peer"),
        pytest.param(
            options("step", peer_python=Path("nowhere")), "must be a program", id="no such peer"
        ),
        pytest.param(
            options("gate", data=Path()), "gate reads no images; got --data", id="data for none"
        ),
        pytest.param(
            options("step", own=["--requests", "3"]),
            "step has no options of its own; got --requests 3",
            id="own options for none",
        ),
        pytest.param(options("fit"), "fit needs a folder of images", id="no data"),
        pytest.param(
            options("loading", textures=Path("nowhere")), "got nowhere", id="no such textures"
        ),
    ],
)
def test_command_says_what_is_missing(asked, message):
    """Each wrong input is one line that says what to do."""
    with pytest.raises(ConfigError, match=message):
        run(asked)


def test_benchmarks_are_part_of_a_checkout(tmp_path):
    """An installed package has none, and says so."""
    with pytest.raises(ConfigError, match="part of a checkout and not of the installed package"):
        load_benchmarks(tmp_path)


@pytest.fixture
def benchmarks(tmp_path, monkeypatch):
    """A folder of benchmarks with nothing but how they are run."""
    for name in ("by_name.py", "compare.py"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    monkeypatch.setattr("flows.commands.benchmark.BENCHMARKS", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "part"), [("soak", "soak"), ("fuzz", "malformed")])
def test_command_hands_on_what_is_the_benchmarks_own(benchmarks, name, part):
    """What stands after ``--`` comes after what the name means, and so decides."""
    code = "import pathlib, sys; pathlib.Path(sys.argv[-1]).write_text(' '.join(sys.argv[1:]))"
    (benchmarks / "serving.py").write_text(code, encoding="utf-8")
    file = benchmarks / "found.json"

    assert main(["benchmark", name, "--json", str(file), "--", "--soak-s", "10"]) == 0

    assert file.read_text(encoding="utf-8") == f"--only {part} --soak-s 10 --json {file}"


def test_command_writes_what_was_measured(benchmarks, capsys):
    """The table and the JSON file of two tiny workers."""
    line = json.dumps({"figures": {ours: 6.0 for ours, _ in BY_NAME.BENCHMARKS["loading"].pairs}})
    for side, value in ((OURS, line), (PEER, '{"figures": {"epoch": 2.0, "decoding": 3.0}}')):
        (benchmarks / f"loading_{side}.py").write_text(f"print({value!r})", encoding="utf-8")

    run(options("loading", json=benchmarks / "found.json"))

    found = json.loads((benchmarks / "found.json").read_text(encoding="utf-8"))
    assert [one["ratio"] for one in found["comparisons"]] == [3.0, 3.0, 2.0]
    assert found["comparisons"][0]["ours"] == {"min": 6.0, "median": 6.0, "max": 6.0}
    assert "times faster" in capsys.readouterr().out
