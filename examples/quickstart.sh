#!/bin/sh
# From nothing to masks: installs geseg into .venv, draws a small data set, and runs the five commands on it.
# Everything lands in .venv/ and in the folder quickstart/ (or the one given as argument), to be deleted at will.
set -eu
case ${1:-} in "" | /*) out=${1:-quickstart} ;; *) out=$PWD/$1 ;; esac
cd "$(dirname "$0")/.."
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint tests/constraints.txt --editable .
PATH="$PWD/.venv/bin:$PATH"
set -x
python -m geseg.data.drawn "$out/drive" --train 10 --test 4 --size 320 --seed 0
geseg prepare "$out/drive" -o "$out/drive.h5"
geseg train "$out/drive.h5" -o "$out/run" --minutes 2.5
geseg eval "$out/run" "$out/drive.h5"
geseg export "$out/run"
geseg predict "$out/drive/test/images" -o "$out/masks" --overlay "$out/overlays" --model "$out/run"
set +x
echo "masks are in $out/masks, and drawn into the photographs in $out/overlays: open them and look"
