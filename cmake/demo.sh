#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The main job on two inputs, with what to look at in words. Called by `cmake/bootstrap.sh demo` with the build folder:
#
#   bash cmake/demo.sh build/release
#
# Writes <build>/demo/*.html and *.json; the last line names the report.
set -euo pipefail

build=$1
source_dir=$(cd "$(dirname "$0")/.." && pwd)
train=$build/examples/train_dlrm
out=$build/demo
mkdir -p "$out"

# The command lines of the demo.
criteo=(--data "$source_dir/examples/data/criteo/criteo_terabyte_day0_10k.tsv.gz" --format criteo
        --model small --budget 10% --epochs 3)
kaggle=(--synthetic kaggle --inputs 200000
        --model rmc2 --budget 64MiB --epochs 1)

run() { # run NAME OPTIONS...: one training with its report and its figures
  local name=$1
  shift
  echo "\$ train_dlrm $*"
  "$train" "$@" --json "$out/$name.json" --report "$out/$name.html"
}

echo
echo "1. Criteo: 10,000 lines of the Terabyte click log, as they are published."
echo "   Look at 'hot inputs': a small part of the rows serves most look-ups, but an input is hot only when all"
echo "   of its 26 rows are, so the share of hot inputs is far below the share of hot look-ups."
run criteo "${criteo[@]}"

echo
echo "2. A synthetic set of the shape of Criteo Kaggle: 26 tables, 33.8 million rows, the published skew."
echo "   Look at 'seconds': profile, calibrate and classify together are a few percent of the training they speed up."
run kaggle "${kaggle[@]}"

echo
echo "Figures: $out/criteo.json $out/kaggle.json"
echo "Reports (open in a browser): $out/criteo.html and $out/kaggle.html"
