"""The arguments of a tool call: from the text that a model wrote to values that fit the tool's schema.

Models write "5" for 5, one thing where a list belongs, and JSON in a string where an object does. What is meant is
plain, so it is taken; what is not gets an answer that says what the tool wants.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import UnknownType
from referencing import Registry as References
from referencing.exceptions import Unresolvable

from .model_reply import storable
from .tool_error import ToolError

DEEPEST = 20
"""Levels that are looked into; no tool's arguments are deeper, and a schema may refer to itself."""
MOST_PROBLEMS = 5
"""Problems that one answer names."""
LONGEST_QUOTE = 200
"""Characters of what the model wrote that are quoted to it."""
LONGEST_SCHEMA = 3_000
"""Characters of a schema that go with an error."""
WHOLE = re.compile(r"[+-]?\d{1,30}")
NO_REFERENCES: References[Any] = References()
"""A schema's references stay inside of it: nothing is fetched from an address that a tool's server names."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a handler gets, and what the model is told about what it wrote."""

    values: dict[str, Any]
    notes: tuple[str, ...] = ()


def read(text: str, *, schema: Mapping[str, Any]) -> Arguments:
    """The arguments in `text`. Raises `ToolError`, which says what was found and what the tool wants."""
    try:
        values = _decoded(text)
        if not isinstance(values, dict):
            raise ToolError(f"The arguments are {_kind(values)}; they must be a JSON object. {_wanted(schema)}")
        reader = _Reader(schema)
        values = reader.fit(values, schema)
        if missing := [name for name in schema.get("required", ()) if name not in values]:
            raise ToolError(f"Missing: {', '.join(missing)}. {_wanted(schema)}")
        problems = [
            f"{'.'.join(map(str, problem.absolute_path)) or 'the arguments'}: {_short(problem.message)}"
            for problem, _ in zip(_validator(schema).iter_errors(values), range(MOST_PROBLEMS), strict=False)
        ]
    except RecursionError:
        raise ToolError("The arguments are nested too deeply.") from None
    except (Unresolvable, UnknownType, re.error):  # of a server's tool; ours have schemas that hold together
        raise ToolError("The tool's own schema cannot be followed. Call it without the arguments in doubt.") from None
    if problems:
        raise ToolError(f"The arguments do not fit. {'; '.join(problems)}. {_wanted(schema)}")
    return Arguments(values, tuple(reader.notes))


def _decoded(text: str) -> Any:
    try:
        values = json.loads(text or "{}", parse_constant=_no_constant)
        if isinstance(values, str):  # encoded twice
            values = json.loads(values, parse_constant=_no_constant)
    except ValueError as failure:
        raise ToolError(f"The arguments are not JSON ({_short(str(failure))}): {_short(text)}") from None
    return _cleaned(values) if "\\u" in text else values


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number that JSON has")


def _cleaned(value: Any) -> Any:
    """`value` without what no database column takes; JSON's escapes may have brought it in."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {storable(name): _cleaned(item) for name, item in value.items()}
    return value


class _Reader:
    """Fits values to one schema, and notes what it left out."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self.notes: list[str] = []

    def fit(self, value: Any, schema: Any, depth: int = 0) -> Any:
        """`value` as `schema` wants it, as far as it is plain what was meant."""
        schema = self._followed(schema)
        if not isinstance(schema, Mapping) or depth > DEEPEST:
            return value
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return self._fit_one_of(value, branches, depth)
        kinds = schema.get("type")
        if kinds:
            value = _converted(value, [kinds] if isinstance(kinds, str) else list(kinds))
        if isinstance(value, dict):
            return self._fit_object(value, schema, depth)
        if isinstance(value, list) and "items" in schema:
            return [self.fit(item, schema["items"], depth + 1) for item in value]
        return value

    def _fit_object(self, value: dict[str, Any], schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        found: dict[str, Any] = {}
        unknown: list[str] = []
        for name, item in value.items():
            if name not in properties:
                if schema.get("additionalProperties") is False and not schema.get("patternProperties"):
                    unknown.append(name)
                else:
                    found[name] = item
            elif item is None and name not in schema.get("required", ()) and not self._takes(None, properties[name]):
                continue  # models say null for what they leave out
            else:
                found[name] = self.fit(item, properties[name], depth + 1)
        if unknown:
            names = ", ".join(name[:40] for name in unknown[:10])
            self.notes.append(
                f"[Left out, since the tool does not know it: {names}. It knows: {', '.join(properties)}.]"
            )
        return found

    def _fit_one_of(self, value: Any, branches: Any, depth: int) -> Any:
        if any(self._takes(value, branch) for branch in branches):
            return value
        for branch in branches:
            other = _Reader(self._root)
            fitted = other.fit(value, branch, depth + 1)
            if self._takes(fitted, branch):
                self.notes += other.notes
                return fitted
        return value

    def _takes(self, value: Any, schema: Any) -> bool:
        if not isinstance(schema, Mapping):
            return schema is not False
        shared = {name: self._root[name] for name in ("$defs", "definitions") if name in self._root}
        return bool(_validator({**shared, **schema}).is_valid(value))

    def _followed(self, schema: Any) -> Any:
        """`schema`, or what it refers to within the whole."""
        for _ in range(DEEPEST):
            reference = schema.get("$ref") if isinstance(schema, Mapping) else None
            if not isinstance(reference, str) or not reference.startswith("#/"):
                return schema
            schema = self._root
            for name in reference[2:].split("/"):
                schema = schema.get(name) if isinstance(schema, Mapping) else None
        return schema


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, registry=NO_REFERENCES)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


IS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}


def _converted(value: Any, kinds: list[str]) -> Any:
    if any(kind in IS and IS[kind](value) for kind in kinds):
        return value
    for kind in kinds:
        found = _as(kind, value)
        if found is not None:
            return found
    return value


def _as(kind: str, value: Any) -> Any:
    """`value` as a `kind` where that is plain; else None."""
    match kind, value:
        case "integer", float() if value.is_integer():
            return int(value)
        case "integer" | "number", str() if WHOLE.fullmatch(value.strip()):
            return int(value)
        case "integer" | "number", str():
            number = _number(value)
            if kind == "number" or number is None:
                return number
            return int(number) if number.is_integer() else None
        case "boolean", str() if value.strip().lower() in ("true", "false"):
            return value.strip().lower() == "true"
        case "string", int() | float() if not isinstance(value, bool):
            return json.dumps(value)
        case "object", str():
            return _inner(value, dict)
        case "array", str():
            found = _inner(value, list)
            return [value] if found is None else found
        case "array", _ if value is not None:
            return [value]
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _inner(text: str, wanted: type) -> Any:
    """The JSON in a text, if it is of the wanted type."""
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return None
    return _cleaned(found) if isinstance(found, wanted) else None


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}… ({len(text):,} characters)"


def _wanted(schema: Mapping[str, Any]) -> str:
    text = json.dumps(schema, ensure_ascii=False)
    return f"The tool's schema: {text if len(text) <= LONGEST_SCHEMA else text[:LONGEST_SCHEMA] + '…'}"
