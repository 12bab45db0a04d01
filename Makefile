# The only commands anyone needs. Everything is installed into .venv from lock files: first what
# runs (demo, run, dist), then what tests and checks.
.DEFAULT_GOAL := help
PYTHON ?= python3
PHOTOS ?=
PORT ?=

venv := .venv
bin := $(venv)/bin
running := $(venv)/.running
installed := $(venv)/.installed
generator := .venv-generate/.installed
imports := build/imports/google/rpc/status.proto
dist := dist
packages := clients/python service engine

# Modules are compiled when they are first imported, and once: where bytecode is not kept, each
# process that a test starts compiles 400 of them anew, half of its start.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/bytecode

# Flags of a nested or outer make, or of the user's shell, must not change what is installed.
pip := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore $(bin)/python -m pip

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

.PHONY: demo
demo: $(running) ## set up and show every RPC on images (PHOTOS=dir for your own)
	$(bin)/python -m demo tour $(if $(PHOTOS),--photos "$(PHOTOS)")

# NumPy computes in one thread, as in the engine's workers: workers of pytest would wait for each
# other's threads, which turn meanwhile.
test test-slow: export OPENBLAS_NUM_THREADS := 1

# Half of the time of the quick tests is waiting, for servers to start and for limits to pass: three
# workers keep two cores busy.
.PHONY: test
test: $(installed) ## set up and prove the product
	$(bin)/python -m pytest -m "not slow" -n 3 --dist loadfile

.PHONY: test-slow
test-slow: $(installed) ## what takes longer: rolling restarts, durability, balance, manifests (Go)
	$(bin)/python -m pytest -m slow -n 2 --dist loadfile

.PHONY: test-again
test-again: $(installed) ## for CI: at most two tests that failed last, alone, five times each (decision 0074)
	$(bin)/python -m tests.again

# Soaks, benchmarks and the mesh's full sizes take minutes each and end with a line per measure;
# they fail if one is short.
soaks := soak-token soak-secrets soak-add soak-quota soak-mixed soak-certificates soak-engine soak-reembed soak-import fuzz
.PHONY: soak $(soaks)
soak: $(soaks) ## all of the following at full size
soak-token: $(installed) ## token herds, issuer outages, and the libraries people use instead
	$(bin)/python -u -m tests.soak.token
	$(bin)/python -u -m tests.soak.rotation
soak-secrets: $(installed) ## 100,000 failures, and no secret anywhere
	$(bin)/python -u -m tests.soak.secrets
soak-add: $(installed) ## connections cut at every byte, kill -9 of facade, engine, PostgreSQL
	$(bin)/python -u -m tests.soak.add
soak-quota: $(installed) ## ten virtual minutes of each kind of demand; outages and overload
	$(bin)/python -u -m tests.soak.quota
	$(bin)/python -u -m tests.soak.overload
soak-mixed: $(installed) ## a million mixed calls: memory, threads, descriptors, latency
	$(bin)/python -u -m tests.soak.mixed
soak-certificates: $(installed) ## new certificates each second for a minute, under load
	$(bin)/python -u -m tests.soak.certificates
soak-engine: $(installed) ## 20,000 writes to three engines over one PostgreSQL, 150 kills
	$(bin)/python -u -m tests.soak.replicas
fuzz: $(installed) ## mutated answers, requests, images: for every reader, and for a running engine
	$(bin)/python -u -m tests.soak.fuzz
	$(bin)/python -u -m tests.soak.fuzz_engine

soak-reembed: $(installed) ## another embedding for 20,000 images that are in use, with a kill
	$(bin)/python -u -m tests.soak.reembed

VECTORS ?= 1000000
soak-import: $(installed) ## a million vectors imported, killed ten times, exported, restored, compared; VECTORS=50000
	$(bin)/python -u -m tests.soak.bulk_import $(VECTORS)

.PHONY: evaluate
evaluate: $(installed) ## the embeddings beside baselines, on shop photographs and drawn images
	$(bin)/python -u -m tests.evaluation.bars

.PHONY: test-abuse
test-abuse: $(installed) ## silence, poison, bombs and sizes at full size, beside others (openssl)
	$(bin)/python -u -m tests.abuse

.PHONY: test-observability evening
test-observability: $(installed) ## metrics, lines, alerts, doctors; then an incident evening (Debian's prometheus)
	$(bin)/python -m pytest tests/observability
	$(bin)/python -u -m tests.observability.evening
evening: $(installed) ## the incident evening, left up to look at dashboard and alerts
	$(bin)/python -u -m tests.observability.evening --stay

.PHONY: bench
bench: $(installed) ## cost and speed beside the floor and the vendor's SDK; table, JSON, plots
	$(bin)/python -u -m benchmarks

SIZE ?= 10000 100000
.PHONY: bench-engine
bench-engine: $(installed) ## the engine's storage: recall, time, bytes; SIZE=1000000 for a million
	$(bin)/python -u -m benchmarks.engine_scale $(SIZE)

.PHONY: test-clients
test-clients: $(installed) ## build and test the clients, then the interop matrix (Go, JDK 17 + Maven, Node)
	$(bin)/python -m pytest tests/clients tests/laws/test_client_surface.py
	cd clients/go && go vet ./... && go test -race ./...
	cd clients/java && mvn -B -ntp -q clean verify
	$(bin)/python -u -m tests.interop

.PHONY: test-cli
test-cli: $(installed) ## the command line, then imports that are killed and moved, with the engine
	$(bin)/python -m pytest tests/cli tests/laws/test_cli.py
	$(bin)/python -u -m tests.soak.imports
	$(bin)/python -u -m tests.soak.cli_start

DSN ?=
.PHONY: test-citus
test-citus: $(installed) ## the engine's tests on a distributed database: DSN='host=... dbname=...'
	@test -n "$(DSN)" || { echo "name an empty, distributed database: make test-citus DSN='host=... dbname=...'"; exit 2; }
	PRODUCTSEARCH_TEST_DATABASE="$(DSN)" $(bin)/python -m pytest tests/engine tests/console

MINUTES ?= 10
.PHONY: test-console
test-console: $(installed) ## the console in a real browser: axe, keys, content policy, scroll (chromium)
	$(bin)/python -m pytest tests/console
	$(bin)/python -u -m tests.console.browser
	$(bin)/python -u -m tests.console.pages_at_scale
	$(bin)/python -u -m tests.console.first_image
	$(bin)/python -u -m tests.console.endless_scroll $(MINUTES)

.PHONY: test-mesh
test-mesh: $(installed) ## two facades behind a real Envoy at full size; manifests, official tools (Go)
	$(bin)/python -m pytest tests/mesh
	$(bin)/python -u -m tests.mesh.balance
	$(bin)/python -u -m tests.mesh.rolling

.PHONY: run
run: $(running) ## keep facade and engine up with the demo's products; PORT=50100 for other ports
	@$(bin)/python -m demo run $(if $(PORT),--port "$(PORT)")

.PHONY: dist
dist: $(running) ## build the wheels of client, service and engine into dist/
	rm -rf "$(dist)"
	$(pip) wheel --quiet --no-deps --no-build-isolation --wheel-dir "$(dist)" $(packages:%=./%)
	@ls "$(dist)"/*.whl

.PHONY: setup
setup: $(installed) ## install everything that demo, test and check need

.PHONY: check
check: static test ## format, lint, types, protos, generated files, tests

.PHONY: static
static: format-check lint types protos generated ## check without the tests

.PHONY: format
format: $(installed) ## format the Python code
	$(bin)/ruff format
	$(bin)/ruff check --select I --fix

.PHONY: format-check
format-check: $(installed)
	$(bin)/ruff format --check
	$(bin)/buf format --diff --exit-code protos

.PHONY: lint
lint: $(installed)
	$(bin)/ruff check

.PHONY: types
types: $(installed)
	$(bin)/mypy clients/python/productsearch clients/python/examples service/productsearch_service \
		engine/productsearch_engine demo benchmarks deploy/envoy deploy/prometheus deploy/grafana

.PHONY: protos
protos: $(installed) $(imports) ## lint the protos and compare them with main
	$(bin)/buf lint
	protos/breaking.sh

.PHONY: generate
generate: $(generator) ## make the Python and Go clients' code from the protos (Java's build makes its own)
	protos/generate.sh clients/python python
	protos/generate.sh clients/go go

.PHONY: generated
generated: $(generator)
	rm -rf build/generated
	@for language in python go; do \
		protos/generate.sh build/generated/$$language $$language || exit 1; \
		(cd build/generated/$$language && find . -type f) | while read -r file; do \
			cmp "build/generated/$$language/$$file" "clients/$$language/$$file" || exit 1; done \
		|| exit 1; done
	@echo "generated files are current"

.PHONY: descriptors
descriptors: $(installed) ## what Envoy needs to speak JSON over HTTP, into build/
	$(bin)/python deploy/envoy/descriptors.py build/product_search.binpb

.PHONY: monitoring
monitoring: $(installed) ## write the alerts and the dashboard from their tables
	$(bin)/python -m deploy.prometheus.alerts
	$(bin)/python -m deploy.grafana.dashboard

.PHONY: digests
digests: ## pin the images of Dockerfile and compose.yaml (needs crane, skopeo or docker)
	$(PYTHON) deploy/digests.py

.PHONY: lock
lock: ## resolve the lock files anew
	./lock.sh

.PHONY: clean
clean: ## remove everything that was built or installed here
	rm -rf build dist .venv .venv-generate .mypy_cache .pytest_cache .ruff_cache .hypothesis \
		clients/java/target clients/java/examples/quickstart/target tests/interop/node/node_modules

$(running): requirements-run.lock $(packages:%=%/pyproject.toml) engine/hatch_build.py \
		$(wildcard engine/model_build/*.py)
	@echo "installing what runs into $(venv): 220 MB, about a minute"
	@$(PYTHON) -m venv $(venv)
	@$(pip) install --quiet --no-compile --require-hashes -r requirements-run.lock
	@$(pip) install --quiet --no-deps --no-build-isolation $(packages:%=-e %)
	@touch $@

$(installed): $(running) requirements-dev.lock
	@echo "installing what tests and checks need into $(venv)"
	@$(pip) install --quiet --no-compile --require-hashes -r requirements-dev.lock
	@touch $@

$(generator): protos/requirements.lock
	$(PYTHON) -m venv .venv-generate
	PIP_DISABLE_PIP_VERSION_CHECK=1 .venv-generate/bin/python -m pip --quiet install \
		--require-hashes -r protos/requirements.lock
	@touch $@

# buf gets its one import from the installed googleapis-common-protos, not from a registry.
$(imports): $(installed)
	@mkdir -p $(@D)
	cp "$$($(bin)/python -c 'import google.rpc.status_pb2 as m; print(m.__file__.replace("_pb2.py", ".proto"))')" $@
