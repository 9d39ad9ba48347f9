# What tests/run.sh and examples/demo.sh do before they begin, sourced by both: Debian packages and a virtual
# environment. Both only where something is missing, and never without saying so. The caller sets `scratch`, a directory
# of its own for logs.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

bold='' red='' green='' yellow='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' yellow=$'\e[33m' plain=$'\e[0m'
fi

heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
say() { printf '  %s\n' "$*"; }
give_up() {
    printf '\n%s%s%s\n' "$red" "$1" "$plain" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# --- Debian packages -------------------------------------------------------------------------------------------------

missing_packages=()

# need PACKAGE WHY COMMAND...: note that PACKAGE is missing when COMMAND fails.
need() {
    local package=$1 why=$2
    shift 2
    "$@" >/dev/null 2>&1 && return 0
    missing_packages+=("$package")
    say "missing: $package ($why)"
}

# Install what `need` noted, or say how.
install_packages() {
    [ ${#missing_packages[@]} -gt 0 ] || return 0
    local packages=("${missing_packages[@]}")
    missing_packages=()
    command -v apt-get >/dev/null ||
        give_up "There is no apt-get here." "Install with this system's package manager what these Debian packages hold:" "${packages[*]}"
    [ "$(id -u)" -eq 0 ] ||
        give_up "Installing packages needs root. Run this, then try again:" "sudo apt-get install -y ${packages[*]}"
    say "apt-get install ${packages[*]}"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"; } \
        >"$scratch/apt.log" 2>&1 </dev/null || {
        tail -n 20 "$scratch/apt.log" >&2
        give_up "apt-get could not install ${packages[*]}." "The lines above say why."
    }
}

# --- Python ----------------------------------------------------------------------------------------------------------

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

# Choose $PYTHON, python3, or a versioned one where python3 is too old.
choose_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || give_up "PYTHON=$PYTHON is no Python 3.10 or newer."
        python=$PYTHON
        return
    fi
    need python3 "p2ptun is written in it" command -v python3
    install_packages
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
            python=$candidate
            return
        fi
    done
    give_up "p2ptun needs Python 3.10 or newer; python3 is $(python3 -V 2>&1)." \
        "Install one and name it: PYTHON=/path/to/python3.12 $0"
}

# Whether the chosen Python is Debian's own: only then do Debian's packages help it.
is_debians() { case $("$python" -c 'import sys; print(sys.base_prefix)') in /usr) true ;; *) false ;; esac; }

version() { "$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

has_header() { "$python" -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")'; }

# Check that this Python can make a virtual environment.
need_venv() {
    if is_debians; then
        need "python$(version)-venv" "makes the virtual environment" "$python" -c 'import ensurepip, venv'
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            give_up "$("$python" -c 'import sys; print(sys.executable)') lacks venv or ensurepip." \
                "Name another: PYTHON=/usr/bin/python3 $0"
    fi
    install_packages
}

# Check that this machine can build python-pytun, the one dependency which may come without a wheel.
need_compiler() {
    ! "$venv/bin/python" -m pip install --quiet --no-input --only-binary :all: python-pytun >/dev/null 2>&1 </dev/null ||
        return 0
    ! is_debians || need "python$(version)-dev" "builds python-pytun, the TUN module" has_header
    need gcc "builds python-pytun, the TUN module" command -v cc
    # gcc alone brings no C library headers when recommended packages are left out.
    need libc6-dev "builds python-pytun, the TUN module" test -e /usr/include/stdio.h
    install_packages
}

# --- The virtual environment -----------------------------------------------------------------------------------------

# What the environment was made of; when this changes it is made anew.
fingerprint() {
    "$python" - "$root" <<'PY'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
print(sys.version, sys.base_prefix, root, hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest())
PY
}

# make_venv EXTRAS: have .venv hold p2ptun, editable, with its dependencies and EXTRAS ("" or "dev").
make_venv() {
    local extras=$1 stamp=$venv/made-of made
    made=$(fingerprint)
    [ ! -e "$venv" ] || [ -w "$venv" ] ||
        give_up "$venv belongs to another user." "Remove it first: sudo rm -r $venv"
    if [ -x "$venv/bin/python" ] && [ "$(head -n 1 "$stamp" 2>/dev/null)" = "${made//$'\n'/ }" ]; then
        if [ -z "$extras" ] || grep -qx "$extras" <(tail -n +2 "$stamp"); then
            say "virtual environment: .venv, as it is"
            return
        fi
    else
        say "virtual environment: making .venv with $("$python" -V)"
        rm -rf "$venv"
        "$python" -m venv "$venv" || give_up "$python could not make a virtual environment in $venv."
    fi
    need_compiler
    say "pip install: p2ptun (editable)${extras:+ and what its checks need}; the first time takes a minute"
    "$venv/bin/python" -m pip install --no-input --disable-pip-version-check --progress-bar off \
        --editable "$root${extras:+[$extras]}" >"$scratch/pip.log" 2>&1 </dev/null || {
        tail -n 20 "$scratch/pip.log" >&2
        give_up "pip could not install p2ptun into .venv." "The lines above say why; is the package index reachable?"
    }
    printf '%s\n%s\n' "${made//$'\n'/ }" "$extras" >"$stamp"
    # Under sudo the environment belongs to the person, so that it can be used and removed without.
    [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$venv"
}
