"""Noticing what a script imports: helpers of its own, which are kept, and libraries in which something is noticed.

What belongs here: seeing an import as it happens, and keeping a helper as it was then. What does not: what is noticed
in a library (seeds.py, autolog.py, shown.py).
"""

from __future__ import annotations

import hashlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from ds_pipelines.lab.notes import Notes

    Act = Callable[[ModuleType], None]

LARGEST = 4 << 20
"""Bytes of a helper that is kept; more is data in the form of Python."""
FOREIGN = ("site-packages", "dist-packages")
"""Folders in which a module is nobody's helper, wherever they lie."""


class Watch(MetaPathFinder):
    """While it is open: keeps the helpers that are imported, and acts on libraries once they are."""

    def __init__(self, bases: Sequence[str], notes: Notes) -> None:
        """Prepares.

        Args:
            bases: Folders below which a module is a helper; its path is kept relative to the first that holds it.
            notes: Where helpers are kept, as `code/<path>`.
        """
        self._bases = [Path(base) for base in bases]
        self._notes = notes
        self._acts: dict[str, list[Act]] = {}
        self._local: set[str] = set()

    def after(self, module: str, act: Act) -> None:
        """Acts on a library once it is imported; at once, if it is."""
        if module in sys.modules:
            act(sys.modules[module])
        else:
            self._acts.setdefault(module, []).append(act)

    def __enter__(self) -> Self:
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,  # noqa: ARG002 - Python passes it
    ) -> ModuleSpec | None:
        """Python asks at each import; the answer is the others', with what follows from it added."""
        self._keep_helper(fullname, path)
        acts = self._acts.pop(fullname, None)
        if acts is None:
            return None
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, acts)
        return spec

    def _keep_helper(self, name: str, path: Sequence[str] | None) -> None:
        last = name.rpartition(".")[2]
        if path is not None and name.partition(".")[0] not in self._local:
            return
        for folder in self._ours(sys.path if path is None else path):
            for file in (folder / last / "__init__.py", folder / f"{last}.py"):
                if file.is_file():
                    self._local.add(name.partition(".")[0])
                    self._keep(file)
                    return
            if (folder / last).is_dir():  # a package without __init__.py
                self._local.add(name.partition(".")[0])

    def _ours(self, path: Sequence[str]) -> list[Path]:
        folders = [Path(entry) for entry in path if not set(FOREIGN) & set(Path(entry).parts)]
        return [folder for folder in folders if any(folder.is_relative_to(base) for base in self._bases)]

    def _keep(self, file: Path) -> None:
        base = next(base for base in self._bases if file.is_relative_to(base))
        place = file.relative_to(base).as_posix()
        if file.stat().st_size > LARGEST:
            return
        content = file.read_bytes()
        self._notes.keep(f"code/{place}", content)
        self._notes.write("helper", path=place, sha256=hashlib.sha256(content).hexdigest())


class _Then(Loader):
    """A loader that acts on the module after the real one has executed it."""

    def __init__(self, loader: Loader, acts: Sequence[Act]) -> None:
        self._loader, self._acts = loader, acts

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        for act in self._acts:
            act(module)

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)
