#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the benchmarks of the GPU, and PyTorch's step beside ours, and leaves what they say in a folder:
#
#   bash bench/measure_gpu.sh build/cuda measured      # minutes; needs a GPU and, for the peer, a python3 with torch
#   python3 bench/publish.py --measured measured       # makes bench/results/gpu_*.json of it, where the history is
#
# hot_step takes under two minutes, of which PyTorch's three variants most.
# FAE_MEASURE in the environment names the parts to run:
# fae forecast lookahead lookahead_soak hot_step embedding_bag synchronise profile sketch home_route.
set -euo pipefail

build=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"

nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem --format=csv,noheader | head -n 1 \
  | sed 's/, */\n/g' >"$out/gpu.txt"
{ grep -m 1 'model name' /proc/cpuinfo | sed 's/.*: //'; nproc; awk '/MemTotal/ { printf "%.0f\n", $2 / 1048576 }' /proc/meminfo; } >"$out/host.txt"
date -I >"$out/date.txt"

for part in ${FAE_MEASURE:-fae forecast lookahead lookahead_soak hot_step embedding_bag synchronise profile sketch home_route}; do
  echo "== $part"
  case $part in
    fae) "$build/bench/cuda/fae_bench" --json "$out/fae.json" ;;
    forecast) "$build/bench/cuda/fae_forecast_bench" --json "$out/forecast.json" ;;
    lookahead)
      bench=$build/bench/cuda/fae_lookahead_bench
      "$bench" --json "$out/lookahead.json"
      "$bench" --placements all_slots,lookahead --optimizer rowwise-adagrad --batches 4096 --budgets 256 \
        --json "$out/lookahead_rowwise.json"
      "$bench" --placements all_slots,lookahead --model rmc3 --batches 4096 --budgets 1024 --json "$out/lookahead_rmc3.json"
      ;;
    lookahead_soak) "$build/bench/cuda/lookahead_soak_bench" 100000 "$out/lookahead_soak.json" ;;
    hot_step)
      "$build/bench/cuda/dlrm_bench" --benchmark_out="$out/hot_step.json" --benchmark_out_format=json
      python3 "$here/peers/torch_dlrm.py" --seconds 0.5 --out "$out/torch_dlrm.json" --ours "$out/hot_step.json"
      ;;
    *) "$build/bench/cuda/${part}_bench" --benchmark_out="$out/$part.json" --benchmark_out_format=json ;;
  esac
done
