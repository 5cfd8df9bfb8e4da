# Daily commands; `just` alone lists them.

default:
    @just --list

# a virtual environment with everything for development
setup:
    python3 -m venv .venv
    .venv/bin/pip install -c constraints.txt -e '.[dev]'

# talk to a personality
chat *ARGS:
    .venv/bin/cozy chat {{ARGS}}

# every test, on both databases
test *ARGS:
    .venv/bin/pytest -n 3 {{ARGS}}

# ruff, pyright, and the shipped personalities
check:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/pyright
    .venv/bin/cozy check

# answer over HTTP
serve *ARGS:
    .venv/bin/cozy serve {{ARGS}}

# write what is generated: schemas, reference
generate:
    .venv/bin/cozy schema --write
    .venv/bin/python docs/generate.py

# how long things take
bench:
    .venv/bin/python tests/bench/bench_runner.py
    .venv/bin/python tests/bench/bench_llm_stream.py
    .venv/bin/python tests/bench/bench_http.py

# leave a thousand streams at random, and look what the server still holds
soak *ARGS:
    .venv/bin/python -m tests.bench.soak_streams {{ARGS}}

# an engine that dies for a while, under a thousand turns a minute: what waits, what arrives, what turns notice
writeback *ARGS:
    .venv/bin/python -m tests.bench.bench_writeback {{ARGS}}

# what CI runs
ci:
    .ci/run
