"""Importing this switches off the usage reporting of the libraries that come after it, and keeps
what they say to this machine's own servers away from proxies.

A factory's servers report to nobody unless their owner asks for it. A variable that is already
set is left as it is; Evidently takes ``DO_NOT_TRACK`` with any value as a no.
"""

import os
import sys

QUIET_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",  # read by Prefect's client, MLflow and Evidently
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",  # the server heeds this alone
}

for _name, _value in QUIET_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

# what converts a graph for OpenVINO reports wherever this package is found, and no variable says no
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

# whatever proxy is set; both spellings, since some libraries read one and some the other
_direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
if "127.0.0.1" not in _direct.split(","):
    _direct = ",".join(filter(None, (_direct, "127.0.0.1", "localhost", "::1")))
os.environ["no_proxy"] = os.environ["NO_PROXY"] = _direct
