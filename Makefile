# Two commands do everything, set-up included: `make demo` and `make test`.
# They work again when run twice, and offline once installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test clean

demo: $(STAMP)
	@$(BIN)/python examples/demo.py

test: $(STAMP)
	@$(BIN)/python -m pytest -q -m "not slow"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("evalkit needs Python 3.11 or newer; try: make PYTHON=python3.12 " + " ".join(sys.argv[1:])) if sys.version_info < (3, 11) else None'
	@command -v bwrap >/dev/null || echo "note: bubblewrap is not installed; candidates need it: sudo apt-get install bubblewrap"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docker,examples,compressed]" --group dev
	@touch $@

clean:
	rm -rf $(VENV) build
