# `make` lists the targets. Everything Python runs in .venv of this checkout, which `make setup` makes.

TOPLEVEL ?= abbnn_core
SIM      ?= icarus
IMAGES   ?= 10
FIRST    ?= 0
COUNT    ?= 20
DATA     ?=
NETWORK  ?= models/tiny.safetensors
FOLD     ?=
SHARD    ?= 1/1
SEED     ?= 1
WAVES    ?= 0
JOBS     ?= 2
BOARD    ?= ulx3s-85f
OUT      ?=

python := .venv/bin/python
pytest := $(python) -m pytest
# A test file runs in one process, so two never build the same design at once.
parallel := -n $(JOBS) --dist loadfile
# What make verify reads: results under the name of the tree that they are of.
junit = --junitxml build/reports/junit-$(1).xml -o junit_suite_name=$$($(python) -m tools.verify --tree)

modules := $(sort $(basename $(notdir $(wildcard rtl/*/*.v soc/*.v))))

export SIM SEED WAVES IMAGES
# What make passes on to its recipes is no business of the makefiles that Verilator writes.
unexport MAKEFLAGS MFLAGS MAKELEVEL TOPLEVEL NETWORK JOBS FOLD DATA FIRST COUNT SHARD BOARD CYCLES FREQ SEEDS BOOT HEADROOM LIMIT SCHEDULER OUT

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-train setup-fpga setup-dask sim volume demo demo-test bitstream proof formal verify torture nightly gates table3 test lint bench \
    bench-compare clean \
    check-sim check-toplevel

help: ## this list
	@echo "Targets:"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
	@echo "Variables of sim, with their defaults:"
	@echo "  TOPLEVEL=$(TOPLEVEL) (any module of rtl/ or soc/) SIM=$(SIM) (or verilator) SEED=$(SEED) (or random) WAVES=$(WAVES) (1 writes waveforms)"
	@echo "  IMAGES=$(IMAGES) FIRST=$(FIRST) NETWORK=$(NETWORK) DATA= (images) FOLD= (a folding file) (abbnn_core only)"
	@echo "Variables of bitstream: NETWORK FOLD as above, BOARD=$(BOARD), CYCLES= (a frame), FREQ= (MHz), SEED=$(SEED), SEEDS= (tried from SEED on, JOBS at a time; the best is kept), BOOT=0 (no boot ROM), HEADROOM= (bits for retrained weights), OUT= (folder)"
	@echo "Variables of demo: NETWORK FOLD as above, OUT= (folder, by default build/demo)"
	@echo "Variables of torture and nightly: COUNT=$(COUNT), DATA as above; of torture: FIRST=$(FIRST) SIM JOBS SCHEDULER"
	@echo "Variables of volume: NETWORK DATA FOLD as above, JOBS=$(JOBS) (simulators) SHARD=$(SHARD) (part K of N) LIMIT= (first images) SCHEDULER= (a Dask cluster)"

sim: check-sim check-toplevel setup ## simulate TOPLEVEL: abbnn_core runs the shipped network on real images
ifeq ($(TOPLEVEL),abbnn_core)
	@$(python) -m abbnn sim "$(NETWORK)" $(if $(DATA),"$(DATA)") --count "$(IMAGES)" --first "$(FIRST)" \
	    $(if $(FOLD),--fold "$(FOLD)")
else
	@$(pytest) tb/test_$(TOPLEVEL).py
endif

volume: setup ## stream all images of DATA through abbnn_core on Verilator and compare every score
	@$(python) -m abbnn volume "$(NETWORK)" $(if $(DATA),"$(DATA)") --jobs "$(JOBS)" --shard "$(SHARD)" \
	    $(if $(FOLD),--fold "$(FOLD)") $(if $(LIMIT),--limit "$(LIMIT)") $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

demo: setup ## a web page in OUT in which the core of NETWORK runs, cycle by cycle (needs Emscripten)
	@$(python) -m abbnn demo "$(NETWORK)" $(if $(FOLD),--fold "$(FOLD)") $(if $(OUT),--out "$(OUT)")

demo-test: setup ## that page in a headless Chromium, against the golden model and a board in software
	@$(pytest) tests/demo_page.py

bitstream: setup-fpga ## a bitstream of NETWORK for BOARD by Yosys, nextpnr and ecppack, with a report
	@$(python) -m abbnn bitstream "$(NETWORK)" --board "$(BOARD)" $(if $(FOLD),--fold "$(FOLD)") \
	    $(if $(CYCLES),--cycles "$(CYCLES)") $(if $(FREQ),--freq "$(FREQ)") --seed "$(SEED)" $(if $(SEEDS),--seeds "$(SEEDS)" --jobs "$(JOBS)") \
	    $(if $(filter 0,$(BOOT)),--no-boot) $(if $(HEADROOM),--headroom "$(HEADROOM)") $(if $(OUT),--out "$(OUT)")

proof: setup-fpga ## no multiplication in the shipped networks' cores, shown in independent ways
	@$(python) -m abbnn proof

formal: setup-fpga ## proofs about stream modules and lane arithmetic, by Yosys and ABC (minutes), each seen to find a fault
	@$(python) -m tools.formal --jobs "$(JOBS)"
	@$(python) -m tools.formal --faults --jobs "$(JOBS)"

verify: setup ## the status of the verification plan, from the results of test, formal and proof; red where one is missing or old
	@$(python) -m tools.verify

torture: setup ## COUNT random networks from seed FIRST on, every layer of their cores against the golden model
	@$(python) -m abbnn.tb.torture --count "$(COUNT)" --first "$(FIRST)" --sim "$(SIM)" --jobs "$(JOBS)" \
	    $(if $(SCHEDULER),--scheduler "$(SCHEDULER)")

nightly: setup-train setup-fpga setup-dask ## what takes too long for test, with COUNT random networks and DATA; a dated line of how each step ended
	@$(python) -m tools.nightly --count "$(COUNT)" $(if $(DATA),--data "$(DATA)")

gates: setup-fpga ## the mapped ECP5 netlist of tiny in the core's testbench: every layer of IMAGES real images
	@SIM=verilator GATES=full $(pytest) tb/test_gate_level.py -k shipped

table3: setup-fpga ## the paper's Table 3 by Yosys: multipliers against shifters, with and without
	@$(python) -m abbnn table3

test: lint setup-train setup-fpga setup-dask ## everything: lint, all tests, the core on both simulators
	@$(python) -m abbnn proof models/tiny.safetensors models/small.safetensors --quick --jobs "$(JOBS)"
	@$(pytest) $(call junit,units) $(parallel) tests abbnn/golden abbnn/export abbnn/host abbnn/ip abbnn/train abbnn/report abbnn/syn
	@SIM=icarus $(pytest) $(call junit,icarus) $(parallel) tb
	@SIM=verilator $(pytest) $(call junit,verilator) tb/test_abbnn_core.py -k "every_layer or all_shipped or stalled or bad_frames or mismatch"

lint: setup ## Verilator, Icarus, Yosys if present, pyverilog, ruff and mypy; no warning is let pass
	@$(python) -m tools.lint

bench: setup ## cycles, utilisation, area and speeds of all designs into build/reports/bench.json (an hour the first time)
	@$(python) -m abbnn bench

bench-compare: setup ## published accelerators, each with its source, beside what make bench measured
	@$(python) -m abbnn report peers

setup: ## make .venv and install what simulation needs, once
	@tools/setup.sh

setup-fpga: ## the same, and Yosys, nextpnr and the packers for bitstreams
	@tools/setup.sh fpga

setup-train: ## the same, and torch for training
	@tools/setup.sh train

setup-dask: ## the same, and Dask for --scheduler
	@tools/setup.sh dask

clean: ## remove all that was built but .venv
	@rm -rf build sim_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -type d -prune -exec rm -rf {} +

check-sim:
	@: $(if $(filter icarus verilator,$(SIM)),,$(error SIM=$(SIM): icarus and verilator are supported))

check-toplevel:
	@: $(if $(filter $(modules),$(TOPLEVEL)),,$(error TOPLEVEL=$(TOPLEVEL) is no module of rtl/; there are: $(modules)))
	@: $(if $(wildcard tb/test_$(TOPLEVEL).py),,$(error TOPLEVEL=$(TOPLEVEL) has no testbench tb/test_$(TOPLEVEL).py))
