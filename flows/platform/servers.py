"""The embedded platform: a real S3 server, MLflow and Prefect on this machine, for the demo and
the tests. Everything listens on loopback, on free ports, and keeps its state in one folder."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from flows.platform.processes import LOOPBACK, answers, end_processes, free_ports
from reconad_plugin.errors import PlatformError
from reconad_plugin.telemetry import QUIET_ENVIRONMENT

WORK_POOL: Final = "reconad"
CHECKOUT: Final = Path(__file__).resolve().parents[2]
START_TIMEOUT_S: Final = 120
SETTINGS_FILE: Final = "reconad.toml"  # in the state folder
ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_MARK: Final = ".reconad-platform"  # a state folder carries it, so that no other is ever emptied
_ACCESS_KEY: Final = "reconad"


@dataclass
class EmbeddedPlatform:
    """Servers of one state folder."""

    state: Path  # the folder
    environment: dict[str, str] = field(default_factory=dict)  # what a process needs for the work
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _s3_ports: list[int] = field(default_factory=list)

    @property
    def mlflow_url(self) -> str:
        """Where MLflow's pages are."""
        return self.environment["MLFLOW_TRACKING_URI"]

    @property
    def prefect_url(self) -> str:
        """Where Prefect's pages are."""
        return self.environment["PREFECT_API_URL"].removesuffix("/api")

    @property
    def evidently_workspace(self) -> Path:
        """The folder of the dashboards."""
        return self.state / "evidently"

    def start(self, bucket: str) -> None:
        """Start S3 with a bucket, MLflow and Prefect together, and wait until all answer.

        Raises:
            PlatformError: a server died or did not answer in time; its log is named.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        (self.state / _MARK).touch()
        s3_port, mlflow_port, prefect_port = free_ports(3)
        secret = self._start_s3(s3_port)  # first: it would take credentials from its environment
        self.environment |= {
            **QUIET_ENVIRONMENT,
            "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{s3_port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{mlflow_port}",
            "PREFECT_API_URL": f"http://{LOOPBACK}:{prefect_port}/api",
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "MLFLOW_LOGGING_LEVEL": "WARNING",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "RECONAD_CONFIG": str(self.state / SETTINGS_FILE),
            "RECONAD_HOME": str(CHECKOUT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        self._start_mlflow(mlflow_port)
        self._start_prefect(prefect_port)
        self._wait("s3", lambda: self._make_bucket(bucket))
        self._wait("mlflow", lambda: answers(f"{self.mlflow_url}/health"))
        self._wait("prefect", lambda: answers(f"{self.prefect_url}/api/health"))
        self._write_environment()

    def deploy(self, product: str) -> None:
        """Make the work pool, deploy ``prefect.yaml`` for a product and start a worker.

        Raises:
            PlatformError: Prefect refused.
        """
        self.environment["RECONAD_PRODUCT"] = product
        self._prefect("work-pool", "create", WORK_POOL, "--type", "process", "--overwrite")
        self._prefect("--no-prompt", "deploy", "--all")
        self._spawn("worker", ["prefect", "worker", "start", "--pool", WORK_POOL])

    def serve_dashboards(self) -> str:
        """Start Evidently's pages; their address."""
        (port,) = free_ports(1)
        command = ["evidently", "ui", "--workspace", str(self.evidently_workspace), *_listen(port)]
        self._spawn("evidently", command)
        url = f"http://{LOOPBACK}:{port}"
        self._wait("evidently", lambda: answers(url))
        return url

    def serve_review_page(self) -> str:
        """Start the page where people decide; its address, with its token."""
        (port,) = free_ports(1)
        token = secrets.token_hex(16)
        command = ["reconad", "review-page", "--port", str(port)]
        self._spawn("review-page", command, RECONAD_REVIEW_TOKEN=token)
        url = f"http://{LOOPBACK}:{port}"
        self._wait("review-page", lambda: answers(f"{url}/static/icon.svg"))
        return f"{url}/?token={token}"

    def serve_model(self, model_uri: str) -> str:
        """Start MLflow's scoring server on a model; its address."""
        (port,) = free_ports(1)
        command = ["mlflow", "models", "serve", "-m", model_uri, "--env-manager", "local"]
        self._spawn("serving", [*command, *_listen(port)])
        url = f"http://{LOOPBACK}:{port}"
        self._wait("serving", lambda: answers(f"{url}/ping"))
        return url

    def stop(self) -> None:
        """Stop every process that was started: the worker, which needs the others, first."""
        worker = self._processes.pop("worker", None)
        if worker is not None:
            end_processes([worker])
        end_processes(list(self._processes.values()))
        self._processes.clear()
        for port in self._s3_ports:
            for left in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def _start_s3(self, port: int) -> str:
        secret = secrets.token_hex(16)
        identities = self.state / "s3-identities.json"
        identity = {
            "name": _ACCESS_KEY,
            "credentials": [{"accessKey": _ACCESS_KEY, "secretKey": secret}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        _write_private(identities, json.dumps({"identities": [identity]}))
        data = self.state / "s3"
        data.mkdir(exist_ok=True)
        others = [f"{name}.port" for name in ("master", "volume", "filer")]
        others += [f"{name}.grpc" for name in ("s3.port", *others)]
        ports = {"s3.port": port, **dict(zip(others, free_ports(len(others)), strict=True))}
        self._s3_ports = list(ports.values())
        options = {
            "dir": data,
            "s3.config": identities,
            "s3.port.iceberg": 0,  # these two would take fixed ports
            "s3.port.lance": 0,
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "volume.preStopSeconds": 0,
            "volume.max": 10,
            "master.telemetry": "false",
            **ports,
        }
        arguments = [f"-{name}={value}" for name, value in options.items()]
        self._spawn("s3", ["weed", "server", "-s3", *arguments])
        return secret

    def _start_mlflow(self, port: int) -> None:
        folder = self.state / "mlflow"
        folder.mkdir(exist_ok=True)
        command = ["mlflow", "server", *_listen(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(folder / "artifacts")]
        self._spawn("mlflow", command, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")

    def _start_prefect(self, port: int) -> None:
        url = self.environment["PREFECT_API_URL"]
        command = ["prefect", "server", "start", *_listen(port)]
        self._spawn("prefect", command, PREFECT_UI_API_URL=url)

    def _make_bucket(self, bucket: str) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        client = s3_client(self.environment)
        try:
            client.create_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:  # there from before, or S3 is not up yet
            return "BucketAlready" in str(error)  # ...Exists or ...OwnedByYou
        return True

    def _spawn(self, name: str, command: list[str], **environment: str) -> None:
        program = Path(_tool(command[0]))
        if not program.exists():
            raise PlatformError(
                f"the embedded platform needs {program}; it is not there: "
                "pip install 'reconad[platform]'"
            )
        logs = self.state / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)  # a page prints its token
        with (logs / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [program, *command[1:]],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.state,
                env={**_without_aws(os.environ), **self.environment, **environment},
                start_new_session=True,  # Ctrl-C reaches us alone, and we stop them in order
            )

    def _wait(self, name: str, is_up: Callable[[], bool]) -> None:
        log = self.state / "logs" / f"{name}.log"
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not is_up():
            code = self._processes[name].poll()
            if code is not None:
                raise PlatformError(f"{name} must stay up; it ended with code {code}: see {log}")
            if time.monotonic() > deadline_s:
                raise PlatformError(
                    f"{name} must answer within {START_TIMEOUT_S} s; it does not: see {log}"
                )
            time.sleep(0.2)

    def _prefect(self, *arguments: str) -> None:
        done = subprocess.run(
            [_tool("prefect"), *arguments],
            cwd=CHECKOUT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PlatformError(
                f"`prefect {' '.join(arguments)}` must succeed; it says: {done.stdout}{done.stderr}"
            )

    def _write_environment(self) -> None:
        """Write a file to source in a shell, so that a person can work with the platform too."""
        chosen = {name: value for name, value in self.environment.items() if name != "PATH"}
        lines = ["unset AWS_PROFILE AWS_SESSION_TOKEN"]
        lines += [f"export {name}='{value}'" for name, value in chosen.items()]
        lines.append(f"export PATH='{Path(sys.executable).parent}':\"$PATH\"")
        _write_private(self.state / "env.sh", "\n".join(lines) + "\n")


@contextlib.contextmanager
def running_platform(state: Path, bucket: str, is_fresh: bool = True) -> Iterator[EmbeddedPlatform]:
    """Run a platform that is stopped at the end, also by Ctrl-C and SIGTERM.

    The environment of this process points to it meanwhile. A fresh platform empties its folder
    first; another goes on with what the folder holds.

    Raises:
        PlatformError: the folder holds something else, or a server does not start.
    """
    _check_own(state)
    with _only_user(state):
        yield from _run(state, bucket, is_fresh)


def _run(state: Path, bucket: str, is_fresh: bool) -> Iterator[EmbeddedPlatform]:
    if is_fresh and state.exists():
        shutil.rmtree(state)
    platform = EmbeddedPlatform(Path(os.path.realpath(state)))
    before = dict(os.environ)
    _replace_environment(_without_aws(before))
    # a shell that starts it in the background has SIGINT ignored
    previous = {each: signal.signal(each, _interrupt) for each in ENDING_SIGNALS}
    try:
        platform.start(bucket)
        os.environ.update(platform.environment)
        yield platform
    finally:
        for each in ENDING_SIGNALS:  # a second one changes nothing
            signal.signal(each, signal.SIG_IGN)
        platform.stop()
        for each, handler in previous.items():
            signal.signal(each, handler)
        _replace_environment(before)


def s3_client(environment: Mapping[str, str]) -> Any:
    """Make a client with the factory's rights: it may write where reconad may not."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(connect_timeout=2, retries={"total_max_attempts": 1}),
    )


@contextlib.contextmanager
def _only_user(state: Path) -> Iterator[None]:
    """Keep a second platform away from a state folder in use."""
    state.parent.mkdir(parents=True, exist_ok=True)
    with (state.parent / f"{state.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlatformError(
                f"a state folder serves one platform at a time; {state} is in use: stop the "
                "other one (Ctrl-C) or choose another folder"
            ) from None
        yield


def _check_own(state: Path) -> None:
    if state.is_file():
        raise PlatformError(f"the platform's state must be a folder; {state} is a file")
    if state.exists() and any(state.iterdir()) and not (state / _MARK).exists():
        raise PlatformError(
            f"the platform's state folder must be empty or its own; {state} holds other files: "
            "choose another folder"
        )


def _without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the person's own AWS keys, profile and token."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def _replace_environment(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _listen(port: int) -> list[str]:
    return ["--host", LOOPBACK, "--port", str(port)]


def _tool(name: str) -> str:
    """Return the path of a program of this Python environment."""
    return str(Path(sys.executable).parent / name)


def _write_private(path: Path, content: str) -> None:
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
