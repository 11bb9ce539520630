# Every target sets up what it needs on a machine with Python 3.11 or 3.12 and make.
PYTHON ?= python3
PY := .venv/bin/python
STUBS := imagegen/v1/.stamp
PROTOS := $(wildcard proto/imagegen/v1/*.proto)

.PHONY: demo up down test lint format bench proto models tools lock clean
.DEFAULT_GOAL := demo

.venv/.stamp: requirements/service.txt requirements/dev.txt
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --require-hashes -r requirements/service.txt -r requirements/dev.txt
	touch $@

$(STUBS): $(PROTOS) .venv/.stamp
	mkdir -p imagegen/v1
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(PY) -m grpc_tools.protoc -Iproto --python_out=. --grpc_python_out=. \
	  --mypy_out=. --mypy_grpc_out=. $(PROTOS)
	touch imagegen/__init__.py imagegen/v1/__init__.py imagegen/py.typed $@

proto: $(STUBS)
