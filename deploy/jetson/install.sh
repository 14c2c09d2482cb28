#!/usr/bin/env bash
# Installs Unmask as a service on a Jetson (JetPack 6 or 7), or with --no-nvidia on a plain Ubuntu or Debian.
# Idempotent: what is there is left alone, a configuration is never written over, and a second run brings it up to date.
set -euo pipefail

app=/opt/unmask/app                 # the program, owned by root
venv=/opt/unmask/venv               # its Python packages, on the system's Python
state=/var/lib/unmask               # what the service writes: engines, recordings
settings=/etc/unmask                # unmask.yaml, environment, credentials
units=/etc/systemd/system
owner=unmask
etc=${INSTALL_ETC:-/etc} # where releases are read from; tests set it
python=/usr/bin/python3  # GStreamer's bindings and JetPack's TensorRT are the system's
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

packages=(
    python3 python3-venv python3-gi python3-gst-1.0 gstreamer1.0-tools gstreamer1.0-plugins-base
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav gstreamer1.0-x
    gstreamer1.0-rtsp gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 libgl1 ca-certificates
    gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0
)
nvidia_packages=(build-essential python3-dev python3-libnvinfer) # PyCUDA is compiled here; TensorRT comes with JetPack

usage="usage: deploy/jetson/install.sh [--dry-run] [--no-nvidia] [--no-engines] [--only-packages]

  --dry-run        say what would be done, and do nothing
  --no-nvidia      a machine without an NVIDIA GPU: scores are computed on the CPU
  --no-engines     leave building engines to later
  --only-packages  the system's packages alone, as the container images need them"

is_dry=false has_nvidia=true wants_engines=true only_packages=false

say() { printf 'install: %s\n' "$*"; }
fail() {
    printf 'install: %s\n' "$*" >&2
    exit 6
}

run() { # a command that changes the machine
    if $is_dry; then
        printf 'would run: %s\n' "$*"
    else
        "$@"
    fi
}

read_options() {
    local option
    for option in "$@"; do
        case $option in
            --dry-run) is_dry=true ;;
            --no-nvidia) has_nvidia=false ;;
            --no-engines) wants_engines=false ;;
            --only-packages) only_packages=true ;;
            --help | -h)
                echo "$usage"
                exit 0
                ;;
            *)
                echo "$usage" >&2
                exit 2
                ;;
        esac
    done
}

system_release() { # such as "ubuntu 22.04"
    [[ -r $etc/os-release ]] || fail "$etc/os-release is missing: this needs Ubuntu or Debian"
    (
        # shellcheck source=/dev/null
        . "$etc/os-release"
        echo "${ID:-unknown} ${VERSION_ID:-unknown}"
    )
}

l4t_release() { # such as "36.4.0", from the first line that NVIDIA's packages leave; empty where there is none
    [[ -r $etc/nv_tegra_release ]] || return 0
    sed -nE '1s/^# R([0-9]+) \(release\), REVISION: ([0-9.]+).*/\1.\2/p' "$etc/nv_tegra_release"
}

check_machine() {
    local system l4t
    system=$(system_release)
    if ! $has_nvidia; then
        say "$system, without NVIDIA"
        return 0
    fi
    l4t=$(l4t_release)
    case $l4t in
        36.*) [[ $system == "ubuntu 22.04" ]] || fail "JetPack 6 has Ubuntu 22.04, and this is $system: flash it anew" ;;
        38.*) [[ $system == "ubuntu 24.04" ]] || fail "JetPack 7 has Ubuntu 24.04, and this is $system: flash it anew" ;;
        '') fail "no Jetson ($etc/nv_tegra_release says nothing): give --no-nvidia, or on a server use deploy/server/Dockerfile" ;;
        *) fail "L4T $l4t is not supported: flash JetPack 6 (L4T 36) or JetPack 7 (L4T 38)" ;;
    esac
    say "L4T $l4t on $system"
}

check_root() {
    $is_dry || [[ $(id -u) == 0 ]] || fail "this installs a service: run it with sudo"
}

missing_packages() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

install_packages() {
    local wanted=("${packages[@]}") missing
    if $has_nvidia; then wanted+=("${nvidia_packages[@]}"); fi
    command -v apt-get >/dev/null || fail "this machine has no apt: use Ubuntu, Debian or JetPack"
    mapfile -t missing < <(missing_packages "${wanted[@]}")
    ((${#missing[@]})) || return 0
    say "installing ${#missing[@]} system packages: ${missing[*]}"
    run apt-get update -qq || fail "apt-get update failed: check the network and /etc/apt, then run this again"
    run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 \
        "${missing[@]}" >&"$out" || fail "apt-get install failed: run it by hand: apt-get install ${missing[*]}"
}

check_nvidia() { # after the packages: what JetPack must have brought
    $has_nvidia && ! $is_dry || return 0
    "$python" -c 'import tensorrt' 2>/dev/null ||
        fail "the system's Python finds no tensorrt: apt-get install nvidia-jetpack, then run this again"
    [[ -x /usr/local/cuda/bin/nvcc ]] ||
        fail "CUDA's compiler is missing (PyCUDA needs it): apt-get install nvidia-jetpack, then run this again"
}

add_owner() {
    local group
    for group in video render; do # the unit names them; a minimal system may lack one
        getent group "$group" >/dev/null || run groupadd --system "$group"
    done
    id "$owner" >/dev/null 2>&1 ||
        run useradd --system --user-group --home-dir "$state" --shell /usr/sbin/nologin "$owner" ||
        fail "cannot add the user $owner: see /var/log/auth.log"
    if getent group jtop >/dev/null; then # jetson-stats' socket belongs to this group
        run usermod --append --groups jtop "$owner"
    fi
    run install -d -o "$owner" -g "$owner" -m 0750 "$state" "$state/engines"
    run install -d -m 0755 "$settings"
    run install -d -m 0700 "$settings/credentials"
}

copy_program() { # without engines, which are the machine's, and without what only developers need
    local part
    for part in engines stream configs build_engines.py pyproject.toml README.md LICENSE; do
        [[ -e $checkout/$part ]] || fail "$checkout/$part is missing: run this from a whole checkout"
    done
    [[ $checkout == "$app" ]] && return 0
    say "copying the program to $app"
    run rm -rf "$app.new"
    run install -d -m 0755 "$app.new"
    for part in engines stream configs build_engines.py pyproject.toml README.md LICENSE; do
        run cp -R --no-preserve=ownership "$checkout/$part" "$app.new/"
    done
    run rm -rf "$app.new/engines/built"
    run ln -s "$state/engines" "$app.new/engines/built"
    run rm -rf "$app"
    run mv "$app.new" "$app"
}

venv_is_good() {
    [[ -x $venv/bin/python ]] &&
        "$venv/bin/python" -c 'import sys, gi; sys.exit(sys.prefix == sys.base_prefix)' 2>/dev/null
}

install_python_packages() {
    local program=$app
    if $has_nvidia; then program="${app}[gpu]"; fi
    if ! venv_is_good; then
        say "making $venv on $("$python" --version 2>&1)"
        run rm -rf "$venv"
        run "$python" -m venv --system-site-packages "$venv" ||
            fail "cannot make $venv: apt-get install python3-venv, then run this again"
    fi
    say "installing Python packages; the first time this takes minutes"
    run env PATH="/usr/local/cuda/bin:$PATH" "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-cache-dir --editable "$program" ||
        fail "pip failed: check the network, then run this again"
    run ln -sfn "$venv/bin/unmask" /usr/local/bin/unmask
}

write_settings() {
    local example=$checkout/configs/jetson.yaml
    if ! $has_nvidia; then example=$checkout/deploy/systemd/unmask.yaml; fi
    if [[ -e $settings/unmask.yaml ]]; then
        say "$settings/unmask.yaml is yours and stays"
    else
        run install -m 0644 "$example" "$settings/unmask.yaml"
    fi
    [[ -e $settings/environment ]] ||
        run install -m 0600 "$checkout/deploy/systemd/environment" "$settings/environment"
}

install_unit() {
    run install -m 0644 "$checkout/deploy/systemd/unmask.service" "$units/unmask.service"
    if $has_nvidia; then
        run install -d -m 0755 "$units/unmask.service.d"
        run install -m 0644 "$checkout/deploy/systemd/jetson.conf" "$units/unmask.service.d/10-jetson.conf"
    fi
    if [[ -d /run/systemd/system ]]; then
        run systemctl daemon-reload
        run systemctl enable unmask.service
    else
        say "systemd does not run here: the unit lies in $units"
    fi
}

build_engines() { # as the service's user, who owns them and may build them anew
    $wants_engines || return 0
    say "building engines for this machine; on a Jetson this takes minutes"
    run runuser -u "$owner" -- env HOME="$state" PATH="/usr/local/cuda/bin:$PATH" \
        "$venv/bin/python" "$app/build_engines.py" ||
        fail "building engines failed (see above): the service runs without them, on the CPU; --no-engines skips this"
}

finish() {
    say "done. Say what to watch in $settings/unmask.yaml, then:"
    say "  unmask config check $settings/unmask.yaml && sudo systemctl restart unmask && systemctl status unmask"
}

read_options "$@"
if $is_dry; then out=1; else exec {out}>/dev/null; fi
check_machine
check_root
install_packages
if $only_packages; then exit 0; fi
check_nvidia
add_owner
copy_program
install_python_packages
write_settings
install_unit
build_engines
finish
