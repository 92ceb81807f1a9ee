#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The main job on two inputs, with what to look at in words. Called by `cmake/bootstrap.sh demo` with the build folder:
#
#   bash cmake/demo.sh build/release
#
# Writes <build>/demo/*.html and *.json; the last line names the report.
set -euo pipefail

build=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
build=${build#"$PWD"/}
out=$build/demo
mkdir -p "$out"

# The command lines of the demo.
criteo=(--data examples/data/criteo/criteo_terabyte_day0_10k.tsv.gz --format criteo
        --model small --budget 10% --epochs 3)
kaggle=(--synthetic kaggle --inputs 500000
        --model rmc2 --budget 16MiB --epochs 1)

run() { # run NAME OPTIONS...: one training with its report and its figures
  local name=$1
  shift
  echo "\$ train_dlrm $*"
  "$build/examples/train_dlrm" "$@" --json "$out/$name.json" --report "$out/$name.html"
}

echo
echo "1. Criteo: 10,000 lines of the Terabyte click log, as they are published. A tenth of the rows' bytes is fast."
echo "   Look at 'hot look-ups' and 'hot inputs': a small part of the rows serves most look-ups, but an input is hot"
echo "   only when all of its 26 rows are, so the share of hot inputs is far below the share of hot look-ups."
run criteo "${criteo[@]}"

echo
echo "2. The same on one thread and without a fast tier."
echo "   Look at 'weights digest': it is the same, to the last bit of every weight. Where rows live and how many"
echo "   threads there are changes speed, never what is trained."
run criteo_all_home "${criteo[@]}" --placement all-home --threads 1

echo
echo "3. A synthetic set of the shape of Criteo Kaggle: 26 tables, 33.8 million rows, the published skew."
echo "   Look at 'hot rows': 16 MiB hold less than a hundredth of the rows, and these serve nine look-ups of ten."
echo "   Look at 'static pass': finding the hot rows and sorting the inputs costs a small part of one epoch, once."
run kaggle "${kaggle[@]}"

digest() { sed -n 's/.*"weights_digest": "\([0-9a-f]*\)".*/\1/p' "$out/$1.json"; }
echo
echo "Digests of 1 and 2: $(digest criteo) $(digest criteo_all_home)"
if [ "$(digest criteo)" != "$(digest criteo_all_home)" ]; then
  echo "they differ: this is a bug" >&2
  exit 1
fi
echo "Figures: $out/*.json"
echo "Reports (open in a browser): $out/criteo.html and $out/kaggle.html"
