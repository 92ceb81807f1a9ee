#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# From a fresh Debian 12+ or Ubuntu 24.04+ to a running project, in one command:
#
#   bash cmake/bootstrap.sh demo    installs what is missing, builds, trains on two inputs, writes a report
#   bash cmake/bootstrap.sh test    installs what is missing, builds, runs every test
#   bash cmake/bootstrap.sh help
#
# Needs no GPU and no nvcc. Run it as often as you like: what is there is not done again.
# FAE_CMAKE_ARGS in the environment is added to the configuration, JOBS is how many compilers run at once.
set -euo pipefail

cd "$(dirname "$0")/.."
build=build/release
packages=(libeigen3-dev doctest-dev libbenchmark-dev zlib1g-dev libcli11-dev nlohmann-json3-dev)
# Tools may come from elsewhere than apt.
command -v cmake >/dev/null || packages+=(cmake)
command -v ninja >/dev/null || packages+=(ninja-build)
command -v "${CXX:-c++}" >/dev/null || packages+=(g++)

say() { printf '== %s\n' "$*"; }

usage() { sed -n '3,11s/^# \{0,1\}//p' "$0"; }

# install_missing PACKAGES...: asks apt for those that are not installed; without root it uses sudo, and without sudo it
# prints the command and gives up.
install_missing() {
  local missing=() package
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    say "no apt here: expecting that the equivalents of these are installed: $*"
    return
  fi
  for package in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    say "installed already: $*"
    return
  fi
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      printf 'Some packages are missing, and there is no sudo. As root, run\n\n  apt-get update && apt-get install -y %s\n\nand then this script again.\n' \
        "${missing[*]}" >&2
      exit 1
    fi
    root=(sudo)
  fi
  say "installing: ${missing[*]}"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

build_release() {
  if command -v ccache >/dev/null; then export CMAKE_CXX_COMPILER_LAUNCHER=ccache CMAKE_CUDA_COMPILER_LAUNCHER=ccache; fi
  say "configuring $build"
  # shellcheck disable=SC2086  # the arguments are words
  cmake --preset release ${FAE_CMAKE_ARGS:-}
  say "building (the first time takes minutes)"
  cmake --build "$build" --parallel "${JOBS:-$(nproc)}" "$@"
}

# run_tests: every case of ctest, then the counts on a line of their own.
run_tests() {
  local report=$PWD/$build/ctest.xml status=0 total failed skipped
  rm -f "$report"
  say "running every test"
  ctest --test-dir "$build" --output-on-failure --parallel "${JOBS:-$(nproc)}" --no-tests=error --output-junit "$report" ||
    status=$?
  if ! [ -s "$report" ]; then
    echo "ctest left no report" >&2
    exit 1
  fi
  count() { sed -n "s/^[[:space:]]*$1=\"\([0-9]*\)\".*/\1/p" "$report" | head -n 1; }
  total=$(count tests) failed=$(count failures) skipped=$(($(count skipped) + $(count disabled)))
  if [ "$skipped" -eq 0 ]; then
    echo "$((total - failed)) passed, $failed failed"
  else
    echo "$((total - failed - skipped)) passed, $failed failed, $skipped skipped"
  fi
  if [ "$failed" -ne 0 ]; then exit 1; fi
  exit "$status"
}

case ${1:-help} in
  demo)
    install_missing "${packages[@]}"
    build_release --target fae_examples
    say "running the demo"
    exec bash cmake/demo.sh "$build"
    ;;
  test)
    install_missing "${packages[@]}"
    build_release
    run_tests
    ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
