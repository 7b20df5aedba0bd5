# make run    every notebook top to bottom, as a reader would; the executed course as HTML in build/
# make test   unit tests, notebooks in seconds, browser tests where Chromium is installed
# make lab    JupyterLab
# Needs Python 3.10 or newer, make, and a package index; the data are in the repository.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONUNBUFFERED = 1

.PHONY: run test units cells lint lab weights refresh benchmark address clean

run: $(VENV)/installed
	$(BIN)/python tools/course.py run

# Both at once, one thread each: networks as small as those of the tests gain nothing from more.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/installed
	$(MAKE) --no-print-directory --jobs=2 --keep-going units cells

units:
	$(BIN)/python -m pytest tests

cells:
	GANTOOLS_PROFILE=smoke $(BIN)/python -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=120 notebooks

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

lab: $(VENV)/installed
	$(BIN)/jupyter lab notebooks

# Retrain what is shipped; needs the full data sets: python -m gantools data NAME
weights: $(VENV)/installed
	$(BIN)/python benchmarks/judges.py
	$(BIN)/python benchmarks/weights.py dcgan-cifar10 cdcgan-mnist-10k --threads 2
	$(BIN)/python benchmarks/weights.py
	$(BIN)/python benchmarks/time_to_quality.py
	$(BIN)/python benchmarks/time_to_quality.py dcgan-cifar10 --threads 2
	$(BIN)/python benchmarks/generators.py

# Draw the figures of the README, run the notebooks, and store their outputs in the repository
refresh: $(VENV)/installed
	$(BIN)/python tools/figures.py
	$(BIN)/python tools/course.py refresh

benchmark: $(VENV)/installed
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/step.py

# make address URL=https://github.com/you/gantools: the repository's address, everywhere it stands
address: $(VENV)/installed
	$(BIN)/python tools/course.py address $(URL)

clean:
	rm -rf $(VENV) build dist

# The stamp is newer than what it was made from, so a second `make` installs nothing.
$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "gantools needs Python 3.10 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV) || { echo "on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt -e .
	touch $@
