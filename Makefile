# Every target does its own set-up on a machine with Python 3.11–3.13 and git.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv/bin
PORT ?= 8000
DEMO_DIR ?= ./var
BENCH ?= all
export PORT DEMO_DIR

.PHONY: demo test setup lint types docs bench

demo:
	@$(if $(PYTHON),,$(error Starsieve needs Python 3.11, 3.12 or 3.13 on the PATH))$(PYTHON) platform/starsieve/ops/bootstrap.py ml demo
	@$(VENV)/python -m starsieve.ops.demo_server

setup:
	@$(if $(PYTHON),,$(error Starsieve needs Python 3.11, 3.12 or 3.13 on the PATH))$(PYTHON) platform/starsieve/ops/bootstrap.py ml demo test

test: setup
	@$(VENV)/python tests/run.py

lint: setup
	@$(VENV)/python tests/run.py lint

types: setup
	@$(VENV)/python tests/run.py types

docs: setup
	@$(VENV)/python tests/run.py docs

bench:
	@$(if $(PYTHON),,$(error Starsieve needs Python 3.11, 3.12 or 3.13 on the PATH))$(PYTHON) platform/starsieve/ops/bootstrap.py ml demo test bench
	@$(VENV)/python benchmarks/run.py $(BENCH)
