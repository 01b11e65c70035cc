# Two commands do everything on a fresh machine: `make train` and `make test`. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile
READY := $(VENV)/.ready

.PHONY: setup train perception test test-slow check bench
.DELETE_ON_ERROR:

setup: $(READY)  ## the virtual environment, pinned by requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "nanodrive needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

train: setup  ## train a policy on camera features, score it on unseen towns, film its drive (about 20 minutes)
	$(BIN)/python train_agent.py

perception: setup  ## every camera network from nothing, from drawn pictures alone (four hours)
	$(BIN)/nanodrive generate --out data/drives --train-frames 60000 --val-frames 2000 --frames-per-town 25 \
		--usual-share 1 --seed 5
	$(BIN)/nanodrive perceive --train --data data/drives
	$(BIN)/nanodrive perceive --train-path --data data/drives --weights runs/perception/perception
	$(BIN)/nanodrive perceive --train-glimpse --data data/drives --weights runs/path/perception
	$(BIN)/nanodrive perceive --train-namer --data data/drives --seen-share 0.8 --model.stem 16 --model.middle 32 \
		--model.top 72 --model.last 72 --model.fine 0 --epochs 30 --steps 500 --out runs/reader
	$(BIN)/nanodrive perceive --train-namer --epochs 26 --steps 500
	$(BIN)/nanodrive perceive --train-scout --steps 3600 --epoch-steps 200 --val-scenes 120
	$(BIN)/nanodrive perceive --train-lights --steps 3500
	$(BIN)/nanodrive generate --out data/roads --train-frames 5000 --val-frames 500 --seed 9
	$(BIN)/nanodrive perceive --train-road --data data/roads --scapes 20000 --towns 5000 --epochs 6 --minutes 120

test: setup  ## the default tests, a process for each core
	$(PYTEST)

test-slow: setup  ## those that take longer than a few seconds each
	$(PYTEST) -m "slow and not exhaustive"

check: setup  ## everything that must hold before a commit
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test test-slow

bench: setup  ## how fast each stage is on this machine
	$(BIN)/nanodrive bench
