#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The law through the program, the whole cross: optimizers x budgets x rates x orders x epochs, and in each of these 192
# cases every placement with 1 to 8 threads, 9,216 runs. Not in CI: tests/programs/law_test.cpp runs a covering part.
#
#   bash tests/programs/law_cross.sh build/release [JOBS]
#
# One line a case, a count at the end; exits with 1 if the digests of a case differ.
set -euo pipefail

export train=$1/examples/train_dlrm
jobs=${2:-$(nproc)}

# run_case OPTIONS...: all placements and thread counts of one case.
run_case() {
  local placement threads found digests=()
  for placement in all-home all-slots static lookahead "lookahead --window 0" "lookahead --window 100% --lookahead 64"; do
    for threads in 1 2 3 4 5 6 7 8; do
      found=$("$train" --synthetic small --inputs 2000 --zipf 2.5 --model small --batch 100 "$@" \
        --placement $placement --threads "$threads" | sed -n 's/^ *weights digest *//p')
      [[ $found =~ ^[0-9a-f]{16}$ ]] || { echo "FAILED $* --placement $placement --threads $threads"; return; }
      digests+=("$found")
    done
  done
  if [ "$(printf '%s\n' "${digests[@]}" | sort -u | wc -l)" -eq 1 ]; then
    echo "equal ${digests[0]} ${#digests[@]} runs $*"
  else
    echo "DIFFER $*: ${digests[*]}"
  fi
}
export -f run_case

cases() {
  local optimizer budget rate order epochs
  for optimizer in sgd adagrad rowwise-adagrad; do
    for budget in 0 1% 10% 100%; do
      for rate in 1 25 100 adaptive; do
        for order in fae shuffled; do
          for epochs in 1 2; do
            echo "--optimizer $optimizer --budget $budget --rate $rate --order $order --epochs $epochs"
          done
        done
      done
    done
  done
}

said=$(cases | xargs -P "$jobs" -I {} bash -c 'run_case {}' | tee >(cat >&2))
count() { grep -c "$1" <<<"$said" || true; }
runs=$(awk '/^equal/ { sum += $3 } END { print sum + 0 }' <<<"$said")
echo "$(count '^equal') cases of equal digests ($runs runs), $(count '^DIFFER') that differ, $(count '^FAILED') failed runs," \
  "$(awk '/^equal/ { print $2 }' <<<"$said" | sort -u | wc -l) different models"
[ "$(count '^equal')" -eq 192 ]
