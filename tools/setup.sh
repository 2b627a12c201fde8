#!/bin/sh
# Make .venv and install outlay into it: `setup.sh base` for use, `setup.sh dev` for tests as well.
# Needs only Python >= 3.11; uses uv when present. Says what it does from the first second.
set -eu
want=${1:-base}
cd "$(dirname "$0")/.."
say() { printf '%s\n' "setup: $*" >&2; }
stop() { say "$1"; say "cure: $2"; exit 1; }

say "looking for Python 3.11 or newer"
python=
for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$name; break; fi
done
have_uv=
if command -v uv >/dev/null 2>&1; then have_uv=yes; fi

if [ ! -x .venv/bin/python ]; then
    if [ -n "$have_uv" ]; then
        say "making .venv with uv"
        uv venv --quiet --python '>=3.11' .venv || stop "uv could not make .venv" "uv python install 3.12"
    else
        [ -n "$python" ] || stop "no Python 3.11 or newer found (looked for python3, python3.11 to python3.14)" \
            "install Python 3.11 or newer, for example: sudo apt install python3.11 python3.11-venv"
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        "$python" -c 'import venv, ensurepip' 2>/dev/null || stop "Python $version has no venv module" \
            "sudo apt install python$version-venv"
        say "making .venv with $python ($version)"
        "$python" -m venv .venv || { rm -rf .venv; stop "could not make .venv" "sudo apt install python$version-venv"; }
    fi
fi
.venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    stop ".venv holds a Python older than 3.11" "make clean, then try again"

extra=
if [ "$want" = dev ]; then
    extra=$(.venv/bin/python -c '
import tomllib
with open("pyproject.toml", "rb") as f:
    print("\n".join(tomllib.load(f)["dependency-groups"]["dev"]))')
    say "installing outlay with its test tools (about half a minute)"
else
    say "installing outlay (about twenty seconds)"
fi
set -- -e .
IFS='
'
for requirement in $extra; do set -- "$@" "$requirement"; done
if [ -n "$have_uv" ]; then
    uv pip install --quiet --python .venv/bin/python "$@" ||
        stop "uv could not install the packages" "check the network, then run make again"
else
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" ||
        stop "pip could not install the packages" "check the network, then run make again"
fi
touch .venv/.base
if [ "$want" = dev ]; then touch .venv/.dev; fi
say "done"
