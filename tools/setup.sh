#!/bin/sh
# tools/setup.sh [train] [fpga] [dask]: .venv with the locked Python packages, and the system packages that simulation needs.
# Does nothing and says nothing when all is in place. PYTHON names the interpreter to use, else the first of python3 and
# python3.11 to 3.14 that is new enough.
set -eu

cd "$(dirname "$0")/.."
locks="requirements.lock"
for extra in "$@"; do
    locks="$locks requirements-$extra.lock"
done
build=${ABBNN_BUILD:-build}
log=$build/setup.log
mkdir -p "$build" || { echo "setup: $build cannot be written: ABBNN_BUILD names another build folder" >&2; exit 1; }
# Two set-ups at once: the second waits, and then finds everything in place.
if command -v flock >/dev/null; then
    exec 9>"$build/setup.lock"
    flock 9
fi
ask=false
[ ! -t 0 ] || ask=true

fail() {
    echo "setup: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && { $ask || sudo -n true 2>/dev/null; }; then
        sudo "$@"
    else
        return 1
    fi
}

# Name of the package that holds $2 under the package manager $1.
package() {
    case "$1:$2" in
        brew:iverilog) echo icarus-verilog ;;
        dnf:g++ | zypper:g++) echo gcc-c++ ;;
        dnf:liblz4-dev) echo lz4-devel ;;
        zypper:liblz4-dev) echo liblz4-devel ;;
        pacman:liblz4-dev | brew:liblz4-dev) echo lz4 ;;
        dnf:zlib1g-dev | zypper:zlib1g-dev) echo zlib-devel ;;
        pacman:zlib1g-dev | brew:zlib1g-dev) echo zlib ;;
        pacman:g++ | brew:g++) echo gcc ;;
        *) echo "$2" ;;
    esac
}

# Install the packages that are named after programs as Debian names them, or say in one line what to install.
install() {
    manager=
    for name in apt-get dnf pacman zypper brew; do
        if command -v $name >/dev/null; then
            manager=$name
            break
        fi
    done
    [ -n "$manager" ] || fail "missing: $*; install it with this system's package manager"
    packages=
    for name in "$@"; do
        packages="$packages $(package $manager "$name")"
    done
    packages=${packages# }
    echo "setup: installing $packages with $manager"
    # shellcheck disable=SC2086  # one word a package
    case $manager in
        apt-get)
            command="apt-get install $packages"
            { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages; }
            ;;
        dnf) command="dnf install $packages" && as_root dnf install -y -q $packages ;;
        pacman) command="pacman -S $packages" && as_root pacman -S --noconfirm --needed $packages ;;
        zypper) command="zypper install $packages" && as_root zypper --non-interactive --quiet install $packages ;;
        brew) command="brew install $packages" && brew install --quiet $packages ;;
    esac >"$log" 2>&1 </dev/null || fail "cannot install $packages: run '$command' as root and try again ($log tells more)"
}

# ---- system packages

new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
python=
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do
    if "$candidate" -c "$new_enough" 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "${PYTHON:-python3} is not Python 3.11 or newer: install one, or name it as in 'make setup PYTHON=python3.12'"
version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

missing=
for program in iverilog g++ make; do
    command -v $program >/dev/null || missing="$missing $program"
done
case " $* " in
    *" fpga "*)
        command -v yosys >/dev/null || missing="$missing yosys"
        # Debian's Yosys comes without the ABC that proves things.
        if command -v apt-get >/dev/null && ! command -v berkeley-abc >/dev/null && ! command -v yosys-abc >/dev/null; then
            missing="$missing berkeley-abc"
        fi
        ;;
esac
# Verilator's driver is a perl script that needs more than the smallest perl of a distribution.
perl -MPod::Usage -e 1 2>/dev/null || missing="$missing perl"
# Only waveforms of a verilated design need these two; the nightly tests write some.
if [ "${SIM:-}${WAVES:-}" = verilator1 ] || [ "${NIGHTLY:-}" = 1 ]; then
    printf '#include <%s>\n' lz4.h zlib.h | cc -E -x c - >/dev/null 2>&1 || missing="$missing liblz4-dev zlib1g-dev"
fi
if [ ! -x .venv/bin/python ] && command -v apt-get >/dev/null && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing="$missing $version-venv"
fi
# shellcheck disable=SC2086
[ -z "$missing" ] || install $missing

# ---- Python packages

# Also one that another tool made without pip, or whose making was interrupted.
if ! .venv/bin/python -c "import pip; $new_enough" 2>/dev/null; then
    "$python" -m venv --clear .venv || fail "$python cannot make .venv: its module venv or ensurepip is missing or broken"
fi
requirements=
for lock in $locks; do
    cmp -s "$lock" ".venv/$lock" || requirements="$requirements -r $lock"
done
if [ -n "$requirements" ]; then
    echo "setup: installing the packages of${requirements# -r} into .venv" | sed 's/ -r / and /g'
    # shellcheck disable=SC2086
    .venv/bin/python -m pip install -qq --disable-pip-version-check $requirements || fail "pip could not install$requirements"
    # cocotb loads the interpreter as a shared library, which Debian keeps in a package of its own.
    if [ -z "$(.venv/bin/python -m find_libpython)" ]; then
        command -v apt-get >/dev/null || fail "$version has no shared library, which cocotb needs: install one that has"
        install "lib$version"
        [ -n "$(.venv/bin/python -m find_libpython)" ] || fail "$version has no shared library, which cocotb needs: install one that has"
    fi
    for lock in $locks; do
        cp "$lock" ".venv/$lock"
    done
fi
if [ ! -x .venv/bin/abbnn ]; then
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps -e . || fail "pip could not install the command abbnn"
fi
