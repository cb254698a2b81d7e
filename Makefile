# make run     start the server (PORT=… HOST=… MODEL=… MODEL_DIR=… DATA_DIR=… DEVICE=… are passed on)
# make test    run the whole test suite (ARGS=… go to pytest)
# make check   format, lint, types, import rules
# make screenshots  what the docs show of the page, taken anew (docs/images)
# make chaos   everything that is meant to be survived, done to a real server (ARGS=--short for some of it)
# make bench   measure molva beside its peers (DIR=… keeps the models, ARGS=--quick is a short run)
# make soak    an hour of load, after which nothing may have grown or got lost (MINUTES=5 is a short form)
# make fuzz    feed made-up input to everything that reads strangers' (ARGS='--runs 100000 --only multipart')
# make dist    wheel, sdist, list of parts and checksums, in dist/

.PHONY: run test test-fast check chaos soak fuzz bench screenshots format lock dist clean

# Only what was given on the command line: shells export a HOST of their own.
given = $(if $(findstring command line,$(origin $(1))),$(2) "$($(1))")
FLAGS = $(call given,HOST,--host) $(call given,PORT,--port) $(call given,MODEL,--model) \
	$(call given,MODEL_DIR,--model-dir) $(call given,DATA_DIR,--data-dir) $(call given,DEVICE,--device)

run:
	@scripts/bootstrap requirements.lock
	@exec .venv/bin/molva serve $(FLAGS) $(ARGS)

test:
	@scripts/bootstrap requirements-dev.lock
	.venv/bin/python -m pytest $(ARGS)

test-fast:
	@scripts/bootstrap requirements-dev.lock
	.venv/bin/python -m pytest -m "not slow" $(ARGS)

check:
	@scripts/bootstrap requirements-dev.lock
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

chaos:
	@scripts/bootstrap requirements-dev.lock
	.venv/bin/python -m tests.chaos --json build/chaos.json $(ARGS)

bench:
	@scripts/bootstrap-bench
	.venv-bench/bin/python -m bench $(call given,DIR,--dir) $(ARGS)

# The page is about the hour; a shorter run says what it found, and leaves it alone.
soak:
	@scripts/bootstrap requirements-dev.lock
	@mkdir -p build
	.venv/bin/python -m tests.soak --json build/soak.json \
		$(if $(MINUTES),--minutes $(MINUTES),--docs docs/soak.md) $(ARGS)

fuzz:
	@scripts/bootstrap requirements-dev.lock
	.venv/bin/python -m tests.fuzz $(ARGS)

screenshots:
	@scripts/bootstrap requirements-dev.lock
	.venv/bin/python -m pytest tests/page $(ARGS)
	@mkdir -p docs/images
	@for name in $$(grep -oh 'images/[a-z-]*\.png' README.md docs/*.md | sort -u); do cp ".screenshots/$${name#images/}" "docs/$$name"; done

format:
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lock:
	scripts/lock

dist:
	@scripts/bootstrap requirements-dev.lock
	scripts/dist

clean:
	rm -rf .venv .venv-clients .venv-bench
