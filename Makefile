# make demo   two providers, the proxy between them, real Dubbo calls
# make test   the tests; make interop, ctest, fuzz, soak, bench, lint: the rest
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
CORE = $(wildcard native/src/* native/include/protokit/* native/cdef/* native/*.py) pyproject.toml setup.py
PLUGINS = dubbo hsf motan sofarpc
PARTS = $(wildcard plugins/*/native/* plugins/*/*.py plugins/*/*.toml)

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

run: $(VENV)/.installed
	$(BIN)/python examples/demo.py --keep-running

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist loadfile tests plugins --ignore tests/interop $(ARGS)

interop: $(VENV)/.test
	tests/interop/install.sh
	$(BIN)/python -m pytest tests/interop $(ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The C code under sanitizers: threads, then the Python tests of the core and the codecs.
ctest: $(VENV)/.test
	$(MAKE) -C native/tests
	PYTHON=$(abspath $(BIN))/python tests/sanitized.sh

# libFuzzer on every declared protocol's program and the Dubbo codec: ARGS="300" for so many seconds. Needs clang.
fuzz: $(VENV)/.test
	PYTHON=$(abspath $(BIN))/python native/fuzz/run.sh $(ARGS)

# Ten minutes of mixed traffic with faults; ARGS="--seconds 20" for less.
soak: $(VENV)/.installed
	$(BIN)/python tests/soak.py $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/suite.py $(ARGS)

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip "setuptools>=70" wheel "cffi>=1.16"
	touch $@

$(VENV)/.installed: $(VENV)/.created $(CORE) $(PARTS)
	$(BIN)/pip install -q --no-build-isolation -e .
	for one in $(PLUGINS); do $(BIN)/pip install -q --no-build-isolation -e plugins/$$one || exit 1; done
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(BIN)/pip install -q --no-build-isolation -e ".[test]"
	touch $@

$(VENV)/.lint: $(VENV)/.installed
	$(BIN)/pip install -q --no-build-isolation -e ".[lint]"
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/pip install -q --no-build-isolation -e ".[bench]"
	touch $@

clean:
	rm -rf build dist benchmarks/build *.egg-info plugins/*/build plugins/*/*.egg-info $(VENV)
	find . -name '_native*' -not -name '*.pyi' -path '*protokit*' -not -path './.git/*' -delete

.PHONY: demo run test interop lint ctest fuzz soak bench clean
