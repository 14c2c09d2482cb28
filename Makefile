# `make demo` and `make test` do all set-up themselves; the second time they need no network.

PYTHON := .venv/bin/python
# These hold the gaps of a healthy stream to a bound, so they run after all others, and two at a time.
CALM := tests/stream/faults

.PHONY: help demo page test lint audit types tests engines bench soak gpu-check clean

help:            ## say what can be made
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo:            ## set up, build engines, and watch a made-up RTSP camera whose second half is a face swap
	@tools/setup.sh demo
	@$(PYTHON) build_engines.py
	@.venv/bin/unmask demo

page:            ## the same camera, over and over, on a live page in your browser
	@tools/setup.sh demo
	@.venv/bin/unmask demo --page

test:            ## set up, and run all checks: style, types, tests
	@tools/setup.sh test
	@$(MAKE) --no-print-directory lint types tests

lint:            ## style, and what bandit knows to be dangerous (after `make test` has set up once)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/bandit -q -r stream engines build_engines.py

audit:           ## look the installed packages up among known vulnerabilities (asks PyPI)
	@.venv/bin/pip-audit --skip-editable --progress-spinner off

types:           ## mypy, strict
	@.venv/bin/mypy

# Threads of torch spin while they wait for each other, so beside other tests each process has one.
tests:           ## pytest, by WORKERS=3 processes: most tests wait more than they work
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n $(or $(WORKERS),3) --dist loadfile --no-loadscope-reorder --ignore=$(CALM)
	@$(PYTHON) -m pytest -n 2 $(CALM)

engines:         ## build engines for this machine
	@tools/setup.sh demo
	@$(PYTHON) build_engines.py

bench: demo/clip.mp4  ## measure the live path and the overlay on this machine
	@$(PYTHON) -m bench.overlay
	@$(PYTHON) -m bench.live

soak:            ## watch failing cameras for MINUTES=30 and see whether anything grows
	@tools/setup.sh test
	@$(PYTHON) -m bench.soak --minutes $(or $(MINUTES),30)

gpu-check:       ## check all that needs a GPU, as one table (REQUIRE_GPU=1: a skipped row fails)
	@tools/setup.sh test
	@$(PYTHON) -m bench.gpu_check

demo/clip.mp4:
	@$(MAKE) --no-print-directory demo

clean:           ## remove everything made here (not the packages installed with apt)
	rm -rf .venv .setup demo engines/built build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
