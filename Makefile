# Two commands are all the set-up there is: `make demo` and `make test`.
# `make check` is the fast gate, `make soak` what is too long for `make test`, `make bench` measures,
# `make fuzz MINUTES=60` throws mutated messages at every decoder.

VENV := .venv
PY := $(VENV)/bin/python
OPA_VERSION := v1.22.2
# One more than two cores have: many tests wait. Tests of one file share their brokers, so they stay together.
WORKERS := 3
# Those that claim that something happens within a second mostly wait, and leave the cores to what they time.
PROMPT_WORKERS := 2
MINUTES := 5
WYCHEPROOF_VERSION := v0.0.0-20260902155932-3fa63dd0344a
BETTERTLS_VERSION := v0.0.0-20250909192348-e1e99e353074
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: demo test check policy-check soak bench fuzz peers docs lock clean

demo: $(VENV)/.runtime
	$(VENV)/bin/otbroker dev --walkthrough

test: peers check
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not soak and not prompt" --ignore tests/unit tests
	$(PY) -m pytest -n $(PROMPT_WORKERS) --dist loadfile --no-loadscope-reorder -m "prompt and not soak" tests/end_to_end

check: $(VENV)/.test policy-check
	$(PY) -m ruff format --check --quiet broker tests certs
	$(PY) -m ruff check --quiet broker tests certs
	$(PY) -m mypy --strict broker
	$(VENV)/bin/lint-imports --no-logo
	$(PY) -m pytest -q -n $(WORKERS) tests/unit

policy-check: $(VENV)/.test .tools/opa
	$(PY) -m tests.policy_checks

soak: $(VENV)/.test peers
	$(PY) -m pytest -m soak --timeout=3600 tests

bench: $(VENV)/.test peers
	$(PY) -m tests.bench

fuzz: $(VENV)/.test
	$(PY) -m tests.fuzz --minutes $(MINUTES)

peers: $(VENV)/.test .tools/opa
	sh tests/setup/install-peers
	sh tests/setup/install-vectors $(WYCHEPROOF_VERSION)
	sh tests/setup/install-path-vectors $(PY) $(BETTERTLS_VERSION)

# Generated reference pages; `make check` fails if they are out of date.
docs: $(VENV)/.test
	$(PY) -m tests.reference --write

$(VENV)/.runtime: requirements/runtime.txt pyproject.toml deploy/python-environment
	sh deploy/python-environment $(VENV) requirements/runtime.txt
	touch $@

$(VENV)/.test: requirements/test.txt pyproject.toml deploy/python-environment
	sh deploy/python-environment $(VENV) requirements/test.txt
	touch $@ $(VENV)/.runtime

# The real OPA, where Go is there; without it the tests that need it are skipped and counted.
.tools/opa:
	sh tests/setup/install-opa $(OPA_VERSION)
	mkdir -p .tools && touch $@

# Pinned with hashes, wheels only; needs uv (not needed for anything else).
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --only-binary :all: -q \
	  --no-header --extra build pyproject.toml -o requirements/runtime.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --only-binary :all: -q \
	  --no-header --extra build --extra test pyproject.toml -o requirements/test.txt

clean:
	rm -rf $(VENV) .tools .dev build tests/peers/node_modules
