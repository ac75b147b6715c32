# Everything happens in .venv; PYTHON chooses the interpreter that makes it (3.11 or newer).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet
DEMO = $(BIN)/purejaxrl train --env DeepSea-bsuite --env.size 20 --visits --seeds 4 --total-steps 300000 \
	--num-envs 32 --algo.num-steps 40 --algo.ent-coef 0.03 --algo.learning-rate 2.5e-4

.PHONY: demo test test-slow test-speed soak test-oldest check lint types notebooks docs docs-full clean

demo: $(VENV)/.installed
	@rm -rf runs/demo
	@echo "1/3 PPO alone on DeepSea of size 20: a random walk finds the treasure once in 2^20 episodes"
	@$(DEMO) --out runs/demo/alone
	@echo "2/3 the same PPO with a bonus for states it has seen rarely"
	@$(DEMO) --bonus counts --out runs/demo/counts
	@echo "3/3 the report"
	@$(BIN)/purejaxrl report runs/demo/alone runs/demo/counts --open

# One worker more than cores, since many tests wait for processes.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $$($(BIN)/python -c 'import os; print(os.cpu_count() + 1)')

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m slow

# A ratio of two programs that take turns, since machines differ: about 1.6 on a quiet one.
test-speed: $(VENV)/.installed-dev
	$(BIN)/purejaxrl bench speed --works ppo-64 --rounds 3 --start-up --at-least 1 --out build/speed

# An hour of kills, corruptions and full disks; writes what was tried and lost.
soak: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/soak.py --minutes 60 --out docs/soak.md

test-oldest:
	$(PYTHON) -m venv .venv-oldest
	grep -oP '^  "\K[a-z0-9-]+>=[0-9.]+' pyproject.toml | grep -v hatchling | sed 's/>=/==/' > .venv-oldest/oldest.txt
	.venv-oldest/bin/python -m pip install --quiet --requirement .venv-oldest/oldest.txt hatchling
	.venv-oldest/bin/python -m pip install --quiet --no-deps --editable .
	.venv-oldest/bin/python -m pytest -n auto

check: lint types test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/pyright --pythonpath $(BIN)/python

notebooks: $(VENV)/.installed-dev
	for script in examples/*.py; do $(BIN)/jupytext --update --to ipynb $$script; done

# build/docs/index.html, half a minute; whatever Sphinx warns of is an error.
docs: $(VENV)/.installed-docs
	JAX_PLATFORMS=cpu NOTEBOOKS=$(or $(NOTEBOOKS),off) $(BIN)/sphinx-build -b html -W --keep-going -q docs build/docs
	@echo "build/docs/index.html"

# The same with what the notebooks show: each is executed once, a quarter of an hour on two cores.
docs-full: $(VENV)/.installed-dev
	$(MAKE) docs NOTEBOOKS=cache

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing purejaxrl and what it needs (about a minute)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing purejaxrl with what its tests need (about a minute)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(VENV)/bin/python
	@echo "installing purejaxrl with what its documentation needs (about a minute)"
	@$(PIP) --editable '.[docs]'
	@touch $@ $(VENV)/.installed
