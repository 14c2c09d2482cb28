#!/usr/bin/env bash
# Everything `make demo` and `make test` need: system packages, .venv on the system's Python, Python packages.
# Idempotent: what is there is left alone, and a finished set-up is remembered, so a second run touches no network.
#
#   tools/setup.sh demo|test
set -euo pipefail
cd "$(dirname "$0")/.."

goal=${1:-}
case $goal in
    demo) extras='demo' ;;
    test) extras='demo,train,dev' ;;
    *)
        echo "usage: tools/setup.sh demo|test" >&2
        exit 2
        ;;
esac

python=/usr/bin/python3 # GStreamer's bindings are the system's, so the virtual environment must be of the system's Python

packages=(
    python3 python3-venv python3-gi python3-gst-1.0 gstreamer1.0-tools gstreamer1.0-plugins-base
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x
    gstreamer1.0-rtsp gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 libgl1
    gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0
)

[[ $goal == test ]] && packages+=(g++) # compiles the GPU's kernels for this processor, to test their arithmetic
[[ $goal == test ]] && packages+=(openssl) # certificates that the tests make

# A real browser for the tests of the page. Ubuntu has it as a snap only: there they are skipped.
[[ $goal == test ]] && grep -qs '^ID=debian' /etc/os-release && packages+=(chromium)
# apt turns a server's service on when it installs it, for the whole network at that; the tests start their own.
servers=(prometheus prometheus-alertmanager mosquitto)
[[ $goal == test ]] && packages+=("${servers[@]}")

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 6
}

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

install_packages() {
    local missing as_root=()
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    local by_hand="sudo apt-get install --no-install-recommends ${missing[*]}"
    command -v apt-get >/dev/null || fail "this machine has no apt; install the equivalents of: ${missing[*]}"
    if [[ $(id -u) != 0 ]]; then
        command -v sudo >/dev/null || fail "system packages are missing and this is not root; run: $by_hand"
        as_root=(sudo)
    fi
    say "installing ${#missing[@]} system packages: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq || fail "apt-get update failed; are you online? Then run: $by_hand"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null || fail "apt-get install failed; run: $by_hand"
    turn_off_servers "${missing[@]}"
}

turn_off_servers() { # those among the packages that were just installed; one that was there before stays as it is
    local server
    command -v systemctl >/dev/null || return 0
    for server in "${servers[@]}"; do
        [[ " $* " == *" $server "* ]] || continue
        "${as_root[@]}" systemctl disable --quiet --now "$server" 2>/dev/null ||
            say "the service $server may be on; if you do not use it: sudo systemctl disable --now $server"
    done
}

venv_is_good() {
    [[ -x .venv/bin/python ]] &&
        .venv/bin/python -c 'import sys, gi; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null
}

make_venv() {
    venv_is_good && return 0
    say "making .venv on $($python --version)"
    rm -rf .venv .setup
    "$python" -m venv --system-site-packages .venv || fail "cannot make .venv; run: sudo apt-get install python3-venv"
}

fingerprint() {
    { cat pyproject.toml; "$python" --version; pwd; } | sha256sum | cut -d' ' -f1
}

install_python_packages() {
    local stamp=.setup/$goal
    [[ -f $stamp && $(<"$stamp") == "$(fingerprint)" ]] && return 0
    say "installing Python packages ($extras); the first time this takes minutes"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" ||
        fail "pip failed; are you online? Then run: .venv/bin/pip install -e '.[$extras]'"
    mkdir -p .setup
    fingerprint >"$stamp"
}

install_packages
make_venv
install_python_packages
