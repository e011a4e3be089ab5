"""YAML as policies use it, and where in it something stands.

What belongs here: reading and writing the text, and turning what pydantic says into the policy's words and lines. What
does not: what a policy is (`policy`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from ds_pipelines.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BREAKS = "\x85\u2028\u2029"
"""Line breaks to YAML alone, which PyYAML writes and does not read back."""


def dumped(content: dict[str, Any]) -> str:
    """The text that `composed` reads back."""
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=120)
    if any(rare in text for rare in _BREAKS):
        text = yaml.safe_dump(content, allow_unicode=False, sort_keys=False, width=120)
    return text


def composed(path: Path) -> tuple[yaml.Node | None, Any]:
    """A file's tree, in which each part knows its line, and its content.

    Raises:
        PolicyError: the file is missing, or no YAML as policies use it.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node else None
    except OSError as error:
        raise PolicyError(path, f"the file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise PolicyError(path, "the file is not UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        line = mark.line + 1 if mark else None
        raise PolicyError(path, f"this is not YAML as policies use it: {problem}", line=line) from None


class _Loader(yaml.SafeLoader):
    """YAML in which every decision is written out once, and words are words.

    YAML itself would silently keep the last of two equal keys, read a column `on` or `no` as a truth value, and a
    treatment that was forgotten like the treatment `null`.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {  # noqa: RUF012 — so typed by the base class
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":int", ":float"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            problem = "an alias stands for what is written elsewhere"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in node.value):
            problem = "a text holds NUL or half a surrogate pair, as no database can"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for name, _ in node.value:
            if str(name.value) in seen:
                raise yaml.MarkedYAMLError(problem=f"{name.value!r} occurs twice", problem_mark=name.start_mark)
            seen.add(str(name.value))
        return node


def words(error: Mapping[str, Any]) -> str:
    """Pydantic's message in the policy's words."""
    match error["type"]:
        case "missing":
            return "it is missing"
        case "extra_forbidden":
            return "no such key is known here"
        case "model_type" | "dict_type" | "model_attributes_type":
            return "expected a mapping of names to what they mean"
        case _:
            message = str(error["msg"]).removeprefix("Value error, ")
            return message[:1].lower() + message[1:]


def locate(node: yaml.Node | None, place: tuple[int | str, ...], *, missing: bool) -> tuple[int, str]:
    """The line of the deepest part of `place` that is written in the file, and the key there.

    Inside a treatment, pydantic's names are not those of the file: there the only key of a mapping is the one meant. A
    missing key is by nature not in the file, and is still named.
    """
    line = node.start_mark.line + 1 if node else 1
    found: list[str] = []
    for part in place:
        step: tuple[str, yaml.Node, yaml.Node] | None = None
        if isinstance(node, yaml.MappingNode):
            keys = {str(name.value): (str(name.value), name, value) for name, value in node.value}
            step = keys.get(str(part))
            if step is None and "treatment" in found and len(keys) == 1:
                [step] = keys.values()
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            step = str(part), node.value[part], node.value[part]
        if step is not None:
            name, at, node = step
            line = at.start_mark.line + 1
            found.append(name)
    if missing and place and found[-1:] != [place[-1]]:
        found.append(str(place[-1]))
    return line, ".".join(found)
