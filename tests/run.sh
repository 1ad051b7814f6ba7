#!/bin/sh
# Installs geseg with its test extra into .venv and runs every check; arguments go to pytest (sh tests/run.sh -k tiling;
# --slow for those tests, too, that take minutes).
set -eu
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt --editable '.[test]'
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/python -m pytest "$@"
