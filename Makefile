# From a bare Python 3.11, 3.12 or 3.13 to a finished run: everything is installed into .venv.

PYTHON ?= python3
override PYTHON := $(PYTHON:3.%=python3.%)
BIN := .venv/bin
INPUTS := requirements.lock pyproject.toml $(filter-out %.md,$(wildcard patches/*)) configs/host.yaml

OUT ?= offline
EXTRAS := cuda12 cuda13 tensorboard wandb robotics ray

.PHONY: install quickstart test bench offline offline-check versions lock clean

ifneq ($(filter-out $(EXTRAS),$(EXTRA)),)
$(error EXTRA is $(EXTRA), but it is one or more of $(EXTRAS))
endif

install: .venv/installed $(sort $(wildcard .venv/extra-*) $(EXTRA:%=.venv/extra-%))  ## EXTRA=cuda13: JAX for NVIDIA GPUs; also cuda12, tensorboard, wandb, robotics, ray

.venv/installed: $(INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else \
	  f"Python 3.11, 3.12 or 3.13 is needed, but {sys.executable} is {sys.version.split()[0]}; run make PYTHON=python3.12")'
	@echo "Installing into .venv"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[0-9.]*' requirements.lock)"
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
	$(BIN)/vid2act host build
	@touch $@

.venv/extra-%: .venv/installed
	$(BIN)/uv pip install --python $(BIN)/python --no-build-isolation -e '.[$*]'
	@touch $@

# A target in which one of three sources succeeds at times, as `vid2act rank` shows.
QUICK := --task metaworld_drawer-close
QUICKSOURCES := metaworld_button-press metaworld_door-close metaworld_plate-slide

quickstart: install  ## The whole of Vid2Act on Meta-World, small enough for two CPU cores
	rm -rf runs/quickstart
	$(BIN)/python -m dreamerv3 --configs vid2act metaworld quickstart $(QUICK) \
	  --vid2act.sources $(QUICKSOURCES) --logdir runs/quickstart
	@echo 'Next, stock DreamerV3 on the same task, and a page about both:'
	@echo '  $(BIN)/python -m dreamerv3 --configs metaworld quickstart $(QUICK) --logdir runs/stock'
	@echo '  $(BIN)/vid2act report runs'

test: install
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -n 2

bench: install  ## Timings beside stock DreamerV3 into bench/results.json and bench/README.md; 20 to 30 minutes, nothing else running
	$(BIN)/python -m bench.timings.run

offline: install  ## Wheels for a machine without a network that has JAX: PYTHON=python3.12 OUT=DIR
	$(BIN)/python bench/offline.py --python $(or $(filter 3.%,$(PYTHON:python%=%)),3.12) --out $(OUT)

offline-check: install  ## Install them into an environment of JAX, NumPy and SciPy, without an index, and update
	rm -rf .venv-versions/offline; mkdir -p .venv-versions/offline
	$(BIN)/python bench/offline.py --out .venv-versions/offline/wheels \
	  --python $$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	$(BIN)/uv venv --quiet --seed --python $(PYTHON) .venv-versions/offline/env
	$(BIN)/uv pip install --quiet --python .venv-versions/offline/env/bin/python \
	  "$$(grep -o 'jax>=[^"]*' pyproject.toml | head -1)" scipy
	.venv-versions/offline/env/bin/python -m pip install --quiet --no-index --no-deps \
	  --target .venv-versions/offline/site .venv-versions/offline/wheels/*.whl
	PYTHONPATH=.venv-versions/offline/site .venv-versions/offline/env/bin/python bench/offline_check.py

versions: install  ## Smoke tests with the oldest and the newest Python and JAX; CHECKOUT=DIR: on a git checkout too
	$(BIN)/python bench/versions.py $(if $(CHECKOUT),--checkout "$(CHECKOUT)")

lock: install  ## Renew requirements.lock; it holds versions and hashes, no addresses
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv runs/quickstart .pytest_cache .ruff_cache
