# tcpmon: everything a person or a runner does here. `make help` lists it.
CARGO   ?= cargo
LISTEN  ?=
CONFIG  ?=
DATA    ?=
ARGS    ?=
CHECK_TCP ?= /usr/lib/nagios/plugins/check_tcp
# What make torture does: seeds from SEED on, each so many simulated minutes; cases of each kind of input.
SEED    ?= 1
SEEDS   ?= 10000
MINUTES ?= 60
CASES   ?= 5000000
KILLS   ?= 300
SOAK_S  ?= 7200
TORTURE := TCPMON_SEED=$(SEED) TCPMON_SEEDS=$(SEEDS) TCPMON_MINUTES=$(MINUTES) TCPMON_CASES=$(CASES) \
	TCPMON_SPOOL_MIB=64 TCPMON_HOURS=720 TCPMON_KILLS=$(KILLS) TCPMON_STRIDE=1 TCPMON_LINKS=64 TCPMON_SLOW_TARGETS=20000 \
	TCPMON_CROWD=50000 TCPMON_CROWD_WORKERS=64 TCPMON_CROWD_S=120 TCPMON_AGENTS=500
RELEASE := target/release
# Where things are installed, and from where: DESTDIR is put before all of them.
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
BINS       ?= $(RELEASE)
TARGET     ?= $(shell uname -m)-unknown-linux-musl
ARCH       ?= $(shell dpkg --print-architecture 2>/dev/null)
TO = $(DESTDIR)$(PREFIX)

.PHONY: help build run-server run-agent run-manager demo drill install uninstall static dist deb deb-arm test-deb test-systemd test test-netns test-services test-integrations test-page test-arm test-static test-portable test-dist test-check check fmt-check clippy doc test-faults torture soak bench bench-long bench-peers clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo "  variables: LISTEN=ADDR (server, agent)  CONFIG=FILE (manager)  DATA=DIR (agent, manager)  ARGS='more options'"

build: ## the three programs, optimised, in target/release
	$(CARGO) build --release --bins

run-server: build ## the test server
	$(RELEASE)/tcpmon-server $(if $(LISTEN),--listen $(LISTEN)) $(ARGS)

run-agent: build ## the agent
	$(RELEASE)/tcpmon-agent $(if $(LISTEN),--listen $(LISTEN)) $(if $(DATA),--data $(DATA)) $(ARGS)

run-manager: build ## the manager's menu (or ARGS=serve, ARGS=watch, ...)
	$(RELEASE)/tcpmon-manager $(ARGS) $(if $(CONFIG),--config $(CONFIG)) $(if $(DATA),--data $(DATA))

demo: build ## server, agent and the manager's live view on loopback; Enter ends all of it
	sh tests/demo.sh $(RELEASE)

drill: build ## breaks a target and an agent, and shows each alert arriving, with times
	sh tests/drill.sh $(RELEASE)

install: ## programs, man pages, completions, units, an example fleet file: PREFIX=, DESTDIR=, SYSCONFDIR=, BINS=
	@test -x $(BINS)/tcpmon-manager || { echo "install: there are no programs in $(BINS): make build"; exit 1; }
	install -d $(TO)/bin $(TO)/share/man/man1 $(TO)/share/man/man5 $(TO)/share/doc/tcpmon/examples
	install -m 755 $(BINS)/tcpmon-server $(BINS)/tcpmon-agent $(BINS)/tcpmon-manager $(TO)/bin
	install -m 644 docs/man/*.1 $(TO)/share/man/man1
	install -m 644 docs/man/*.5 $(TO)/share/man/man5
	install -d $(TO)/share/bash-completion/completions $(TO)/share/zsh/site-functions $(TO)/share/fish/vendor_completions.d
	for p in server agent manager; do install -m 644 docs/completions/tcpmon-$$p.bash $(TO)/share/bash-completion/completions/tcpmon-$$p; done
	install -m 644 docs/completions/_tcpmon-* $(TO)/share/zsh/site-functions
	install -m 644 docs/completions/*.fish $(TO)/share/fish/vendor_completions.d
	install -m 644 docs/CHANGELOG.md $(TO)/share/doc/tcpmon
	install -m 644 docs/packaging/fleet.json docs/integrations/alerts.yml docs/integrations/prometheus.yml \
	    docs/integrations/grafana.json $(TO)/share/doc/tcpmon/examples
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(SYSCONFDIR)/tcpmon
	for p in agent manager; do sed 's#@BINDIR@#$(PREFIX)/bin#; s#@SYSCONFDIR@#$(SYSCONFDIR)#' \
	    docs/packaging/tcpmon-$$p.service >$(DESTDIR)$(UNITDIR)/tcpmon-$$p.service; chmod 644 $(DESTDIR)$(UNITDIR)/tcpmon-$$p.service; done
	@test -e $(DESTDIR)$(SYSCONFDIR)/tcpmon/fleet.json || install -m 644 docs/packaging/fleet.json $(DESTDIR)$(SYSCONFDIR)/tcpmon/fleet.json

uninstall: ## removes what install put there, but for configuration and data
	rm -f $(TO)/bin/tcpmon-server $(TO)/bin/tcpmon-agent $(TO)/bin/tcpmon-manager
	rm -f $(TO)/share/man/man1/tcpmon-*.1 $(TO)/share/man/man5/tcpmon-fleet.5
	rm -f $(TO)/share/bash-completion/completions/tcpmon-* $(TO)/share/zsh/site-functions/_tcpmon-* $(TO)/share/fish/vendor_completions.d/tcpmon-*
	rm -f $(DESTDIR)$(UNITDIR)/tcpmon-agent.service $(DESTDIR)$(UNITDIR)/tcpmon-manager.service
	rm -rf $(TO)/share/doc/tcpmon

static: ## small, fully static programs for TARGET= (docs/packaging has the list); says last where they are
	sh docs/packaging/static.sh $(TARGET)

dist: ## archives and packages for every target, and SHA256SUMS, in target/dist
	sh docs/packaging/dist.sh

deb: ## a Debian package of the programs in BINS= for ARCH=, in target/deb
	@test "$(BINS)" != "$(RELEASE)" || $(MAKE) build
	sh docs/packaging/deb.sh $(ARCH) $(BINS) target/deb

deb-arm: ## packages for arm64 and armhf, built here (Debian's cross compilers)
	for a in arm64 armhf; do bins=$$(sh docs/packaging/cross.sh $$a dynamic) && sh docs/packaging/deb.sh $$a $$bins target/deb || exit 1; done

test-deb: deb ## installs that package here, uses it, upgrades and removes it (needs root, dpkg, lintian, systemd-analyze)
	sh tests/deb.sh target/deb/tcpmon_*_$(ARCH).deb

test: ## every test
	$(CARGO) test

test-netns: build ## agents in network namespaces: behind NAT, cut cables, lost packets, a lost uplink (needs root, ip, nft)
	sh tests/netns.sh $(RELEASE)
	sh tests/uplink.sh $(RELEASE)
	sh tests/loss.sh $(RELEASE)

test-services: build ## presets against real servers of Debian's packages, on loopback
	sh tests/services.sh $(RELEASE)

test-integrations: build ## Prometheus, blackbox_exporter, InfluxDB, VictoriaMetrics and carbon of Debian's packages beside it
	sh tests/integrations.sh $(RELEASE)

test-page: build ## the status page in Debian's Chromium, with npm's axe-core (needs chromium-driver, python3, npm)
	python3 tests/page.py $(RELEASE) $(if $(SHOTS),$(SHOTS))

test-arm: ## the integration suite against arm64 and armhf builds under qemu-user (Debian's cross compilers, 5 minutes each)
	sh tests/arm.sh arm64 armhf

test-static: ## the static programs of x86-64, arm64 and armhf as they are shipped (needs root, ip, dnsmasq, qemu-user, Debian's armhf compiler)
	sh tests/static.sh x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf

test-portable: ## checks for macOS, and the suite against a Windows build under Wine (needs rustup, mingw, wine; FILTER=)
	sh tests/portable.sh $(FILTER)

test-systemd: deb ## that package under a real systemd, in a virtual machine (needs root, debootstrap, qemu-system-x86; 5 minutes)
	sh tests/systemd.sh target/deb/tcpmon_*_$(ARCH).deb

test-dist: ## make dist twice, in two directories: the same bytes, nothing of this machine inside (20 minutes)
	sh tests/dist.sh

test-faults: build ## full and read-only disks, another owner's directory, few descriptors and threads (needs root)
	sh tests/faults.sh $(RELEASE)

soak: ## two hours of three agents and a manager under random faults
	TCPMON_SOAK_S=$(SOAK_S) TCPMON_FAULT_S=20 TCPMON_SEED=$(SEED) $(CARGO) test --profile torture --test it soak:: -- --nocapture

torture: ## long forms: fleets by the seed, a month with 64 MiB, millions of inputs, kills, cuts at every byte, a slow link, a crowd
	$(TORTURE) $(CARGO) test --profile torture --lib -- --nocapture sim:: near_its_limit
	$(TORTURE) $(CARGO) test --profile torture --test it -- --nocapture torture::kills torture::links torture::load

test-check: ## tcpmon-agent check beside the real check_tcp (needs monitoring-plugins-basic)
	TCPMON_CHECK_TCP=$(CHECK_TCP) $(CARGO) test --test it check:: -- --nocapture

check: fmt-check clippy doc ## format, lints, docs, the repository's own habits
	$(CARGO) test --test it tidy

fmt-check:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --document-private-items

bench: ## figures beside their goals, in one table (8 minutes)
	$(CARGO) bench --bench figures

bench-long: ## the rows that take long: an hour at rest, ten million records, ten thousand strangers
	$(CARGO) bench --bench figures -- history hostile rest

bench-peers: ## the same work by HAProxy, Prometheus with blackbox_exporter and check_tcp (Debian's packages)
	$(CARGO) bench --bench figures -- peers

clean: ## remove what was built
	$(CARGO) clean
