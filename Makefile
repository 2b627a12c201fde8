# make demo   what a real model takes, one screen
# make test   everything that needs only Python
# Both do all the set-up: they make .venv and install into it (with uv when present).

.DEFAULT_GOAL := help
.PHONY: help demo test lint types docs check clean
PY := .venv/bin/python

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
	@echo "make lint   ruff"
	@echo "make types  mypy, strict"
	@echo "make docs   pages made from the program"
	@echo "make check  lint, types and test"
	@echo "make clean  remove .venv and caches"

.venv/.base: pyproject.toml tools/setup.sh
	@sh tools/setup.sh base

.venv/.dev: pyproject.toml tools/setup.sh
	@sh tools/setup.sh dev

demo: .venv/.base
	@.venv/bin/outlay demo

test: .venv/.dev
	@echo "make test: running the suites that need only Python" >&2
	@$(PY) -m pytest -n auto --dist loadfile

lint: .venv/.dev
	@$(PY) -m ruff check --output-format concise .

types: .venv/.dev
	@$(PY) -m mypy

check: lint types test

docs: .venv/.dev
	@$(PY) tools/build_docs.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
