"""Mistakes in a spec, each with the line that it is in and what to do about it."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakeline.errors import SpecError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from lakeline.data.consistency import Flaw

JsonSchema = Mapping[str, Any]
_LONGEST_SHOWN = 200


@dataclass(frozen=True, order=True)
class Mistake:
    """One mistake: the file and line (from 1) it is in, the field (dotted) and what is wrong."""

    file: str
    line: int
    field: str
    text: str

    def __str__(self) -> str:
        """Say it in one line, in the way that editors and terminals can jump to."""
        return f"{self.file} line {self.line}: {self.field + ': ' if self.field else ''}{self.text}"


class SpecMistakes(SpecError):
    """A spec with mistakes, all of them."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))

    def __reduce__(self) -> tuple[type[SpecMistakes], tuple[tuple[Mistake, ...]]]:
        """Survive the way from one process to another."""
        return SpecMistakes, (self.mistakes,)

    def to_dict(self) -> list[dict[str, Any]]:
        """Mistakes for `--json`."""
        return [asdict(mistake) for mistake in self.mistakes]


class Lines:
    """Where the fields of a YAML text are."""

    def __init__(self, text: str) -> None:
        from ruamel.yaml import YAML

        self._root = YAML(typ="safe", pure=True).compose(text)

    def find(self, path: Sequence[str | int]) -> tuple[int, tuple[str | int, ...]]:
        """Find the line of a field, or of the nearest part around it that is there.

        Returns
        -------
        tuple
            The line, from 1, and the steps of `path` that are in the text.
        """
        from ruamel.yaml import MappingNode, SequenceNode

        node, line, found = self._root, 1, list[str | int]()
        for step in path:
            if isinstance(node, MappingNode):
                pair = next(((key, value) for key, value in node.value if key.value == str(step)), None)
                if pair is None:
                    break
                line, node = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
            found.append(step)
        return line, tuple(found)

    def item(self, path: Sequence[str | int], value: str) -> int:
        """Line of the item `value` of the list (or mapping of lists) at `path`, else of `path` itself."""
        line, found = self.find(path)
        node = self._root
        for step in found:
            pairs: dict[str | int, Any] = (
                {key.value: item for key, item in node.value} if isinstance(step, str) else dict(enumerate(node.value))
            )
            node = pairs[step]
        return next((scalar.start_mark.line + 1 for scalar in _scalars(node) if scalar.value == value), line)


def _scalars(node: Any) -> Iterator[Any]:
    if isinstance(node.value, str):
        yield node
    else:
        for child in node.value:
            for part in child if isinstance(child, tuple) else (child,):
                yield from _scalars(part)


def syntax_mistake(error: Exception, text: str, origin: str) -> Mistake:
    """Explain what the YAML parser stumbled over."""
    mark, at = getattr(error, "problem_mark", None), getattr(error, "position", None)
    line = mark.line + 1 if mark else text.count("\n", 0, at) + 1 if isinstance(at, int) else 1
    if isinstance(error, RecursionError):
        return Mistake(origin, line, "", "nested too deep")
    said = (str(getattr(error, "problem", None) or error) or type(error).__name__).splitlines()[0]
    hint = " (indent with spaces)" if "'\\t'" in said else ""
    return Mistake(origin, line, "", f"not valid YAML: {said}{hint}")


def spec_mistakes(error: ValidationError, text: str, schema: JsonSchema, origin: str) -> list[Mistake]:
    """Explain what pydantic refused.

    Parameters
    ----------
    error
        What validating the spec raised.
    text
        The YAML text.
    schema
        JSON Schema of the spec, for the keys that would have been right.
    origin
        Name of the file, for the reader.

    Returns
    -------
    list of Mistake
        One a field. Of a part with a mistake in it, what pydantic says of the part as a whole is left out, for it follows from that one:
        a list of which no item is right is "too short" as well.
    """
    lines = Lines(text)
    found: defaultdict[tuple[str | int, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for one in error.errors(include_url=False):
        path = _walk(schema, one["loc"])[0]
        if one["type"] == "invalid_key" and path and path[-1] == "None":
            path = (*path[:-1], "null")  # as YAML spells it
        found[path].append(one)
    around = {path[:length] for path in found for length in range(len(path))}
    mistakes: list[Mistake] = []
    for path, errors in found.items():
        if path in around:
            continue
        first = errors[0]
        if first["type"] == "flaws":
            mistakes += flaw_mistakes(first["ctx"]["flaws"], lines, origin)
        elif first["type"] == "value_error":
            mistakes += _own(first["msg"].removeprefix("Value error, "), path, lines, origin)
        else:
            mistakes.append(Mistake(origin, lines.find(path)[0], _dotted(path), _explain(errors, schema)))
    return mistakes


def flaw_mistakes(flaws: Iterable[Flaw], lines: Lines, origin: str) -> list[Mistake]:
    """Say where flaws are in the text."""
    return [
        Mistake(
            origin,
            lines.find(flaw.path)[0] if flaw.item is None else lines.item(flaw.path, flaw.item),
            _dotted(flaw.path),
            flaw.text,
        )
        for flaw in flaws
    ]


def _own(message: str, path: tuple[str | int, ...], lines: Lines, origin: str) -> Iterator[Mistake]:
    """Say what a part's own check says, which may begin with the field that it is about."""
    where, _, rest = message.partition(": ")
    steps = (*path, where) if rest and re.fullmatch(r"\w+", where) else path
    yield Mistake(origin, lines.find(steps)[0], _dotted(steps), rest if len(steps) > len(path) else message)


_SCALARS = {"str": "text", "float": "a number", "int": "a whole number", "bool": "true or false"}
_SHAPES = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), "a mapping of keys to values"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    "string_type": "text",
}


def _explain(errors: Sequence[Mapping[str, Any]], schema: JsonSchema) -> str:
    """Explain what pydantic says of a field, once for each variant that a value of it may be."""
    one = errors[0]
    kind, context, value = one["type"], one.get("ctx", {}), one.get("input")
    if value is None and kind != "missing" and kind not in {"extra_forbidden", "invalid_key"}:
        return "has no value. Give it one, or leave the key out"
    variants = [str(each["loc"][-1]) for each in errors]
    if len(errors) > 1 and set(variants) <= set(_SCALARS):
        may = [_SCALARS[name] for name in _SCALARS if name in variants and not (name == "int" and "float" in variants)]
        return f"should be {', '.join(may[:-1])} or {may[-1]}{_shown(value)}"
    if kind in _SHAPES:
        return f"should be {_SHAPES[kind]}{_shown(value)}"
    match kind:
        case "missing":
            text = "is missing"
        case "extra_forbidden":
            key, known = str(one["loc"][-1]), _walk(schema, one["loc"][:-1])[1]
            text = f"there is no such key{did_you_mean(key, known) or ('. There are: ' + ', '.join(known) if known else '')}"
        case "invalid_key":
            text = "a key is text: put it in quotes"
        case "literal_error" | "union_tag_invalid":
            expected = str(context.get("expected") or context.get("expected_tags"))
            wrong = str(context.get("tag", value))
            hint = did_you_mean(wrong, re.findall(r"'([^']+)'", expected))
            text = f"{wrong!r} is not one of {expected}{hint}"
        case "too_short":
            text = "is empty: give at least one"
        case "union_tag_not_found":
            text = f"{str(context['discriminator']).strip(chr(39))} is missing: it says which variant this is"
        case _:
            text = f"{str(one['msg'])[:1].lower()}{str(one['msg'])[1:]}{_shown(value)}"
    return text


def _shown(value: Any) -> str:
    """A value as YAML has it, in brackets."""
    if isinstance(value, dt.date):
        return f" (it is the date {value}; in quotes it is text)"
    if isinstance(value, (dict, list)):
        return f" (it is a {'mapping' if isinstance(value, dict) else 'list'})"
    try:
        text = {"True": "true", "False": "false"}.get(repr(value), repr(value))
    except ValueError:  # a number of more digits than Python writes
        text = "a very large number"
    return f" (it is {text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + '…'})"


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Suggest the known word that is most like `word`: ". Did you mean 'x'?", or nothing if none is."""
    close = difflib.get_close_matches(word, known, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _walk(schema: JsonSchema, location: Sequence[str | int]) -> tuple[tuple[str | int, ...], list[str]]:
    """Follow where pydantic says a mistake is, leaving out the steps that only name a variant of a union.

    Returns
    -------
    tuple
        The steps through the spec itself, and the keys that the part they lead to may have.
    """
    node, path = _resolve(schema, schema), list[str | int]()
    for step in location:
        variants = [_resolve(variant, schema) for variant in node.get("oneOf") or node.get("anyOf") or ()]
        if variants and step in {"value", *_SCALARS}:  # "value" is our own name of what a parameter is fixed at
            continue
        if variants:
            mapping = node.get("discriminator", {}).get("mapping", {})
            named = next((v for v in variants if str(v.get("title", "")).lower() == str(step).lower()), None)
            if step in mapping or named:
                node = _resolve({"$ref": mapping[step]}, schema) if step in mapping else named or {}
                continue
            node = next((v for v in variants if v.get("type") == ("array" if isinstance(step, int) else "object")), {})
            if not node:
                continue
        if step == "[key]":
            continue
        child = node.get("items") if isinstance(step, int) else node.get("properties", {}).get(step, node.get("additionalProperties"))
        node = _resolve(child, schema)
        path.append(step)
    return tuple(path), list(node.get("properties", ()))


def _resolve(node: Any, schema: JsonSchema) -> JsonSchema:
    while isinstance(node, Mapping) and "$ref" in node:
        node = schema["$defs"][str(node["$ref"]).rsplit("/", 1)[-1]]
    return node if isinstance(node, Mapping) else {}


def _dotted(path: Sequence[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step if step.isprintable() else repr(step)}" for step in path).lstrip(".")
