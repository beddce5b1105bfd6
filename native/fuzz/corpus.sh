#!/usr/bin/env bash
# Makes native/fuzz/corpus/NAME anew: what is needed of the inputs that export.py makes from golden frames, and of
# those under 100 bytes that runs have found, to reach all that they reach together. PYTHON names the interpreter.
#   corpus.sh [NAME ...]
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
out=$PWD/../../build/fuzz
make -s PYTHON="$python" declared dubbo programs
"$python" export.py seeds "$out/seeds" "$@"
for folder in "$out"/seeds/*/; do
  name=$(basename "$folder")
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  target=declared
  less=()
  [ "$name" != dubbo ] || target=dubbo
  [ "$name" != programs ] || target=programs less=(-use_counters=0)
  tag=$("$python" -c 'import sys, zlib; print(f"{zlib.crc32(sys.argv[1].encode()) >> 24:02x}")' "$name")
  mkdir -p "$out/work/$target" "$out/found/$name" "corpus/$name"
  find "$out/work/$target" -type f -size -100c | while read -r file; do
    [ "$target" != programs ] && [ "$(head -c 1 "$file" | od -An -tx1 | tr -d ' ')" != "$tag" ] || cp "$file" "$out/found/$name/"
  done
  rm -rf "$out/merged"
  mkdir "$out/merged"
  "$out/$target/fuzz" -merge=1 -use_value_profile=0 "${less[@]}" "$out/merged" "corpus/$name" "$folder" "$out/found/$name" 2>&1 | tail -1
  rm -f "corpus/$name"/*
  cp "$out"/merged/* "corpus/$name/"
done
du -sb corpus
