# aerostat.  `make run` and `make test` do their own set-up; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SOURCES := abi kernel hv drivers userland bench aerostat tests
COMPILED := abi kernel hv drivers userland bench aerostat
STATIC_PACKAGES := gcc=gcc make=make musl-gcc=musl-tools busybox=busybox-static
LAB_PACKAGES := qemu-system-x86_64=qemu-system-x86 setpriv=util-linux zstd=zstd
BUSYBOX = $(firstword $(wildcard /bin/busybox /usr/bin/busybox) busybox)

.PHONY: all help packages lab-packages setup native userland kernel compiled run test quick lint verify soak fuzz mutate mutate-transitions lab bench clean
.DEFAULT_GOAL := all

all: compiled  ## build everything; leaves the command at .venv/bin/aerostat

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

packages:
	@./debian-packages.sh $(STATIC_PACKAGES)

lab-packages:
	@./debian-packages.sh $(LAB_PACKAGES) || echo "the tests in the lab will be skipped" >&2

$(READY): requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@# A plain path in site-packages: the import hook of the other mode takes 8 ms of every start of Python.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=compat --editable .
	@touch $@

setup: packages $(READY)

native: setup
	@$(BIN)/python -m hv.native.build
	@$(BIN)/python -m drivers.model.build

userland: setup
	@$(MAKE) --no-print-directory -s -C userland

kernel: setup
	@$(BIN)/python -m kernel.compiled.build

compiled: native userland kernel
	@$(BIN)/python -m compileall -q $(COMPILED)
	@AEROSTAT_PURE=1 $(BIN)/python -m kernel.journaled

run: all  ## run a native program and an unmodified static Linux one, and say what was checked
	@$(BIN)/python -m aerostat.tour build/userland/demo/hello $(BUSYBOX)

test: all lab-packages  ## all tests, with those in the lab; under 30 minutes
	@$(BIN)/python -m pytest -q

quick: all  ## the tests without the lab
	@$(BIN)/python -m pytest -q -m "not lab"

lint: setup  ## ruff and mypy --strict
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy

lab: all lab-packages  ## the tests on the other kind of host, by hand
	@$(BIN)/python -m tests.lab

bench: all  ## the benchmarks of exits, of native calls and of the 82599: ratios against floors measured in the same run
	@$(BIN)/python -m bench exits
	@$(BIN)/python -m bench calls
	@$(BIN)/python -m bench nic

fuzz: setup  ## random system calls on the kernel alone, until Ctrl-C; what fails is kept in tests/kernel/fuzz/cases
	@$(BIN)/python -m tests.kernel.fuzz

mutate: setup  ## 300 changes of kernel/ by cosmic-ray's operators, and which of them tests and checks notice
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-mutate.txt
	@$(BIN)/python -W ignore -m tests.mutation

mutate-transitions: setup  ## every small change of a transition, and whether the check of that very step notices
	@$(BIN)/python -m tests.kernel.mutate

verify: setup  ## prove the kernel with z3, all of it anew; says what is not proved, and prints the paper's tables with ours
	@$(BIN)/aerostat verify --no-cache

soak: setup  ## the proofs again with ten seeds of z3's randomness
	@for seed in 1 2 3 4 5 6 7 8 9 10; do \
		echo "seed $$seed:"; $(BIN)/aerostat verify --no-cache --seed $$seed || exit 1; \
	done

clean:  ## remove what was built, but not .venv
	rm -rf build hv/_native*.so drivers/_native*.so
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
