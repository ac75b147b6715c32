"""Bonuses by expression, as the command line and ``config.json`` have them: ``rnd``, ``e3b*rnd``, ``sofe(e3b)``.

Settings are a mapping of the bonus's own fields; those of a part are a mapping of their own under the part's name, with
a number behind it where the name comes twice: ``{"coef": 0.5, "e3b": {"ridge": 0.2}, "rnd": {}}`` of ``e3b*rnd``.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from purejaxrl import bonuses, discovery, intrinsic
from purejaxrl.types import SettingError, check_choice, check_settings

COMBINED = {"sum": (ast.Add, intrinsic.Sum, " + "), "product": (ast.Mult, intrinsic.Product, " * ")}
WRAPPERS = ("sofe",)
LONGEST = 10_000  # characters: over more Python's parser may end the process instead of raising


class Expression(NamedTuple):
    """A bonus of the package by its name, perhaps around another one, or a "sum" or "product" of its parts."""

    name: str
    parts: tuple[Expression, ...] = ()

    @property
    def cls(self) -> type:
        return COMBINED[self.name][1] if self.name in COMBINED else discovery.load(bonuses, self.name)

    def named_parts(self) -> dict[str, Expression]:
        """The parts by the names that their settings have."""
        return dict(zip(intrinsic.numbered([part.name for part in self.parts]), self.parts, strict=True))

    def __str__(self) -> str:
        """As Python would write it: ``E3B * RND``."""
        if self.name in COMBINED:
            # Only a sum within a product needs them: `parse` puts no sum into a sum.
            each = (f"({part})" if part.name in COMBINED else str(part) for part in self.parts)
            return COMBINED[self.name][2].join(each)
        return self.cls.__name__ + (f"({self.parts[0]})" if self.parts else "")


def parse(text: str) -> Expression | None:
    """The expression that `text` is; None for "none".

    Raises:
      SettingError: where it is none, or names a bonus that there is not, with the nearest ones.
    """
    if text == "none":
        return None
    try:
        if len(text) > LONGEST:
            raise ValueError
        return _expression(ast.parse(text.strip(), mode="eval").body)
    except SettingError:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        wanted = "write one like rnd, 'e3b*rnd', 'counts+rnd' or 'sofe(e3b)'"
        raise SettingError(f"bonus: {text[:80]!r} is none; {wanted}") from None


def _expression(node: ast.AST) -> Expression:
    if isinstance(node, ast.Name):
        check_choice(node.id.lower(), [*discovery.names(bonuses), "none"], "bonus")
        if node.id.lower() in WRAPPERS:
            raise SettingError(f"bonus: {node.id} goes around another bonus: {node.id}(e3b)")
        if node.id.lower() != "none":
            return Expression(node.id.lower())
    if isinstance(node, ast.BinOp):
        for name, (operator, *_) in COMBINED.items():
            if isinstance(node.op, operator):
                sides = [_expression(side) for side in (node.left, node.right)]
                parts = [side.parts if side.name == name else (side,) for side in sides]
                return Expression(name, parts[0] + parts[1])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
        check_choice(node.func.id.lower(), WRAPPERS, "bonus")
        return Expression(node.func.id.lower(), (_expression(node.args[0]),))
    raise ValueError


def make(expression: Expression, settings: Mapping[str, Any] | None = None, label: str = "bonus") -> Any:
    """The bonus, its settings in the place of its defaults; lists, as JSON has them, become tuples.

    Raises:
      SettingError: for an unknown setting, with the nearest ones, and for a value out of its bounds.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise SettingError(f"{label} must be settings by their names, got {settings!r}")
    own, parts = dict(settings or {}), expression.named_parts()
    made = [make(part, own.pop(key, None), f"{label}.{key}") for key, part in parts.items()]
    known = [*own_fields(expression), *parts]
    whole = discovery.construct(expression.cls, own, known, label)
    check_settings(whole, label)  # here the parts' names are known
    if expression.name in COMBINED:
        return whole.replace(parts=tuple(made))
    return whole.replace(bonus=made[0]) if made else whole


def own_fields(expression: Expression) -> dict[str, dataclasses.Field]:
    """The fields that are the bonus's own, not its parts'."""
    cls = intrinsic.Weighted if expression.parts else expression.cls
    return {field.name: field for field in dataclasses.fields(cls)}


def settings_class(expression: Expression) -> type:
    """A dataclass of all settings with their defaults, nested as the expression is, for the command line."""
    if not expression.parts:
        return expression.cls
    fields: list[Any] = [
        (field.name, field.type, dataclasses.field(default=field.default)) for field in own_fields(expression).values()
    ]
    for key, part in expression.named_parts().items():
        cls = settings_class(part)
        fields.append((key, cls, dataclasses.field(default_factory=cls)))
    return dataclasses.make_dataclass(expression.cls.__name__, fields, frozen=True)
