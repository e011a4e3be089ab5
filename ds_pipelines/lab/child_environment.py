"""The variables that an experiment's process gets: no secret of whoever starts it.

What belongs here: which variables pass. What does not: reading the environment (settings.py), or recognising secrets
(private.py).

Started by a server, an experiment gets those variables only that a process needs, because nobody knows what else a
server was given. Started by a person in a shell, it gets the person's own, without what may be secret. The gateway's
token is a file that it may read, and the one way to data.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ds_pipelines.lab.private import without_secrets
from ds_pipelines.settings import DATABASE_SETTINGS, TELEMETRY_OFF, environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ds_pipelines.lab.layout import Layout
    from ds_pipelines.settings import Settings

NEEDED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TERM|VIRTUAL_ENV|LD_LIBRARY_PATH|DYLD_\w+|R_\w+"
    r"|PYTHON(PATH|HASHSEED|WARNINGS|UTF8|NOUSERSITE|DONTWRITEBYTECODE)|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE"
    r"|(http|https|no|HTTP|HTTPS|NO)_(proxy|PROXY)|CUDA_VISIBLE_DEVICES"
    r"|(OMP|OPENBLAS|MKL|BLIS|NUMEXPR|VECLIB_MAXIMUM|POLARS_MAX|RAYON_NUM|LOKY_MAX|GOTO)_\w+"
)
"""What a process needs of a server's variables, and what decides how many threads it has."""
SERVERS = re.compile(r"_?(DAGSTER|MLFLOW|DS|SUPERVISOR)_.*|PG.*")
"""Variables of our own processes; the settings among them are handed over by name."""
NOT_THEIRS = {"tracking_address"}
"""Settings that an experiment has no use for, and that may hold a password."""
CLOCK = {"DS_ZONE", "DS_FIRST_DAY", "DS_TODAY"}
"""Settings that may change a result; the others say where things are."""
FOLDERS = {"MPLCONFIGDIR", "TMPDIR", "PWD", "OLDPWD", "_", "SHLVL", "TERM", "LOGNAME", "USER", "HOME", "PATH"}
"""Of a machine, a person or a terminal: they change no result."""


def child_environment(settings: Settings, layout: Layout, *, of_a_server: bool) -> dict[str, str]:
    """All variables of the process that runs an experiment."""
    ours = environment()
    own = {name: value for name, value in ours.items() if NEEDED.fullmatch(name)}
    if not of_a_server:
        own |= {name: value for name, value in ours.items() if not SERVERS.fullmatch(name)}
    hidden = {f"DS_{name.upper()}" for name in (*DATABASE_SETTINGS, *NOT_THEIRS)}
    given = {name: value for name, value in settings.as_environment().items() if name not in hidden}
    return without_secrets(own) | given | TELEMETRY_OFF | {
        # Where matplotlib lists the fonts, which takes it seconds, so that not each run does.
        "MPLCONFIGDIR": str(settings.cache / "matplotlib"),
        "TMPDIR": str(layout.temporary),
    }  # fmt: skip


def recorded_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a run's record names: those that may change a result, and no secret."""
    kept = {
        name: value
        for name, value in variables.items()
        if name in CLOCK or not (name in FOLDERS or name in TELEMETRY_OFF or name.startswith("DS_"))
    }
    return dict(sorted(without_secrets(kept).items()))
