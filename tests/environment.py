"""The environment of all tests. Imported before anything that imports torch or Prefect."""

import os

# networks of 32 pixels are quickest on one thread, and two processes share the tests
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# flows would wait for their logs to reach the server
os.environ |= {"PREFECT_LOGGING_LEVEL": "WARNING", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
# where contract tests train and score: `RECONAD_TEST_DEVICE=cuda` (benchmarks/cuda.sh)
DEVICE = os.environ.get("RECONAD_TEST_DEVICE", "cpu")
