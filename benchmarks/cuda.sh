#!/usr/bin/env bash
# What must hold on a machine with a GPU, within eight minutes; see benchmarks/README.md.
#
#   PYTHON=.venv/bin/python DATA=DIR PEER_PYTHON=V/bin/python benchmarks/cuda.sh [cuda.json]
#
# DEVICE=cpu TINY=1 runs all of it with small networks on the CPU.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v "${PYTHON:-python}")
device=${DEVICE:-cuda}
json=$(realpath "${1:-cuda.json}")
export PYTHONPATH="$root:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}"
export CUBLAS_WORKSPACE_CONFIG=:4096:8 # sums in one order, for the tests that ask twice

checks=(--device "$device" --json "$json")
[ -z "${DATA:-}" ] || checks+=(--data "$(realpath "$DATA")")
[ -z "${FLOOR:-}" ] || checks+=(--floor "$FLOOR")
[ -z "${PEER_PYTHON:-}" ] || checks+=(--peer-python "$PEER_PYTHON")
chosen=()
if [ -n "${TINY:-}" ]; then
  checks+=(--tiny)
  chosen=(-k "map_has_a_value")
fi

cd "$root"
contract=passed
RECONAD_TEST_DEVICE=$device timeout 90 "$python" -m pytest -p no:xdist -q --durations=0 \
  tests/unit/test_network_contract.py tests/unit/test_fit_contract.py \
  tests/unit/test_model_contract.py ${chosen[@]+"${chosen[@]}"} || contract="failed, or not done in 90 s"
exec timeout 400 "$python" benchmarks/cuda_checks.py "${checks[@]}" --contract "$contract"
