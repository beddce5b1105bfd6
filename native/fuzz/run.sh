#!/usr/bin/env bash
# Runs the fuzz targets for SECONDS (60), one after the other and one process each, from the corpus in the tree: half
# for declared protocols, a fifth for programs that nobody compiled, a fifth for the Dubbo codec, a tenth for tables that
# nobody packed. A protocol
# without a corpus begins with inputs made from its golden frames or its declaration. What is found is kept in
# build/fuzz/finds, and ends the run with 1.
# PYTHON names the interpreter.
#   run.sh [SECONDS [libFuzzer's options]]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-60}
shift || true
command -v clang >/dev/null || { echo "fuzz: clang is missing (Debian: apt install clang libclang-rt-dev)" >&2; exit 1; }
python=${PYTHON:-python3}
make -s -j "$(nproc)" PYTHON="$python" declared dubbo programs tables
"$python" export.py seeds ../../build/fuzz/seeds
cd ../../build/fuzz
export UBSAN_OPTIONS=print_stacktrace=1
run() { # target, seconds, corpora or options
  local target=$1 time=$2
  shift 2
  mkdir -p "work/$target" finds
  if ! "$target/fuzz" -max_total_time="$time" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="finds/$target-" "${options[@]}" "work/$target" "$@" >"$target.log" 2>&1; then
    grep -av ' REDUCE \| NEW ' "$target.log" | tail -60 >&2
    echo "fuzz: $target: found; again with: build/fuzz/$target/fuzz build/fuzz/finds/FILE" >&2
    exit 1
  fi
  echo "fuzz: $target: $(grep -a '^Done' "$target.log"), nothing found"
}
options=("$@")
corpus=../../native/fuzz/corpus
declared=()
for folder in seeds/*/; do
  name=$(basename "$folder")
  [ ! -d "$corpus/$name" ] || folder=$corpus/$name
  [ "$name" = dubbo ] || [ "$name" = programs ] || declared+=("$folder")
done
run declared $((seconds / 2)) "${declared[@]}"
run programs $((seconds / 5)) seeds/programs "$corpus/programs"
run dubbo $((seconds / 5)) "$corpus/dubbo"
run tables $((seconds / 10)) -len_control=0 -max_len=64 # three changes and what is looked up
