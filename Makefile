# Rovercast: to try, test, lint and measure it. `make` alone lists the targets.

# The demo's port, on this computer alone.
PORT ?= 8765

SETUP := config/lab/setup
CARGO := $(SETUP) cargo
# Where nobody edits, a Cargo.lock that does not fit is an error.
LOCKED := $(if $(CI),--locked)
# Built by the same words everywhere, so that nothing is built twice.
PROGRAMS := -p rovercast-signaling -p rovercast-sender -p rovercast-receiver
# The viewer: its types, and the tests of its rules. Neither needs a browser.
TYPES := tsc -p signaling/viewer/jsconfig.json
RULES := node --test $(wildcard signaling/tests/viewer/*.test.mjs)
# What the broker is measured beside.
RIVAL_BROKER := gst-plugin-webrtc-signalling@0.15.4
SCRIPTS := config/lab/setup config/lab/demo config/lab/v4l2 config/lab/v4l2-init .ci/run config/coturn/start

# CRATE:OTHER where the crate must not depend on the other, not even over a third; see
# docs/architecture.md. What may depend directly on what is in deny.toml.
NEVER := \
	rovercast-protocol:axum rovercast-protocol:gstreamer rovercast-protocol:tokio \
	rovercast-signaling:gstreamer \
	rovercast-receiver:rovercast-sender rovercast-sender:rovercast-receiver \
	rovercast-receiver:rovercast-feeders rovercast-sender:rovercast-feeders \
	rovercast-signaling:rovercast-feeders \
	rovercast-receiver:rovercast-twins rovercast-sender:rovercast-twins \
	rovercast-signaling:rovercast-twins

# All of it shares apt-get and the build folder: one at a time, even with -j.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo build test lint bench lab-v4l2

help: ## this list
	@echo 'Rovercast. Debian packages that are missing are installed with apt-get, which needs root or'
	@echo 'sudo, and Rust with rustup; nothing is installed when all is there.'
	@echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F '|' '{ printf "%-16s %s\n", $$1, $$2 }'

demo: ## broker and robot here, to be seen in a browser, until Ctrl-C [PORT=8765]; the first build takes minutes
	@echo 'demo: what is missing is installed (as root), then built; the first build takes minutes'
	@$(SETUP) build run
	@$(CARGO) build $(LOCKED) --release $(PROGRAMS)
	@exec config/lab/demo '$(PORT)'

build: ## the three programs, into target/release; takes minutes the first time
	@$(SETUP) build run
	$(CARGO) build $(LOCKED) --release $(PROGRAMS)

test: ## all tests, with a real browser; installs Chromium (as root); the first build takes minutes
	@echo 'test: what is missing is installed (as root), then built; the first build takes minutes'
	@$(SETUP) build run test
	$(TYPES)
	$(RULES)
	$(CARGO) build $(LOCKED) --workspace --bins
	$(CARGO) test $(LOCKED) --workspace --no-fail-fast

lint: ## format, clippy, shellcheck, types, architecture, dependencies; builds cargo-deny once, which takes minutes
	@echo 'lint: what is missing is installed (as root); the first run takes minutes'
	@$(SETUP) build lint
	$(CARGO) fmt --check
	shellcheck $(SCRIPTS)
	$(TYPES)
	@for rule in $(NEVER); do \
		crate=$${rule%:*}; other=$${rule#*:}; \
		tree=$$($(CARGO) tree $(LOCKED) -p $$crate -e normal,build --prefix none) || exit 1; \
		if echo "$$tree" | grep -q "^$$other "; then \
			echo "lint: $$crate must not depend on $$other (docs/architecture.md), but does:"; \
			$(CARGO) tree -p $$crate -e normal,build -i $$other; \
			exit 1; \
		fi; \
	done; echo 'lint: no crate depends on what it must not'
	$(CARGO) deny $(LOCKED) check --hide-inclusion-graph licenses bans sources
	@if said=$$(timeout 120 $(CARGO) deny fetch db 2>&1); then \
		$(CARGO) deny check --disable-fetch advisories; \
	else \
		echo 'lint: advisories SKIPPED: the database of known vulnerabilities cannot be fetched:'; \
		echo "$$said" | tail -n 1; \
	fi
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings

bench: ## broker, encoders, joins, latency, loss, recovery, settings, supervision, viewers, window, measured on this computer; takes minutes, and wants it to itself
	@echo 'bench: what is missing is installed (as root), then built; all of it takes minutes'
	@$(SETUP) build run
	$(CARGO) build $(LOCKED) --release --workspace --bins
	-$(CARGO) build $(LOCKED) --release --manifest-path shared/rivals/Cargo.toml --target-dir target/rivals
	-$(CARGO) install --locked --root target/rivals --target-dir target/rivals --no-default-features --features rustls-ring $(RIVAL_BROKER)
	$(CARGO) bench $(LOCKED) -p rovercast-e2e

lab-v4l2: ## the sender with a real kernel's cameras, which fail, in QEMU; takes minutes
	@echo 'lab-v4l2: what is missing is installed (as root), then built; all of it takes minutes'
	@$(SETUP) build run
	$(CARGO) build $(LOCKED) --workspace --bins
	@config/lab/v4l2
