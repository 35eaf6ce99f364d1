# Needs python3 (3.11 or newer) and make; all else is set up in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo platform test acceptance lint check docs clean help

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: .venv/.complete ## make .venv with everything reconad needs

.venv/.complete: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("reconad needs Python 3.11 or newer; this is " + sys.version.split()[0] + ": set PYTHON=") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup ## replay fourteen nights; KEEP=1 leaves the servers up
	@$(BIN)/reconad demo $(if $(KEEP),--keep)

platform: setup ## bring the demo's servers up again
	@$(BIN)/reconad platform

test: setup ## all tests but the long acceptance, on real servers
	$(BIN)/python -m pytest -n 2

acceptance: setup ## the whole short demo, the dashboard in a browser, many kills, messages to people
	$(BIN)/python -m pytest -n 2 tests/acceptance

lint: setup ## style, types and floors, in half a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## the same, doctests and unit tests; no servers
	$(BIN)/python -m pytest --quiet --doctest-modules reconad_plugin tests/unit

docs: setup ## the documentation as a site, site/index.html
	$(BIN)/zensical build --strict --clean

clean: ## remove what the targets made
	rm -rf .venv .reconad demo-report site .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist *.egg-info
