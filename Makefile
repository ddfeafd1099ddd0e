# `make` alone tells what there is. Everything happens in .venv, which is made when it is needed.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test check cards pages bench soak clean

help:            ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: pyproject.toml
	@echo "installing into .venv: this takes some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: .venv/installed   ## the whole journey on this machine, with a synthetic radiograph
	$(BIN)/srnode demo --once

test: .venv/installed   ## all tests, three at a time: most of them wait for real peers
	$(BIN)/pytest -n 3 --dist worksteal

check: .venv/installed  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

cards: .venv/installed  ## measure the shipped weights on held-out patients: every figure in their cards (half an hour)
	$(BIN)/python -m training.card xr-lite xr xr-gan --data ../shared/xray

pages: .venv/installed  ## fill README, model card and physics page from the cards
	$(BIN)/python -m training.pages

bench: .venv/installed  ## timings side by side; never part of the tests
	$(BIN)/pytest tests/bench -s -q -o addopts=

soak: .venv/installed   ## the long tests of reliability: an hour and a half, on loopback; prints a table
	$(BIN)/pytest tests/soak -s -q -o addopts=

clean:           ## forget the environment and what the demo made
	rm -rf .venv var
