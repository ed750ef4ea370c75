# Two commands on a new machine: `make run` (the twelve-minute tour) and `make test`.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help install run test chaos calibrate fuzz check format conformance bench clean

help:                     ## this list
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: .venv/installed  ## set up .venv once

run: .venv/installed      ## the main job: study quickstart on embedded data, with a report
	$(BIN)/python -m sweep.run

# one thread each, as CPU trials have it: three test processes, which often wait, share two cores
test chaos calibrate: export OMP_NUM_THREADS := 1
test: .venv/installed     ## the tests: those with a Ray cluster alone, the others side by side
	$(BIN)/python -m pytest -m "ray and not slow" `grep -rl --include='test_*.py' 'mark\.ray' tests`
	$(BIN)/python -m pytest -m "not ray and not slow and not calibrate" -n 3 --dist loadfile

chaos: .venv/installed    ## the slow tests: twenty kills, a hang, a stopped job, both engines alike
	$(BIN)/python -m pytest -m slow

fuzz: .venv/installed     ## 1,000 damaged studies, annotations, sweeps and videos, with counts
	$(BIN)/python -m tests.fuzz.run 1000

calibrate: .venv/installed  ## long simulations: do claims and intervals err as often as they say
	$(BIN)/python -m pytest -m calibrate

check: .venv/installed    ## lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: .venv/installed   ## apply the formatter
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

conformance: .venv/installed  ## compare with the numbers of the published code, where they lie
	@if [ -d ../shared/golden ]; then \
		$(BIN)/python -m tests.conformance ../shared/golden --only $(CONFORMS); \
	else echo "no ../shared/golden here: conformance skipped"; fi

# formats implemented so far
CONFORMS := backbone_i3d backbone_mvit backbone_r2plus1d backbone_slow backbone_timesformer \
	backbone_videomae backbone_vjepa2 backbone_x3d decode perturb meltr s2dtw vt_twins_loss \
	vt_twins_s3dg vt_twins_tda glscl_concept_losses glscl_full jepa_aux jepa_masks repr_metrics \
	retrieval

bench: .venv/installed    ## ours against the naive way
	$(BIN)/python -m sweep.run bench

clean:           ## remove what the tools made; keeps .venv and runs
	rm -rf .pytest_cache .ruff_cache .mypy_cache .import_linter_cache *.egg-info build
