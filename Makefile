# From a bare Python 3.11 or 3.12 to a finished run: everything is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
INPUTS := requirements.lock pyproject.toml $(wildcard patches/*) configs/host.yaml

.PHONY: install quickstart test lock clean

install: .venv/installed

.venv/installed: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else \
	  f"Python 3.11 or 3.12 is needed, but {sys.executable} is {sys.version.split()[0]}; run make PYTHON=python3.12")'
	@echo "Installing into .venv"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.lock)"
	$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/vid2act host build
	@touch $@

quickstart: install  ## The whole of Vid2Act on Meta-World, small enough for two CPU cores
	rm -rf runs/quickstart
	$(BIN)/python -m dreamerv3 --configs vid2act metaworld quickstart --logdir runs/quickstart

test: install
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2

lock: install  ## Renew requirements.lock; it holds versions and hashes, no addresses
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv runs .pytest_cache .ruff_cache
