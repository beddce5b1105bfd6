#!/usr/bin/env bash
# Builds the engine and the codecs in C with AddressSanitizer and UndefinedBehaviorSanitizer beside the
# installed ones, and runs tests with them. PYTHON names the interpreter, WORKERS how many processes run tests.
#   sanitized.sh TESTS...
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=$PWD/build/sanitized
export PROTOKIT_WIRE_VECTORS=${PROTOKIT_WIRE_VECTORS:-$(dirname "$PWD")/shared/wire/vectors}
rm -rf "$out"
mkdir -p "$out/plugins"
# With the times of files: what Python has compiled of them, asserts rewritten, is taken as it is.
cp -rp protokit protokit_proxy.py native tests docs examples pyproject.toml setup.py README.md "$out/"
cp -rp plugins/* "$out/plugins/"
find "$out" -name '_native*.so' -delete
cp tests/sanitized/exact.py "$out/"
CFLAGS=$(make -s --no-print-directory -C native/tests flags)
LDFLAGS=$(make -s --no-print-directory -C native/tests link-flags)
export CFLAGS LDFLAGS
PYTHONPATH="$out"
for plugin in "$out"/plugins/*/; do PYTHONPATH="$PYTHONPATH:${plugin%/}"; done
export PYTHONPATH
# The engine is compiled once, for the tests in C as well.
PROTOKIT_ENGINE_OBJECTS=$(make -s --no-print-directory -j "$(nproc)" -C native/tests objects)
export PROTOKIT_ENGINE_OBJECTS
# What Python gives to C is blocks of malloc's of exactly its bytes: what is read beside them is seen.
(cd "$out" && CFLAGS="$CFLAGS -DPK_PREAMBLE='\"$out/tests/sanitized/exact.h\"'" "$python" setup.py -q build_ext --inplace)
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export CC="env -u LD_PRELOAD gcc" # the compiler is not what is looked at
# Where a block was allocated is not kept: writing that down takes a sixth of the time.
# What is freed comes again after 16 MB: with the 256 that are usual each block is memory that no cache has.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:malloc_context_size=1:quarantine_size_mb=16
export UBSAN_OPTIONS=print_stacktrace=1
for plugin in "$out"/plugins/*/; do
  if [ -f "$plugin/build_native.py" ]; then (cd "$plugin" && "$python" setup.py -q build_ext --inplace); fi
done
unset CFLAGS LDFLAGS
cd "$out"
"$python" tests/sanitized/planted.py || { echo "sanitized.sh: the build above does not see what it is there for" >&2; exit 1; }
# 25 random worlds of each kind. Of declared protocols as many random frames as elsewhere: what is finite of them is gone
# through in any case, and libFuzzer draws for the same programs (make fuzz); of codecs in C all.
"$python" -m pytest -n "${WORKERS:-auto}" --dist worksteal -q -p no:cacheprovider --examples 25 --drawn 40 "$@"
