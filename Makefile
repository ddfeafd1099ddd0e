# `make` alone tells what there is. Everything happens in .venv, which is made when it is needed.
PYTHON ?= python3
BIN := .venv/bin
LOCKS := config/requirements
SBOM := docs/sbom.cdx.json
# Its build (CPU or CUDA) is the machine's own, so that no lock holds its hash.
TORCH := $(shell grep -o 'torch[~=][^"]*' pyproject.toml)

.PHONY: help demo test check lock sbom cards pages bench soak clean

help:            ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv/installed: $(LOCKS)/dev.txt
	@echo "installing into .venv: this takes some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --no-deps --require-hashes -r $(LOCKS)/dev.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

demo: .venv/installed   ## the whole journey on this machine, with a synthetic radiograph
	$(BIN)/srnode demo --once

test: .venv/installed   ## all tests, three at a time: most of them wait for real peers
	$(BIN)/pytest -n 3 --dist worksteal

check: .venv/installed  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lock:            ## resolve the dependencies anew: each supported set with the hashes of its files
	for set in run postgresql train dev; do \
		extra=$$([ $$set = run ] || echo --extra=$$set); \
		CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras \
			--no-emit-index-url --no-emit-find-links --no-emit-trusted-host $(foreach name,torch dicom-sr-node pip setuptools wheel,--unsafe-package $(name)) \
			$$extra -o $(LOCKS)/$$set.txt pyproject.toml || exit 1; \
	done
	$(MAKE) sbom

sbom: .venv/installed   ## the bill of materials (CycloneDX) of what running needs
	$(BIN)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml -o $(SBOM) $(LOCKS)/run.txt

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
