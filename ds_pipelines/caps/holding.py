"""What holds experiments on this machine, and what it cannot stop: what `doctor` says.

What belongs here: asking the mechanisms whether they work here, and the words for it. What does not: using them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ds_pipelines.caps import confine, groups, kernel

ADVICE = (
    "Run experiments under an account of their own, on a machine without secrets, or on Linux 6.12 or newer with "
    "Landlock and user namespaces switched on"
)


@dataclass(frozen=True)
class Holding:
    """The mechanisms that this account may use on this machine."""

    groups: dict[str, int]
    """Versions of control groups by controller."""
    namespaces: bool
    landlock: int
    """Version of its interface; 0 where there is none."""

    @property
    def gaps(self) -> list[str]:
        """What an experiment can do here all the same."""
        found = confine.unguarded(namespaces=self.namespaces)
        if not self.namespaces and self.landlock:
            found.append("not use shared memory (joblib then works with one process)")
        if "pids" not in self.groups:
            found.append("start processes faster than they are counted, for a moment")
        if "memory" not in self.groups:
            found.append("take more memory than its cap, for a moment")
        return found

    def caps_in_words(self, memory: int) -> str:
        """How memory, processes, disk and time are held."""
        by = {kind: f"control groups, version {self.groups[kind]}" for kind in groups.KINDS if kind in self.groups}
        watched = f"a watchdog over the process tree, {1 / WATCH_SECONDS:.0f} times a second"
        return (
            f"memory by {by.get('memory', watched)} ({memory / 2**30:.1f} GiB for all together); processes by "
            f"{by.get('pids', watched)}; disk, time and output by a watchdog"
        )

    def walls_in_words(self) -> str:
        """What files, ports and processes are guarded by."""
        landlock = f"Landlock, version {self.landlock}" if self.landlock else "no Landlock"
        return f"{landlock}; {'own' if self.namespaces else 'no own'} namespaces; capabilities dropped"


WATCH_SECONDS = 0.03
"""Between two looks of the warden."""


def examine() -> Holding:
    """What works here, found by trying each."""
    return Holding(groups.possible(), confine.namespaces_possible(), kernel.landlock_version())
