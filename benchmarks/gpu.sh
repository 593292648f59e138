#!/usr/bin/env bash
# Check and time everything on a machine with a card, in under ten minutes.
#
#   benchmarks/gpu.sh [OUT]
#
# Needs torch, transformers and what bitloss imports; with SITE=DIR, packages are taken from there,
# too (a machine without a network). Nothing is installed. Results are lines of JSON in OUT
# (gpu.jsonl), with the card's name in each; the tests of tests/engines/test_cuda.py come first
# where pytest is there. BITLOSS_DEVICE=cpu TINY=1 goes through it all without a card.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=${1:-gpu.jsonl}
python=${PYTHON:-python3}
device=${BITLOSS_DEVICE:-cuda}
export PYTHONPATH="$PWD/src:$PWD/tests:$PWD/benchmarks${SITE:+:$SITE}"

"$python" -c "import bitloss.engines.dense.plug" || {
  echo "bitloss cannot be imported: give its packages in SITE" >&2
  exit 1
}
failed=0
if "$python" -c "import pytest, hypothesis" 2>/dev/null; then
  timeout 90 "$python" -m pytest -q -p no:cacheprovider -m cuda tests/engines || failed=1
else
  echo "pytest is not there: tests/engines/test_cuda.py is left out" >&2
fi
# Seconds that each may take: with the tests, under ten minutes.
for step in versions:30 copies:60 attention:60 reading:90 heads:60 writing:90 loading:45 plan:40 \
  several:30; do
  limit=${step#*:} step=${step%:*}
  timeout "$limit" "$python" benchmarks/gpu.py "$step" --device "$device" ${TINY:+--tiny} \
    --out "$out" || {
    echo "$step: failed, or took over $limit s" >&2
    failed=1
  }
done
exit $failed
