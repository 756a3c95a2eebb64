"""Where an exception was raised: the person's line, the part of it, its tensors."""

import ast
import linecache
import re
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from helpers.checks.own_code import files_of, line_of

# torch's warnings name the frame that called it, which is Watched
warnings.filterwarnings("ignore", module=re.escape(__name__))


class Watched(TorchFunctionMode):
    """Notes on an exception with which tensors torch was called when it was raised."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        try:
            return func(*args, **kwargs)
        except Exception as error:
            if not hasattr(error, "torch_was_given"):
                given = [*flat((*args, *kwargs.values()))]
                turned = func.__name__.startswith("__r")  # `1 - x` is x.__rsub__(1)
                error.torch_was_given = given[::-1] if turned else given
            raise


def flat(values: Iterable) -> Iterator:
    """What a call was given, lists opened."""
    for value in values:
        if isinstance(value, (tuple, list)) and not isinstance(value, torch.Size):
            yield from flat(value)
        else:
            yield value


@dataclass(frozen=True)
class Place:
    """The line of the person's at which an exception was raised.

    Attributes:
        error: the exception.
        candidate: the person's class or function.
        frame: of the function that was running, its locals as they were then; None
            where no line of the person's was.
        number: of the line.
        column: where on it the operation stands: its last line, and two columns.
        part: the frame of the course's part that this line calls and that failed.
    """

    error: BaseException
    candidate: object = None
    frame: types.FrameType | None = None
    number: int = 0
    column: tuple = ()
    part: types.FrameType | None = None

    @property
    def line(self) -> str:
        """As the person typed it: of `a` and `+ b` below it, the line of `+ b`."""
        right = getattr(self.node, "right", None) or self
        number = getattr(right, "lineno", self.number)
        return line_of(self.frame, number)

    @cached_property
    def source(self) -> str:
        """All of the cell or file."""
        file = self.frame.f_code.co_filename if self.frame else ""
        return "".join(linecache.getlines(file))

    @cached_property
    def _tree(self) -> ast.AST:
        text = self.source
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):
            return ast.Module([], [])

    @cached_property
    def statement(self) -> ast.AST | None:
        """The innermost statement around the line."""
        around = [
            node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.stmt)
            and node.lineno <= self.number <= node.end_lineno
        ]
        return around[-1] if around else None

    @cached_property
    def node(self) -> ast.AST | None:
        """The operation that failed, such as `a + b`; the statement where unknown."""
        found = None
        for node in ast.walk(self._tree):
            if isinstance(node, (ast.expr, ast.stmt)) and self.column:
                ends = (node.end_lineno, node.end_col_offset)
                # a method's name may stand lines below what it is a method of
                begins = node.lineno == self.number or isinstance(node, ast.Call)
                if begins and ends == self.column[::2]:
                    if node.col_offset == self.column[1] or node.lineno < self.number:
                        found = node
        return found or self.statement

    @cached_property
    def code(self) -> str:
        """The operation's text, spaced and quoted as Python itself would."""
        if self.node is None or hasattr(self.node, "body"):
            return self.line
        return ast.unparse(self.node)

    @cached_property
    def callee(self) -> object:
        """What was called there, where names lead to it."""
        called = isinstance(self.node, ast.Call)
        return self.value(ast.unparse(self.node.func)) if called else None

    def value(self, dotted: str) -> object:
        """What a dotted name leads to; None where it leads nowhere."""
        return self.led(dotted)[1]

    def led(self, dotted: str, until: type = ()) -> tuple[str, object]:
        """The same, with how far it was followed: to the first object of a class."""
        head, *rest = dotted.split(".")
        if self.frame is None:
            return head, None
        value = self.frame.f_locals.get(head, self.frame.f_globals.get(head))
        for attribute in rest:
            if isinstance(value, until):
                break
            try:
                value = getattr(value, attribute, None)
            except Exception:  # a property of the person's that fails
                return head, None
            head += f".{attribute}"
        return head, value

    @cached_property
    def operands(self) -> list[tuple[ast.AST, object]]:
        """What the operation was given: each thing as it is written, and its value.

        Empty where what torch was given is not what is written there.
        """
        nodes = [*_operands(self.node, self._is_module)]
        given = getattr(self.error, "torch_was_given", [])
        some = [node for node in nodes if not isinstance(node, ast.Constant)]
        tensors = [value for value in given if isinstance(value, Tensor)]
        for names, values in ((nodes, given), (some, tensors)):
            pairs = list(zip(names, values, strict=False))
            if len(names) == len(values) and all(starmap(self._fits, pairs)):
                return pairs
        return []

    def _fits(self, node: ast.AST, value: object) -> bool:
        """Whether what is written could be this value: a name leads to it."""
        if isinstance(node, ast.Constant):
            return not isinstance(value, Tensor)
        if isinstance(node, (ast.Name, ast.Attribute)):
            named = self.value(ast.unparse(node))
            return named is value or not isinstance(named, Tensor)
        return True

    def _is_module(self, node: ast.AST) -> bool:
        return isinstance(self.value(ast.unparse(node)), types.ModuleType)

    @cached_property
    def tensors(self) -> list[tuple[str, Tensor]]:
        """The tensors of the operation, or else those that the statement names."""
        known = [(short(n), x) for n, x in self.operands if isinstance(x, Tensor)]
        if isinstance(self.error, AttributeError):  # it is no tensor that lacks it
            return known or self.named(self.node)
        return known or self.named(self.node) or self.named(self.statement)

    def named(self, node: ast.AST | None) -> list[tuple[str, Tensor]]:
        """The tensors that some code names, in order: `self.W` of `self.W.T`."""
        found = {}
        for name in ast.walk(node) if node is not None else ():
            if isinstance(name, (ast.Name, ast.Attribute)):
                shown, value = self.led(ast.unparse(name), Tensor)
                if isinstance(value, Tensor):
                    found.setdefault(shown, (name.lineno, name.col_offset, value))
        order = sorted(found.items(), key=lambda item: item[1][:2])
        return [(shown, value) for shown, (*_, value) in order]


def _operands(node: ast.AST | None, is_module: Callable) -> Iterator[ast.AST]:
    """The operands of an operation, as they are written."""
    match node:
        case ast.BinOp():
            yield from (node.left, node.right)
        case ast.AugAssign():
            yield from (node.target, node.value)
        case ast.Compare():
            yield from (node.left, *node.comparators)
        case ast.UnaryOp():
            yield node.operand
        case ast.Subscript():
            yield node.value
            yield from written([node.slice])
        case ast.Call():
            if isinstance(node.func, ast.Attribute) and not is_module(node.func.value):
                yield node.func.value
            yield from written([*node.args, *(word.value for word in node.keywords)])


def written(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Expressions, lists opened."""
    for node in nodes:
        if isinstance(node, (ast.Tuple, ast.List)):
            yield from written(node.elts)
        else:
            yield node


def short(node: ast.AST) -> str:
    """An expression in a few words: `einops.einsum(...)`."""
    text = ast.unparse(node)
    if len(text) > 40 and isinstance(node, ast.Call):
        text = f"{short(node.func)}(...)"
    return text if len(text) <= 40 else text[:37] + "..."


def place_of(error: BaseException, candidate, is_part: Callable | None = None):
    """The last line of a traceback that lies in the person's own code.

    Args:
        candidate: the person's class or function.
        is_part: whether a frame is that of a part which their code only calls.
    """
    files, found, part = files_of(candidate), None, None
    trace = error.__traceback__
    while trace and part is None:
        if found and is_part and is_part(trace.tb_frame):
            part = trace.tb_frame
        elif trace.tb_frame.f_code.co_filename in files:
            found = trace
        trace = trace.tb_next
    if found is None:
        return Place(error, candidate)
    number, spots = found.tb_lineno, found.tb_frame.f_code.co_positions()
    first, last, start, end = list(spots)[found.tb_lasti // 2]
    column = (last, start, end) if first == number else ()
    return Place(error, candidate, found.tb_frame, number, column, part)


def pattern_of(node: ast.AST | None) -> str:
    """The pattern of an einsum or einops call, or ""."""
    for argument in getattr(node, "args", ()) if isinstance(node, ast.Call) else ():
        value = getattr(argument, "value", None)
        if isinstance(value, str) and "->" in value:
            return value
    return ""


def shapes(place: Place) -> str:
    """The shapes there, with the axes' names where a pattern tells them."""
    told = _axes(place)
    if told:
        return told
    named = {short(node): node for node, _ in place.operands}
    said = []
    for name, tensor in place.tensors:
        made = pattern_of(node := named.get(name)).split("->")[-1]
        if made and place.value(ast.unparse(node.func)) is torch.einsum:
            made = " ".join(made.replace(" ", ""))
        said.append(_shape(name, tensor, made))
    owner = getattr(place.error, "obj", None)
    if isinstance(owner, (int, float)) and isinstance(place.node, ast.Attribute):
        said.append(f"`{short(place.node.value)}` is {owner}")
    layer = place.callee
    of_torch = type(layer).__module__.startswith("torch.nn")
    if isinstance(layer, torch.nn.Module) and of_torch and "\n" not in str(layer):
        said.append(f"`{short(place.node.func)}` is {layer}")
    return ", ".join(dict.fromkeys(said))


def _shape(name: str, tensor: Tensor, side: str) -> str:
    """A tensor's shape; with its axes' names, where a side of a pattern tells them."""
    axes = side.split()
    if not axes or len(axes) != tensor.ndim or set(side) & {*"(.)"}:
        return f"`{name}` has shape {list(tensor.shape)}"
    sizes = zip(axes, tensor.shape, strict=True)
    return f"`{name}` is [{', '.join(f'{axis} {size}' for axis, size in sizes)}]"


def sides(place: Place) -> list[tuple[str, str, Tensor]]:
    """For a call with a pattern: each tensor's axes in it, its name, the tensor."""
    left = pattern_of(place.node).split("->")[0].split(",")
    operands = [a for a in written(place.node.args) if not isinstance(a, ast.Constant)]
    if len(left) != len(operands):
        return []
    given = getattr(place.error, "torch_was_given", [])
    given = [value for value in given if isinstance(value, Tensor)]
    if len(given) != len(operands):
        given = [place.value(ast.unparse(a)) for a in operands]
    found = zip(left, map(short, operands), given, strict=True)
    return [one for one in found if isinstance(one[2], Tensor)]


def _axes(place: Place) -> str:
    """For a call with a pattern: its axis names with their sizes."""
    if not pattern_of(place.node):
        return ""
    letters = place.callee is torch.einsum
    told, sizes = [], {}
    for side, name, tensor in sides(place):
        side = " ".join(side.replace(" ", "")) if letters else side
        axes = side.split()
        if set(side) & {*"(.)"}:
            told.append(f"`{name}` has shape {list(tensor.shape)}")
        elif len(axes) != tensor.ndim:
            count = f"names {len(axes)} axes of `{name}`, which has {tensor.ndim}"
            told.append(f"the pattern {count}: {list(tensor.shape)}")
        else:
            told.append(_shape(name, tensor, side))
            for axis, size in zip(axes, tensor.shape, strict=True):
                sizes.setdefault(axis, {}).setdefault(size, name)
    for axis, found in sizes.items():
        if len(found) > 1 and axis != "1":
            both = " and ".join(f"{size} in `{of}`" for size, of in found.items())
            told.append(f"so `{axis}` is {both}")
    return ", ".join(told)
