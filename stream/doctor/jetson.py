"""What a Jetson's speed hangs on besides its GPU: the L4T release, the power mode, and who tells its temperature."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from stream.doctor.finding import Finding, Status

GROUP = "Jetson"
RELEASES = {36: "JetPack 6", 38: "JetPack 7"}
"""L4T's main number -> what NVIDIA calls it, of those that deploy/jetson/install.sh knows."""


def examine() -> list[Finding]:
    """Nothing on a machine that is no Jetson."""
    has_jtop = importlib.util.find_spec("jtop") is not None
    return jetson_findings(Path("/"), has_jtop=has_jtop)


def jetson_findings(root: Path, *, has_jtop: bool) -> list[Finding]:
    """``root``: where the machine's files are. ``has_jtop``: whether jetson-stats can be imported."""
    release = l4t_release(root / "etc" / "nv_tegra_release")
    if release is None:
        return []
    return [_release_finding(release), _power_finding(power_mode(root)), _jtop_finding(has_jtop=has_jtop)]


def l4t_release(path: Path) -> str | None:
    """Such as ``36.4.0``, from the file that NVIDIA's packages leave; None: no Jetson."""
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _text(path))
    return f"{found[1]}.{found[2]}" if found else None


def power_mode(root: Path) -> str | None:
    """The name of the mode that nvpmodel is in, such as ``15W``; None: not known."""
    status = re.search(r"pmode:0*(\d+)", _text(root / "var" / "lib" / "nvpmodel" / "status"))
    if status is None:
        return None
    text = _text(root / "etc" / "nvpmodel.conf")
    names: dict[str, str] = dict(re.findall(r"POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", text))
    return names.get(status[1], f"mode {status[1]}")


def _release_finding(release: str) -> Finding:
    name = RELEASES.get(int(release.partition(".")[0]))
    if name is not None:
        return Finding(GROUP, "L4T", Status.FOUND, f"{release} ({name})")
    mend = f"flash {' or '.join(RELEASES.values())}"
    return Finding(GROUP, "L4T", Status.ABSENT, f"{release}, which is not supported", mend)


def _power_finding(mode: str | None) -> Finding:
    if mode is None:
        return Finding(GROUP, "power mode", Status.ABSENT, "not known", "sudo nvpmodel -q")
    if mode.startswith("MAXN"):
        return Finding(GROUP, "power mode", Status.FOUND, mode)
    mend = "sudo nvpmodel -m 0 && sudo jetson_clocks  (more power and heat; see docs/deploying.md)"
    return Finding(GROUP, "power mode", Status.FOUND, f"{mode}: not the fastest", mend)


def _jtop_finding(*, has_jtop: bool) -> Finding:
    if has_jtop:
        return Finding(GROUP, "jetson-stats", Status.FOUND, "temperature and power are among the metrics")
    mend = "sudo pip3 install jetson-stats && sudo usermod -aG jtop unmask"
    return Finding(GROUP, "jetson-stats", Status.ABSENT, "no board metrics without it", mend)


def _text(path: Path) -> str:
    """Empty where there is no such file, or it is not ours to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
