"""How much of a shared night is orchestration: many products of few images, on real servers.

    python benchmarks/many_products.py --products 200 --workers 2 --json FILE

Starts S3, MLflow, Prefect and workers of its own, delivers a night to each product and dispatches
it. Told apart, for each run: the time that it worked, its process's start, and the rest, in which
its place stood empty: until a worker took it, and until the dispatcher saw its end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import reconad_plugin.telemetry  # noqa: F401  first

# isort: split
from flows.platform.servers import CHECKOUT, running_platform, s3_client
from tests.factory import BUCKET, Factory

NIGHT: Final = date(2026, 5, 7)
SETTINGS: Final = """
[storage]
bucket = "{bucket}"
cache_dir = "{folder}/cache"
[monitoring]
workspace = "{folder}/evidently"
report = "lean"
[deploy]
work_pool = "many"
[night]
at_once = {at_once}
"""
PRODUCT: Final = "[products.{name}]\n"


def measure(products: int, images: int, workers: int, folder: Path) -> dict[str, Any]:
    """Dispatch one night, and say where the time went, in seconds.

    Args:
        products: that share the night.
        images: of each.
        workers: processes that take runs, each one at a time.
        folder: of the servers and of all that is written.
    """
    settings = folder / "reconad.toml"
    names = [f"part{number:03}" for number in range(products)]
    head = SETTINGS.format(bucket=BUCKET, folder=folder, at_once=workers)
    settings.write_text(head + "".join(PRODUCT.format(name=name) for name in names))
    with running_platform(folder / "state", BUCKET) as platform:
        os.environ |= {"RECONAD_CONFIG": str(settings), "RECONAD_HOME": str(CHECKOUT)}
        client = s3_client(platform.environment)
        for name in names:
            Factory(name, client, settings).deliver(NIGHT, images)
        return _dispatched(names, workers)


def _dispatched(names: list[str], workers: int) -> dict[str, Any]:
    from flows.deployment.deploy import deploy
    from flows.dispatch import dispatch
    from reconad_plugin.config.settings import load_settings

    list(deploy(load_settings(), is_dry=False))
    command = [str(Path(sys.executable).parent / "prefect"), "worker", "start", "--pool", "many"]
    started = [
        subprocess.Popen([*command, "--limit", "1"], stdout=subprocess.DEVNULL)
        for _ in range(workers)
    ]
    try:
        found = dispatch(NIGHT)
    finally:
        for each in started:
            each.terminate()
            each.wait()
    work_s, start_s, wall_s = _times()
    return {
        "products": len(names),
        "workers": workers,
        "failed": len(found.failed),
        "wall_s": wall_s,
        "work_s": work_s,
        "process_start_s": start_s,
        "rest_s": wall_s * workers - work_s - start_s,
        "rest_over_work_and_start": wall_s * workers / (work_s + start_s) - 1,
    }


def _times() -> tuple[float, float, float]:
    """Sum up, over all nightly runs, how long they worked and how long their processes started; and
    how long it was from when the first was taken, with workers that are up, to the last end."""
    from prefect import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.client.schemas.objects import StateType

    work_s = start_s = 0.0
    begun, ended = list[datetime](), list[datetime]()
    nightly = FlowFilter(name=FlowFilterName(any_=["nightly"]))
    with get_client(sync_client=True) as client:
        runs: list[Any] = []
        while page := client.read_flow_runs(flow_filter=nightly, offset=len(runs)):
            runs += page
        for run in [each for each in runs if each.start_time and each.end_time]:
            states = client.request(
                "GET", "/flow_run_states/", params={"flow_run_id": str(run.id)}
            ).json()
            pending = [each for each in states if each["type"] == StateType.PENDING.value]
            taken = datetime.fromisoformat(min(each["timestamp"] for each in pending))
            start_s += (run.start_time - taken).total_seconds()
            work_s += (run.end_time - run.start_time).total_seconds()
            begun.append(taken)
            ended.append(run.end_time)
    return work_s, start_s, (max(ended) - min(begun)).total_seconds()


def main() -> None:
    """Print where the time went."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=200)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.products, options.images, options.workers, Path(folder))
    for name, value in found.items():
        print(f"{name.replace('_', ' '):26} {value:.2f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
