"""JupyterLab as a service: on the experiments folder, with `lab` ready in every notebook, behind a token.

What belongs here: how it is started, its token's file and its address. What does not: supervising it, or running
notebooks as experiments, which is the lab's.

It is there only where the extra `jupyter` is installed. Whoever has the token runs code as this account: the file is
readable by its owner only, and neither the arguments nor the variables of a process hold what is in it.
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ds_pipelines.settings import scrubbed_environment

if TYPE_CHECKING:
    from pathlib import Path

    from ds_pipelines.settings import Settings

STARTUP = '''"""Every notebook begins with `lab` and `%%experiment`; `ds-pipelines up` writes this anew."""
from ds_pipelines import lab
get_ipython().run_line_magic("load_ext", "ds_pipelines.lab")
'''


def installed() -> bool:
    """Whether the extra is."""
    return find_spec("jupyterlab") is not None


def token_file(settings: Settings) -> Path:
    """Where the token is."""
    return settings.secrets / "jupyter.token"


def ensure_token(settings: Settings) -> Path:
    """The token's file, made at first use; safe with several processes at once."""
    path = token_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
    return path


def command(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """The program's arguments and its whole environment."""
    folder = settings.home / "jupyter"
    startup = folder / "ipython" / "profile_default" / "startup" / "00-lab.py"
    startup.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    startup.write_text(STARTUP)
    settings.experiments.mkdir(parents=True, exist_ok=True)
    variables = scrubbed_environment(
        **settings.as_environment(),
        JUPYTER_TOKEN_FILE=str(ensure_token(settings)),
        JUPYTER_CONFIG_DIR=str(folder / "config"),
        JUPYTER_DATA_DIR=str(folder / "data"),
        JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
        IPYTHONDIR=str(folder / "ipython"),
    )
    variables.pop("DS_DAGSTER_URL", None)
    variables.pop("JUPYTER_TOKEN", None)  # of another server, from which this one may have been started
    options = {
        "ServerApp.ip": settings.host,
        "ServerApp.port": settings.jupyter_port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": settings.experiments,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "LabApp.news_url": "None",
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "jupyterlab", *arguments], variables


def address(settings: Settings) -> str:
    """Where people open it, and what they are asked for."""
    return f"http://{settings.host}:{settings.jupyter_port}/lab, whose token is in {token_file(settings)}"
