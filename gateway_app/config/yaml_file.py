"""YAML as config.yaml is written: YAML's own words for yes and no, but no numbers that are none to people.

PyYAML reads `12:30` as 750 and `0123` as 83, which would be somebody else's id. Here both stay text.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Broken(Exception):
    """The text is no YAML. `reason` repeats nothing of it that could be a secret."""

    def __init__(self, reason: str, *, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Loader(Base):  # type: ignore[misc]  # chosen at run time: the C one where PyYAML has it
    """Safe, with fewer implicit types, and with an error for a key that is there twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if str(key.value) in seen and not key.tag.endswith(":merge"):
                raise Broken("a key is there twice", line=key.start_mark.line + 1)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep=deep)


def _resolve(tag: str, pattern: str, first: str) -> None:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve("bool", r"^(?:[Yy]es|YES|[Nn]o|NO|[Tt]rue|TRUE|[Ff]alse|FALSE|[Oo]n|ON|[Oo]ff|OFF)$", "yYnNtTfFoO")
_resolve("null", r"^(?:~|null|Null|NULL)$", "~nN")
_resolve("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789")
_resolve("float", r"^[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")
_resolve("merge", r"^<<$", "<")


def load(text: str) -> Any:
    """What `text` says. Raises Broken, and ValueError for a number that is too long."""
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 (a safe loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # A quoted part of one character is punctuation; a longer one may be a password.
        reason = re.sub(r"'([^']*)'", _without_words, error.problem or "it is no YAML")
        raise Broken(reason, line=mark.line + 1 if mark else 1) from None
    except yaml.YAMLError:
        raise Broken("there are characters in it that YAML does not allow", line=1) from None


def _without_words(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[1]) == 1 else "'…'"
