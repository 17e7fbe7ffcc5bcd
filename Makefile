SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT       := mvdan.cc/gofumpt@v0.12.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

TESTFLAGS ?= -timeout 12m
FUZZTIME  ?= 20s

# What the machine cannot give is no error here, but is where CI=true.
OPTIONAL := || [ "$${CI:-}" != true ]

# The version is stamped here; Go's own stamp fails where a checkout belongs to
# somebody else, as in a container.
export GOFLAGS := $(GOFLAGS) -buildvcs=false
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BUILD   := $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup:
	@scripts/setup

.PHONY: setup-test
setup-test:
	@scripts/setup test

.PHONY: run
run: setup build ## start everything on loopback, until Ctrl-C
	@exec build/playground run

.PHONY: demo
demo: setup build ## play the whole story, step by step, and check it
	@exec build/playground demo

PROGRAMS := build/sponsor-api build/githubtest build/playground

.PHONY: build
build: build/sponsor.so $(PROGRAMS) ## build the module and the programs

# Go knows best what has changed, so these always ask it. A module is moved
# into place, because a server may have the old one mapped. Redis wants the
# execute bit, which go build does not set.
build/sponsor.so: TAGS :=
build/sponsor-fault.so: TAGS := fault
build/sponsor.so build/sponsor-fault.so: FORCE
	@echo 'building $@'
	@mkdir -p build/.new
	@CGO_ENABLED=1 $(BUILD) -buildmode=c-shared -tags '$(TAGS)' -o build/.new/$(@F) ./module
	@rm -f build/.new/$(@F:.so=.h)
	@chmod 0755 build/.new/$(@F)
	@mv build/.new/$(@F) $@

build/sponsor-api: PACKAGE := ./api
build/githubtest: PACKAGE := ./api/internal/githubtest/cmd/githubtest
build/playground: PACKAGE := ./scripts/playground
build/bench: PACKAGE := ./scripts/bench
build/soak: PACKAGE := ./scripts/soak
build/sponsor-api build/githubtest build/playground build/bench build/soak: FORCE
	@echo 'building $@'
	@mkdir -p build
	@$(BUILD) -o $@ $(PACKAGE)

.PHONY: FORCE
FORCE:

.PHONY: prepare
prepare: setup-test build build/sponsor-fault.so
	@scripts/newer-servers $(OPTIONAL)
	@scripts/redis-headers $(OPTIONAL)

.PHONY: test
test: prepare ## run all tests, on every server that can be had
	@$(GO) test -count=1 $(TESTFLAGS) ./...

# A module built with -race does not load: the sanitizer wants to be there
# from the start of the process. The package main is tested from outside. -short
# leaves out what drives another program (a browser, nginx, Prometheus).
.PHONY: race
race: prepare ## run the tests of everything but the module itself under the race detector
	@CGO_ENABLED=1 $(GO) test -race -short -count=1 $(TESTFLAGS) $$($(GO) list ./... | grep -v '^[^/]*/[^/]*/[^/]*/module$$')

.PHONY: bench
bench: setup build build/bench ## measure what DESIGN promises, as ratios, and print a table (BENCHFLAGS=-quick)
	@exec build/bench $(BENCHFLAGS)

.PHONY: soak
soak: setup build build/soak ## load with faults for minutes, then verify; memory must be flat (SOAKFLAGS='-for 30m -kill-every 1m')
	@exec build/soak $(SOAKFLAGS)

.PHONY: suite
suite: setup build/sponsor.so ## run Redis's own test suite without the module and with it, and compare (SUITEFLAGS=--all)
	@exec scripts/redis-suite $(SUITEFLAGS)

.PHONY: fuzz
fuzz: ## fuzz each decoder for a while (FUZZTIME=20s)
	@scripts/fuzz $(FUZZTIME)

.PHONY: lint
lint: ## check format, style and import arrows
	@scripts/setup lint
	@scripts/shell-scripts | xargs shellcheck -x
	@find . -path ./build -prune -o -name '*.[ch]' -print | xargs -r clang-format --dry-run -Werror
	@unformatted=$$($(GO) run $(GOFUMPT) -l .); [ -z "$$unformatted" ] || { echo "not in gofumpt's format:"; echo "$$unformatted"; exit 1; } >&2
	@$(GO) run $(GOLANGCI_LINT) run ./...
	@$(GO) run $(GOLANGCI_LINT) run --build-tags fault ./module/...

.PHONY: vuln
vuln: ## look for known vulnerabilities in what we depend on
	@$(GO) run $(GOVULNCHECK) ./...

PREFIX  ?= /usr/local
DESTDIR ?=
SYSTEMD ?= $(PREFIX)/lib/systemd/system

.PHONY: install
install: ## put what was built where PREFIX says (/usr/local), below DESTDIR
	@test -x build/sponsor.so -a -x build/sponsor-api || { echo 'nothing is built: run make build first' >&2; exit 1; }
	install -D -m 0755 build/sponsor.so '$(DESTDIR)$(PREFIX)/lib/redis/sponsor.so.new'
	mv '$(DESTDIR)$(PREFIX)/lib/redis/sponsor.so.new' '$(DESTDIR)$(PREFIX)/lib/redis/sponsor.so'
	install -D -m 0755 build/sponsor-api '$(DESTDIR)$(PREFIX)/bin/sponsor-api'
	install -D -m 0755 scripts/sponsorctl '$(DESTDIR)$(PREFIX)/bin/sponsorctl'
	install -D -m 0644 scripts/systemd/sponsor-api.service '$(DESTDIR)$(SYSTEMD)/sponsor-api.service'
	install -D -m 0644 scripts/systemd/sponsor-api.sysusers '$(DESTDIR)$(PREFIX)/lib/sysusers.d/sponsor-api.conf'
	install -D -m 0644 -t '$(DESTDIR)$(PREFIX)/share/doc/redis-sponsor' README.md CHANGELOG.md scripts/*.md \
		scripts/systemd/api.env scripts/redis/sponsor.conf scripts/nginx/sponsor-api.conf
	sed -i 's|@PREFIX@|$(PREFIX)|g' '$(DESTDIR)$(SYSTEMD)/sponsor-api.service' '$(DESTDIR)$(PREFIX)/share/doc/redis-sponsor/sponsor.conf'

# Such as IMAGE_BUILD='buildah build --format docker --isolation chroot' where
# there is no docker, and IMAGE_FLAGS='--build-arg DEBIAN=…' for other bases.
IMAGE_BUILD ?= docker build
IMAGE_FLAGS ?=

# GOPROXY is handed through if it is set.
image-redis image-api image-tryout: image-%:
	@echo 'building redis-sponsor/$*:$(VERSION)'
	@$(IMAGE_BUILD) --target $* --tag redis-sponsor/$*:$(VERSION) --tag redis-sponsor/$*:latest \
		--build-arg VERSION=$(VERSION) $${GOPROXY:+--build-arg GOPROXY="$$GOPROXY"} $(IMAGE_FLAGS) .

.PHONY: image-redis image-api image-tryout image
image: image-redis image-api ## build the container images of Redis with the module, and of the API

# The one who plays it is taken from the image, so that this wants no Go.
.PHONY: image-test
image-test: image image-tryout ## play the whole story in containers, and check it
	@mkdir -p build/.story
	@id=$$(docker create redis-sponsor/tryout:$(VERSION) true); \
		docker cp "$$id":/usr/local/bin/playground build/.story/; docker rm "$$id" >/dev/null
	@SPONSOR_VERSION=$(VERSION) build/.story/playground containers

.PHONY: clean
clean: ## remove what was built
	rm -rf build
