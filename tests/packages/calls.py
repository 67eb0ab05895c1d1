"""calls.py UNIT...: every system call that a role's own list has, on whatever processor, its systemd unit lets through.

By names, as systemd reads them: what it does not know on one processor it passes over there, and what it does not allow ends the process.
A call that a role's list answers with an error counts, too: systemd would end the process before.
"""
import re
import subprocess
import sys
from pathlib import Path

CALLS = Path("filter-sandbox/src/calls")


def members(group):
    listed = subprocess.run(["systemd-analyze", "syscall-filter", group], check=True, capture_output=True, text=True)
    found = set()
    for line in listed.stdout.splitlines()[1:]:
        name = line.strip()
        if name.startswith("@"):
            found |= members(name)
        elif name and not name.startswith("#"):
            found.add(name)
    return found


def allowed(unit):
    # In every list of what is allowed, whatever is taken away.
    always = members("@default")
    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", Path(unit).read_text(), re.M):
        for word in line.lstrip("~").split():
            meant = members(word) if word.startswith("@") else {word}
            allowed = allowed - meant if line.startswith("~") else allowed | meant
    return allowed | always


def needed(keeper):
    numbers = {}
    for name, value in re.findall(r"const (\w+): c_long = ([\w:]+);", (CALLS / "numbers.rs").read_text()):
        call = value.removeprefix("libc::SYS_") if value.startswith("libc::") else name.lower()
        numbers.setdefault(name, set()).add(call)
    found = set()
    for file in ["roles", "scanner", "worker", "zygote"]:
        text = (CALLS / f"{file}.rs").read_text()
        if not keeper:
            text = re.sub(r"const FILES: .*?\n\];", "", text, flags=re.S)
        found |= set(re.findall(r"libc::SYS_(\w+)", text))
        for name in re.findall(r"numbers::(\w+)", text):
            found |= numbers.get(name, set())
    return found


for unit in sys.argv[1:]:
    calls = needed(keeper=unit.endswith("/postern.service"))
    if not {"read", "clock_gettime64", "_llseek", "landlock_restrict_self"} <= calls:
        sys.exit(f"the lists are not understood any more: {sorted(calls)}")
    missing = calls - allowed(unit)
    if missing:
        sys.exit(f"{unit} would end a role for {', '.join(sorted(missing))}")
