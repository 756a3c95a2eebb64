"""An exception in somebody's code, told with their own line and the shapes there."""

import inspect
import linecache
import re

from torch import Tensor

from helpers.checks.guard import functions_of
from helpers.checks.observe import own_frame
from helpers.checks.report import Mistake


def files_of(candidate) -> set[str]:
    """The files or notebook cells in which a class or function was written."""
    files = {f.__code__.co_filename for f in functions_of(candidate)}
    # helper functions of the same notebook count as the person's own code too
    for function in functions_of(candidate):
        for value in list(function.__globals__.values()):
            if inspect.isfunction(value) or isinstance(value, type):
                if getattr(value, "__module__", None) == function.__module__:
                    files |= {f.__code__.co_filename for f in functions_of(value)}
    return files


def line_of(frame, number: int) -> str:
    """The text of a line, as the person typed it."""
    return linecache.getline(frame.f_code.co_filename, number).strip()


def describe(error: BaseException, candidate, where: str = "") -> Mistake:
    """What crashed, on which line, with which shapes, and the usual cause."""
    found = own_frame(error, files_of(candidate))
    text = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {text[0] if text else ''}".rstrip(": ")
    name, cause = _usual_cause(error, said, found)
    line, shapes = None, ""
    if found:
        frame, number = found
        line = line_of(frame, number)
        shapes = _shapes(frame, line)
    message = f"Your code stops{where} with {said[:300]}"
    message += "" if message.endswith(".") else "."
    if shapes:
        message += f" There, {shapes}."
    return Mistake(name, message, cause, line=line)


def _shapes(frame, line: str) -> str:
    """The shapes of the tensors that a line names: `x` is [2, 7, 24], ..."""
    names = re.findall(r"[A-Za-z_][\w.]*", line)
    told = []
    for name in dict.fromkeys(names):
        head, *rest = name.split(".")
        value = frame.f_locals.get(head, frame.f_globals.get(head))
        while isinstance(value, object) and rest and not isinstance(value, Tensor):
            value = getattr(value, rest.pop(0), None)
        shown = name if not rest else name[: -len("." + ".".join(rest))]
        if isinstance(value, Tensor):
            told.append(f"`{shown}` has shape {list(value.shape)}")
    return ", ".join(dict.fromkeys(told))


def _usual_cause(error: BaseException, said: str, found) -> tuple[str, str]:
    """A slug and the usual cause, by what Python, torch or einops said."""
    for name, kind, pattern, cause in _CAUSES:
        if isinstance(error, kind) and re.search(pattern, said, re.S):
            return name, cause
    return "crash", "read the line from right to left, and print shapes before it"


# name, exception, what it said, usual cause; the first that fits is told
_CAUSES = [
    (
        "no-super-init",
        AttributeError,
        r"cannot assign (parameters?|module|buffer).* before .*__init__",
        "call `super().__init__()` first: it makes the places where nn.Module keeps "
        "parameters, buffers and submodules",
    ),
    (
        "init-argument",
        TypeError,
        r"__init__\(\) (takes|missing|got)",
        "`__init__(self, cfg)` takes one argument beside self, the Config",
    ),
    (
        "forward-argument",
        TypeError,
        r"forward\(\) (takes|missing|got)",
        "`forward` takes self and one tensor",
    ),
    (
        "missing-self",
        TypeError,
        r"takes \d+ positional arguments? but \d+ (was|were) given",
        "count the arguments; a method needs `self` first",
    ),
    (
        "no-such-attribute",
        AttributeError,
        r"object has no attribute",
        "look at the spelling, capitals included, and whether `__init__` makes it; a "
        "class that is defined again loses the methods of the earlier one",
    ),
    (
        "undefined-name",
        (NameError, UnboundLocalError),
        r"",
        "give it a value first, or check the spelling: `self.` in front of your own "
        "parameters, `self.cfg` for the sizes, and an import for library names",
    ),
    (
        "sqrt-of-a-number",
        TypeError,
        r"sqrt\(\): argument 'input'.*must be Tensor, not (int|float)",
        "`torch.sqrt` takes a tensor; for a plain number use `math.sqrt(n)` or "
        "`n ** 0.5`",
    ),
    (
        "integers-in-a-product",
        RuntimeError,
        r"same dtype.*\blong\b|expected scalar type Long",
        "token ids and one-hot vectors are integers: ids are for looking up, "
        "`table[ids]`, and a one-hot vector is multiplied after `.float()`",
    ),
    (
        "index-not-whole",
        (IndexError, RuntimeError),
        r"tensors used as indices must be|argument #1 'indices'",
        "an index must be whole numbers (`long`), as token ids are: look for a "
        "`.float()` in front of it",
    ),
    (
        "index-beyond-the-table",
        IndexError,
        r"is out of bounds for dimension|index out of range in self",
        "the index is larger than the table has rows: d_vocab in W_E, n_ctx in W_pos; "
        "print the index, and ask whether it counts what the table's rows stand for",
    ),
    (
        "shape-for-a-number",
        TypeError,
        r"slice indices must be integers|must be Number, not Tensor|arange\(\)",
        "one number is needed here: `x.shape` is a pair and `x.shape[1]` a number",
    ),
    (
        "unpacks-another-count",
        ValueError,
        r"values to unpack",
        "give every axis one name: `batch, position = tokens.shape` has two, an "
        "activation has three",
    ),
    (
        "calls-a-tensor",
        TypeError,
        r"'(Parameter|Tensor)' object is not callable",
        "square brackets look up, `W[ids]`; round ones call a function or a module",
    ),
    (
        "reduced-axis-dropped",
        RuntimeError,
        r"The size of tensor a \(\d+\) must match the size of tensor b",
        "two shapes do not broadcast; after a mean or sum, `keepdim=True` keeps the "
        "reduced axis as size 1",
    ),
    (
        "einsum-pattern",
        Exception,
        r"(?i)einsum|einops|Shape mismatch|pattern|expression",
        "name every axis of every tensor, in the order that the tensors have; the "
        "pattern comes last in einops.einsum and first in torch.einsum",
    ),
    (
        "matmul-shapes",
        RuntimeError,
        r"mat1 and mat2|batch2|size mismatch|Expected size",
        "in `a @ b` the last axis of a must be the second to last of b",
    ),
    (
        "wrong-dtype",
        (RuntimeError, IndexError),
        r"dtype|scalar type|tensors used as indices|Long|Float|Double",
        "token ids are integers (`long`), everything else here is float32",
    ),
    (
        "in-place-on-a-leaf",
        RuntimeError,
        r"in-place operation|modified by an inplace",
        "make a new tensor instead of writing into an old one: `x = x - mean`, not "
        "`x -= mean`",
    ),
    (
        "wrong-device",
        (RuntimeError, AssertionError),
        r"(?i)cuda|device",
        "do not name a device in `forward`; make new tensors with `device=x.device`",
    ),
    (
        "list-of-modules",
        (TypeError, NotImplementedError),
        r"'(list|tuple|ModuleList)' object is not callable|ModuleList",
        "loop over the list and call each module in turn",
    ),
]
