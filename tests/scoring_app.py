"""MLflow's scoring server in this process, with a small detector in it.

``from tests.scoring_app import *`` brings the fixtures.
"""

import asyncio
import base64
import json
import sys

import httpx
import mlflow
import pytest
from mlflow.pyfunc import scoring_server

from mlflow_models import flavor

__all__ = ["encoded", "start"]

SERVER = "mlflow.pyfunc.scoring_server.app"


@pytest.fixture(scope="module")
def encoded(encode, make_normal):
    """A normal picture as base64."""
    return base64.b64encode(encode(make_normal(1, 5)[0].permute(1, 2, 0).numpy(), "PNG")).decode()


@pytest.fixture
def start(tiny_detector, tmp_path, monkeypatch):
    """Starts MLflow's application on a saved detector, as `mlflow models serve` does."""
    flavor.save_model(tiny_detector, str(tmp_path / "model"))
    monkeypatch.setitem(sys.modules, SERVER, sys)

    def begin(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        import prometheus_client

        registry = prometheus_client.CollectorRegistry()
        monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
        for kind in ("Counter", "Histogram"):
            plain = getattr(prometheus_client, kind)
            monkeypatch.setattr(
                prometheus_client,
                kind,
                lambda *args, plain=plain, **options: plain(*args, **options, registry=registry),
            )
        return scoring_server.init(mlflow.pyfunc.load_model(str(tmp_path / "model")))

    return begin


def ask(app, content=None, path="/invocations", **headers):
    """One request; its status and what came back."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = {"Content-Type": "application/json"} | headers

    async def call():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://serving") as client:
            if content is None:
                return await client.get(path, headers=headers)
            return await client.post(path, content=body, headers=head)

    return asyncio.run(call())
