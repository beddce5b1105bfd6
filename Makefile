# make demo   two providers, the proxy between them, real Dubbo calls
# make test   the tests, in minutes; make test-all: also the thorough and slow ones
# make interop, ctest, fuzz, soak, bench, lint: the rest
#
# What is installed are the versions in $(LOCK). `LOCK=` takes the newest of everything, into an environment of its
# own; `make lock` makes those the ones in the file, to be committed once `make test-all` and `make lint` pass.
LOCK = requirements.lock
VENV ?= $(if $(LOCK),.venv,.venv-newest)
PYTHON ?= python3
BIN = $(VENV)/bin
PIP = PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip
CORE = $(shell find native/src native/include -type f) native/build_native.py pyproject.toml setup.py
PLUGINS = brpc dubbo hsf motan sofarpc tars thrift
PARTS = $(wildcard plugins/*/native/* plugins/*/*.py plugins/*/*.toml)
TESTS = tests plugins
# What drives the C code: with all tests, the slow ones too, it is run under sanitizers.
SANITIZED = tests/dataplane tests/wire tests/formats tests/testing/test_named_kit.py tests/testing/test_sided_kit.py
SANITIZED += tests/test_arguments.py tests/test_destinations.py tests/test_matching.py tests/test_routes.py tests/test_table.py tests/e2e/test_growth.py plugins
# One more than there are processors: many tests wait for a while.
WORKERS = $(shell echo $$(($$(nproc 2>/dev/null || echo 1) + 1)))

# What is compiled is kept, whatever the environment says: asserts are rewritten for eight seconds otherwise, by each
# process that runs tests, and each command that they start compiles its modules.
unexport PYTHONDONTWRITEBYTECODE

# Runs one command that has much to say and is heard only where it fails.
quietly = @log=$$(mktemp); $(1) >$$log 2>&1 && rm $$log || { cat $$log; rm $$log; exit 1; }

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py

run: $(VENV)/.installed
	$(BIN)/python examples/demo.py --keep-running

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS) --ignore tests/interop -m "not slow" --quick $(ARGS)

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS) --ignore tests/interop $(ARGS)

# What neither test nor ctest runs.
test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(filter-out $(SANITIZED),$(TESTS)) --ignore tests/interop $(SANITIZED:%=--ignore %) -m slow $(ARGS)

interop: $(VENV)/.test
	tests/interop/install.sh
	$(BIN)/python -m pytest tests/interop $(ARGS)

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The C code under sanitizers: threads, then the Python tests of the core and the codecs.
ctest: $(VENV)/.test
	$(MAKE) -j $(WORKERS) -C native/tests built
	$(MAKE) -C native/tests
	PYTHON=$(abspath $(BIN))/python WORKERS=$(WORKERS) tests/sanitized.sh $(SANITIZED)

# libFuzzer on every declared protocol's program and the Dubbo codec: ARGS="300" for so many seconds. Needs clang.
fuzz: $(VENV)/.test
	PYTHON=$(abspath $(BIN))/python native/fuzz/run.sh $(ARGS)

# Ten minutes of mixed traffic with faults; ARGS="--seconds 20" for less.
soak: $(VENV)/.installed
	$(BIN)/python tests/soak.py $(ARGS)

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/suite.py $(ARGS)

# An environment of its own, made anew where the versions have changed.
$(VENV)/.created: $(LOCK)
	$(PYTHON) -m venv --clear $(VENV)
	$(call quietly,$(PIP) install $(LOCK:%=-c %) "setuptools>=77" "cffi>=1.16")
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(CORE) $(PARTS)
	@echo "building protokit and the plugins in plugins/ into $(VENV) (half a minute)"
	$(call quietly,$(PIP) install $(LOCK:%=-c %) --no-build-isolation $(patsubst %,-e %,. $(PLUGINS:%=./plugins/%)))
	$(call quietly,$(BIN)/python -m compileall -q protokit $(PLUGINS:%=plugins/%/protokit_%))
	@touch $@

# What an extra needs; protokit-proxy itself is there.
$(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: $(VENV)/.installed
	$(call quietly,$(PIP) install $(LOCK:%=-c %) "protokit-proxy[$*]")
	@touch $@

lock:
	rm -rf .venv-newest
	$(MAKE) LOCK= VENV=.venv-newest .venv-newest/.test .venv-newest/.lint
	echo "# Made by \`make lock\`." >requirements.lock
	.venv-newest/bin/pip freeze --all --exclude-editable --exclude pip >>requirements.lock

clean:
	rm -rf build dist benchmarks/build *.egg-info plugins/*/build plugins/*/*.egg-info $(VENV) .venv-newest
	find . -name '_native*' -not -name '*.pyi' -path '*protokit*' -not -path './.git/*' -delete

.PHONY: demo run test test-all test-slow lock interop lint ctest fuzz soak bench clean
