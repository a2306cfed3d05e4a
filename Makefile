# make demo   runs the main job on a photograph;  make test   runs the tests;  make help   lists the rest.
# Both need only Python 3.11 to 3.13 with venv, and make .venv from constraints.txt when it is missing.

SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python
# A checkpoint for the demo: a folder or a hub id. Empty: the bundled one.
MODEL ?=
# An index of CPU builds of torch, for machines without a GPU.
TORCH_INDEX ?=
# More arguments for pytest: make test PYTEST='-k resize -x'
PYTEST ?=
# How many files make fuzz tries; another seed makes other files.
FUZZ ?= 20000
SEED ?= 0
# More arguments for the benchmarks: make bench-full BENCH='--resume --write docs/performance.md README.md'
BENCH ?=
# More arguments for a new training: make train-scenes TRAIN='--seed 1'
TRAIN ?=
# Processes that share the tests of `make test`; 0 runs them in pytest's own, for a debugger.
WORKERS ?= 2
# Older versions that servers run. Each gets an environment that holds only TensorFlow and numpy.
OLD_TENSORFLOW ?= 2.20 2.18
OLD_VENVS := .venvs

export PYTHON
export TORCH_INDEX
TF_CPP_MIN_LOG_LEVEL ?= 2
export TF_CPP_MIN_LOG_LEVEL
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test check test-slow fuzz false-alarms environments test-old-tensorflow
.PHONY: bench bench-full bench-pixels bench-environment
.PHONY: train-scenes legacy-environment legacy-api test-legacy dist constraints clean

help:
	@echo "Targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	    while IFS='|' read -r target what; do printf '%-30s%s\n' "$$target" "$$what"; done
	@echo "Variables:"
	@echo "  MODEL=folder or hub id        the checkpoint of make demo (default: the bundled one)"
	@echo "  TORCH_INDEX=url               an index of CPU builds of torch (PyPI's for Linux is the CUDA build)"
	@echo "  PYTHON=path                   the Python that makes the environment (3.11 to 3.13)"
	@echo "  PYTEST='-k name -x'           more arguments for pytest"
	@echo "  FUZZ=50000 SEED=1             number and seed of the files of make fuzz"
	@echo "  BENCH='--resume'              more arguments for make bench, bench-full and bench-pixels"
	@echo "  TRAIN='--seed 1'              more arguments for make train-scenes"
	@echo "  WORKERS=2                     processes that share the tests of make test; 0 for a debugger"

# Quick when $(VENV) is up to date: tools/environment.py compares a fingerprint.
setup: ## makes .venv from constraints.txt, if it is missing or out of date
	@python=$$(sh tools/find-python.sh 3.11 3.13) && "$$python" tools/environment.py $(VENV) \
	    --constraints constraints.txt --install '.[dev]' $(if $(TORCH_INDEX),--torch-index '$(TORCH_INDEX)')

demo: setup ## checkpoint to served model on pictures, compared with PyTorch: out/demo
	@$(PY) examples/demo.py $(if $(MODEL),--model '$(MODEL)') --output out/demo

test: setup ## the test suite (13 to 32 minutes on 2 cores, as fast as they are)
	@$(PY) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST)
	@echo "The test suite passed. Slower tests: make test-slow; older TensorFlow: make test-old-tensorflow."

check: setup ## lint, format, types and the import contract
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports --cache-dir .import_linter_cache
	@echo "Lint, format, types and the import contract are in order."

test-slow: setup ## the tests that take minutes: packaging in clean environments, large models
	@$(PY) -m pytest -m slow $(PYTEST)
	@echo "The slow tests passed."

fuzz: setup ## damaged and hostile image files through a Session, against Pillow: out/fuzz
	@$(PY) -m tests.fuzz --count $(FUZZ) --seed $(SEED)

# The recipe of examples/segformer-scenes/README.md. Interrupted, it goes on where it was.
SCENES := out/train-scenes/data
train-scenes: setup ## trains the bundled checkpoint again, an hour on 2 cores: out/train-scenes/run
	@[ -e $(SCENES)/images/training ] || \
	    $(PY) -m tf_segformer scenes $(SCENES) --count 3000 --size 256x256 --split training
	@[ -e $(SCENES)/images/validation ] || \
	    $(PY) -m tf_segformer scenes $(SCENES) --count 500 --size 256x256 --split validation
	@if [ -e out/train-scenes/run/state.safetensors ]; then \
	    $(PY) -m tf_segformer train --resume -o out/train-scenes/run; \
	else \
	    $(PY) -m tf_segformer train --data $(SCENES) --config examples/segformer-scenes/config.json \
	        --steps 4000 --batch 16 --crop 128 --short-side 192 --scales 0.75 1.25 --size 192 \
	        --learning-rate 1e-3 --head-factor 1 --warm-up 200 --drop-path 0 --ema 0.995 \
	        --validate-every 500 --save-every 200 --validation-photographs 60 --threads 2 \
	        -o out/train-scenes/run $(TRAIN); \
	fi

false-alarms: setup ## 200 networks that are right on both sides: parity must flag none
	@$(PY) -m parity false-alarms --count 200

bench: bench-environment ## speed against PyTorch, ONNX Runtime, OpenVINO, keras-hub …, 20 minutes on 2 cores: out/bench
	@$(OLD_VENVS)/bench/bin/python -m benchmarks --plan quick $(BENCH)

bench-full: bench-environment ## all variants, sizes, batches, memory, loading, serving; hours: out/bench
	@$(OLD_VENVS)/bench/bin/python -m benchmarks --plan full $(BENCH)

# Without the legacy class's environment the benchmark goes on, and says so in its tables.
bench-environment: ## what the benchmark compares with: .venvs/bench and .venvs/legacy
	@python=$$(sh tools/find-python.sh 3.11 3.13) && "$$python" tools/environment.py $(OLD_VENVS)/bench \
	    --install '.[parity,serving]' openvino onnxruntime onnx keras-hub scipy \
	    --constraints tests/environments/bench.txt $(if $(TORCH_INDEX),--torch-index '$(TORCH_INDEX)')
	@$(MAKE) --no-print-directory legacy-environment || echo "The benchmark goes on without the legacy class."

bench-pixels: setup ## speed and memory of resize, label map and request against PyTorch: out/pixels.json
	@mkdir -p out && $(PY) -m benchmarks.pixels --json out/pixels.json $(BENCH)

environments: setup ## one environment for each older TensorFlow: .venvs/tensorflow-*
	@for version in $(OLD_TENSORFLOW); do \
	    newest=3.13; case $$version in 2.1[0-8]) newest=3.12;; esac; \
	    python=$$(sh tools/find-python.sh 3.11 $$newest) && "$$python" tools/environment.py \
	        $(OLD_VENVS)/tensorflow-$$version --install tensorflow numpy \
	        --constraints tests/environments/tensorflow-$$version.txt || exit 1; \
	done
	@echo "Ready: $(foreach version,$(OLD_TENSORFLOW),$(OLD_VENVS)/tensorflow-$(version))"

test-old-tensorflow: environments ## executes exports in a Session of each older TensorFlow
	@OLD_TENSORFLOW='$(OLD_TENSORFLOW)' $(PY) -m pytest -m old_tensorflow $(PYTEST)
	@echo "The exports gave the same results under TensorFlow $(OLD_TENSORFLOW)."

legacy-environment: ## transformers 4.57.6 with its TensorFlow classes: .venvs/legacy
	@python=$$(sh tools/find-python.sh 3.11 3.12) && "$$python" tools/environment.py $(OLD_VENVS)/legacy \
	    --install transformers tensorflow tf-keras datasets pillow pytest \
	    --constraints tests/environments/legacy.txt

legacy-api: legacy-environment ## writes the legacy API's names and arguments: tests/migration/legacy_api.json
	@$(OLD_VENVS)/legacy/bin/python tools/dump_legacy_api.py tests/migration/legacy_api.json

test-legacy: setup legacy-environment ## the migration tests and our files, with the legacy classes themselves
	@LEGACY_TRANSFORMERS=1 TF_USE_LEGACY_KERAS=1 $(OLD_VENVS)/legacy/bin/pytest \
	    -c tests/migration/legacy.ini tests/migration/test_migration.py $(PYTEST)
	@$(PY) -m pytest -m legacy

dist: setup ## wheel and sdist: dist/
	@rm -rf dist build
	@$(PY) -m build --no-isolation --outdir dist .
	@echo "Made:" && ls -1 dist/*

constraints: ## finds the newest versions and writes the constraints files
	@"$$(sh tools/find-python.sh)" tools/environment.py $(OLD_VENVS)/pin \
	    --constraints tools/pin-constraints.txt --install uv packaging
	@$(OLD_VENVS)/pin/bin/python tools/pin.py

clean: ## removes what the other targets made, environments too (models/ stays)
	@for folder in $(VENV) $(wildcard $(OLD_VENVS)/*); do \
	    if [ -e "$$folder/made-by-make" ]; then rm -rf "$$folder"; fi; done
	@rm -rf out dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
