#!/usr/bin/env bash
# Builds the engine and the codecs in C with AddressSanitizer and UndefinedBehaviorSanitizer beside the
# installed ones, and runs tests with them. PYTHON names the interpreter.
#   sanitized.sh TESTS...
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=$PWD/build/sanitized
export PROTOKIT_WIRE_VECTORS=${PROTOKIT_WIRE_VECTORS:-$(dirname "$PWD")/shared/wire/vectors}
rm -rf "$out"
mkdir -p "$out/plugins"
cp -r protokit protokit_proxy.py native tests docs examples pyproject.toml setup.py README.md "$out/"
cp -r plugins/* "$out/plugins/"
find "$out" -name '_native*.so' -delete
export CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"
export LDFLAGS="-fsanitize=address,undefined"
PYTHONPATH="$out"
for plugin in "$out"/plugins/*/; do PYTHONPATH="$PYTHONPATH:${plugin%/}"; done
export PYTHONPATH
(cd "$out" && "$python" setup.py -q build_ext --inplace)
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
# Where a block was allocated is not kept: writing that down takes a sixth of the time.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:malloc_context_size=1 UBSAN_OPTIONS=print_stacktrace=1
for plugin in "$out"/plugins/*/; do
  if [ -f "$plugin/build_native.py" ]; then (cd "$plugin" && "$python" setup.py -q build_ext --inplace); fi
done
unset CFLAGS LDFLAGS
# Without Python's own allocator every bytes object is a block of its own: a read past it is seen.
# 25 random worlds of each kind.
cd "$out"
PYTHONMALLOC=malloc "$python" -m pytest -n auto --dist worksteal -q -p no:cacheprovider --examples 25 \
  "$@"
"$python" - <<'CHECK'
import protokit.native
assert "sanitized" in protokit.native.lib.__class__.__module__ or "sanitized" in protokit._native.__file__, protokit._native.__file__
CHECK
