"""Kill promotions and rollbacks at random moments, and before each of their writes, and see whether
a whole version serves at once and all is right after one more run.

    python benchmarks/promotion_kills.py --kills 200 --seed 0 --json FILE

Real processes, ended by SIGKILL, work on an MLflow server with a SQLite database of its own. Each
trial has a product of its own with three copies of a tiny model: version 1 served first, version 2
serves; version 3 is promoted, or version 2 is rolled back.
"""

import argparse
import json
import logging
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import chdir
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import mlflow
import numpy as np
from mlflow import MlflowClient
from PIL import Image
from servers import mlflow_server

from mlflow_models import alias_log, flavor, registry, version_tags
from reconad_plugin.config.product import ProductSettings, TrainingSettings

ACTS: Final = ("promotion", "rollback")
NIGHTS: Final = ("2026-01-01", "2026-01-02", "2026-01-03")
VERDICT: Final = {"reason": "better", "checks": []}
WRITES: Final = (
    "set_model_version_tag",
    "delete_model_version_tag",
    "update_model_version",
    "set_registered_model_alias",
    "delete_registered_model_alias",
)
UNDISTURBED: Final = 5  # runs that say how long an act takes
PAUSE_S: Final = 0.05  # for what the server had already taken in; a real next run comes much later


def main() -> None:
    """Kill as often as asked, print a line an act, and exit with 1 where anything was not right."""
    options = _read_options()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow_models.flavor"])  # imports once for all children
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, mlflow_server(Path(folder)):
        like = _versions_to_copy(Path(folder))
        result: dict[str, Any] = {"seed": options.seed}
        for act in ACTS:
            result[act] = _measure(context, act, like, options.kills // len(ACTS), options.seed)
            print(f"{act}: {json.dumps(result[act])}", flush=True)
    result["kills"] = sum(result[act]["kills"] for act in ACTS)
    result["violations"] = sum(len(result[act]["violations"]) for act in ACTS)
    result["elapsed_s"] = time.monotonic() - start_s
    print(f"{result['kills']} kills, {result['violations']} violations", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.exit(bool(result["violations"]))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="at random moments, both acts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


def _measure(
    context: Any, act: str, like: list[registry.Version], kills: int, seed: int
) -> dict[str, Any]:
    draw = random.Random(f"{seed} {act}")  # noqa: S311  no secret
    durations = [_run_whole(context, f"{act}-whole-{n}", act, like) for n in range(UNDISTURBED)]
    limit_s = statistics.median(durations)
    found: Counter[str] = Counter()
    violations: list[str] = []
    moments: list[float] = []
    for number in range(10 * kills):
        if sum(found.values()) == kills:
            break
        product, moment_s = f"{act}-{number}", draw.uniform(0, limit_s)
        _prepare(product, like)
        if not _kill_after(context, product, act, moment_s):
            continue  # it was quicker than its kill
        moments.append(moment_s)
        found[_cut_off_where(product, act)] += 1
        violations += [f"killed after {moment_s:.4f} s: {each}" for each in _check(product, act)]
    at_writes = 0
    while True:
        product = f"{act}-write-{at_writes + 1}"
        _prepare(product, like)
        if not _kill_before_write(context, product, act, at_writes + 1):
            break
        at_writes += 1
        violations += [f"killed before write {at_writes}: {each}" for each in _check(product, act)]
    return {
        "kills": sum(found.values()) + at_writes,
        "at_random": sum(found.values()),
        "found": dict(found),
        "before_each_write": at_writes,
        "duration_s": limit_s,
        "latest_kill_s": max(moments, default=0.0),
        "violations": violations,
    }


def _run_whole(context: Any, product: str, act: str, like: list[registry.Version]) -> float:
    """Seconds of an act that nobody disturbs."""
    _prepare(product, like)
    child, ready = _start(context, product, act)
    start_s = time.monotonic()
    child.join()
    elapsed_s = time.monotonic() - start_s
    wrong = _wrong(product, act)
    if child.exitcode or wrong:
        raise RuntimeError(f"an undisturbed {act} must end well; it says {child.exitcode}: {wrong}")
    ready.close()
    return elapsed_s


def _kill_after(context: Any, product: str, act: str, moment_s: float) -> bool:
    """Whether the kill came before the end."""
    child, ready = _start(context, product, act)
    time.sleep(moment_s)
    child.kill()
    child.join()
    ready.close()
    return bool(child.exitcode == -signal.SIGKILL)


def _kill_before_write(context: Any, product: str, act: str, write: int) -> bool:
    """Whether the act has so many writes."""
    child, ready = _start(context, product, act, write)
    child.join()
    ready.close()
    return bool(child.exitcode == -signal.SIGKILL)


def _start(context: Any, product: str, act: str, dies_before: int = 0) -> tuple[Any, Connection]:
    """A child that has begun just now."""
    ready, theirs = context.Pipe()
    address = mlflow.get_tracking_uri()
    child = context.Process(target=_child, args=(address, product, act, dies_before, theirs))
    child.start()
    ready.recv()
    return child, ready


def _child(address: str, product: str, act: str, dies_before: int, ready: Connection) -> None:
    mlflow.set_tracking_uri(address)
    if dies_before:
        _die_before(dies_before)
    ready.send(None)
    _act(product, act)


def _die_before(number: int) -> None:
    left = [number]
    for name in WRITES:
        real = getattr(MlflowClient, name)

        def write(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return _real(*args, **kwargs)

        setattr(MlflowClient, name, write)


def _act(product: str, act: str) -> None:
    if act == "promotion":
        registry.challenge(product, "3")
        move = alias_log.promote(product, "3", NIGHTS[2], VERDICT | {"judged_against": "2"})
    else:
        move = alias_log.roll_back(product, "2", NIGHTS[2], "bad")
    alias_log.finish(product, move)


def _check(product: str, act: str) -> list[str]:
    """What is wrong after a kill, and after one more run."""
    time.sleep(PAUSE_S)
    goal = "3" if act == "promotion" else "1"
    serving = registry.version_by_alias(product, registry.CHAMPION)
    if serving is None or serving.number not in ("2", goal):
        return [f"the champion was {serving}"]
    flavor.load_model(f"models:/{registry.model_name(product)}@{registry.CHAMPION}")
    completed = alias_log.recover(product)
    if not completed and serving.number == "2":
        _act(product, act)
    return _wrong(product, act)


def _wrong(product: str, act: str) -> list[str]:
    """What differs from a product where the act was carried out once."""
    versions = registry.versions(product)
    if act == "promotion":
        aliases = {"champion": "3", "previous_champion": "2"}
        states: list[str | None] = ["promoted", "promoted", "promoted"]
        served = ["1", "2", "3"]
        tags = {"reconad.promoted_night": NIGHTS[2], "reconad.judged_against": "2"}
    else:
        aliases = {"champion": "1"}
        states, served = ["promoted", "rolled_back", None], ["1", "2", "1"]
        tags = {"reconad.rolled_back_night": NIGHTS[2], "reconad.reason": "bad"}
    marked = versions[2 if act == "promotion" else 1].tags
    entry = MlflowClient().get_registered_model(registry.model_name(product))
    moves = alias_log.moves(product)
    seen = {
        "aliases": ({name: str(number) for name, number in entry.aliases.items()}, aliases),
        "states": ([version.tags.get(version_tags.STATE_TAG) for version in versions], states),
        "served": ([move.version for move in moves], served),
        "open moves": ([move.number for move in moves if move.is_open], []),
        "tags": ({name: marked.get(name) for name in tags}, tags),
    }
    return [f"{name} are {got}, not {want}" for name, (got, want) in seen.items() if got != want]


def _cut_off_where(product: str, act: str) -> str:
    """How far an act had come."""
    moves = alias_log.moves(product)
    serving = registry.version_by_alias(product, registry.CHAMPION)
    has_moved = serving is not None and serving.number != "2"
    if len(moves) == 2:
        return "before its move was noted"
    if not moves[-1].is_open:
        return "after its move was closed"
    return "after the alias moved" if has_moved else "before the alias moved"


def _prepare(product: str, like: list[registry.Version]) -> None:
    """A product with copies of versions and the same aliases."""
    client, name = MlflowClient(), registry.model_name(product)
    client.create_registered_model(name)
    for version in like:
        client.create_model_version(name, version.uri, version.run_id, tags=version.tags)
    client.set_registered_model_alias(name, registry.PREVIOUS_CHAMPION, "1")
    client.set_registered_model_alias(name, registry.CHAMPION, "2")


def _versions_to_copy(folder: Path) -> list[registry.Version]:
    """Three versions of a model that was trained for one step on twelve pictures of noise; the
    first was promoted, and then the second."""
    from flows.jobs.by_hand import train

    noise = np.random.default_rng(0)
    (folder / "noise").mkdir()
    for number in range(12):
        picture = noise.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / "noise" / f"{number}.png")
    settings = ProductSettings(model="ae", image_size_px=32, train=TrainingSettings(steps=1))
    with chdir(folder):  # its cache
        first = train(str(folder / "noise"), "like", settings).version
    client, name = MlflowClient(), registry.model_name("like")
    for _ in NIGHTS[1:]:
        client.create_model_version(name, first.uri, first.run_id)
    for number, night in zip(("1", "2"), NIGHTS, strict=False):
        move = alias_log.promote("like", number, night, VERDICT)
        alias_log.finish("like", move)
    return registry.versions("like")


if __name__ == "__main__":
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    main()
