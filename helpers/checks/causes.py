"""Usual causes of an exception, by what Python, torch or einops said.

Each is shown in every exercise, so none speaks of a single one.
"""

NO_INIT = (
    "the class has no `__init__` of its own; a class that is defined again forgets "
    "the earlier one, so keep `__init__` and `forward` in one cell"
)

# name, exception, what it said, usual cause; the first that fits is told
CAUSES = [
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
        "`forward` takes self, and then what the exercise's docstring lists: no more "
        "and no fewer",
    ),
    (
        "config-for-a-number",
        TypeError,
        r"(not|got|and|in|for|instances of|,|\(|:) *'?(\w+\.)*Config\b|"
        r"'Config' object is not (subscriptable|iterable|callable)",
        "`cfg` is the Config, an object that holds every size; a number is one of its "
        "fields: `cfg.d_model`",
    ),
    (
        "no-such-field",
        AttributeError,
        r"'Config' object has no attribute",
        "a Config has d_model, n_heads, d_head, d_mlp, d_vocab, n_ctx, n_layers, "
        "layer_norm_eps and init_range",
    ),
    (
        "number-of-arguments",
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
        "parameters, `self.cfg` for the sizes, and an import for library names; after "
        "a restart all names are gone: run the cells above",
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
        "the index is larger than that axis has places: print the index and the shape, "
        "and ask whether the one counts what the other stands for",
    ),
    (
        "padding-as-a-target",
        IndexError,
        r"Target -100 is out of bounds",
        "-100 says that a position has no target, as on padding: `F.cross_entropy` "
        "leaves it out with `ignore_index=-100`, which it does by itself",
    ),
    (
        "target-out-of-bounds",
        IndexError,
        r"Target -?\d+ is out of bounds",
        "a target says which of a row's logits is right: from 0 to d_vocab − 1. Print "
        "the targets and the logits' shape",
    ),
    (
        "not-contiguous",
        RuntimeError,
        r"view size is not compatible",
        "a slice or a transposed tensor does not lie in one piece, as `view` wants it: "
        "`reshape` takes it, and copies where it has to",
    ),
    (
        "shape-for-a-number",
        TypeError,
        r"slice indices must be integers|only integer tensors of a single element|"
        r"must be Number, not Tensor|arange\(\)",
        "one number is needed here: `x.shape` is a pair and `x.shape[1]` a number",
    ),
    (
        "unpacks-another-count",
        ValueError,
        r"values to unpack",
        "give every axis one name: print the shape, and count",
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
        "shapes-do-not-broadcast",
        RuntimeError,
        r"The size of tensor a \(\d+\) must match the size of tensor b",
        "shapes are lined up from the last axis: on each, the sizes must be equal or "
        "one of them 1; print both before this line",
    ),
    (
        "argument-order",
        (RuntimeError, TypeError),
        r"Tensor type unknown to einops <class 'str'>|einsum\(\): the first argument",
        "einops takes the tensors first and the pattern after them; torch.einsum takes "
        "the pattern first",
    ),
    (
        "reduce-without-how",
        TypeError,
        r"reduce\(\) missing .*'reduction'",
        'einops.reduce takes three things: the tensor, the pattern, and how: `"mean"`',
    ),
    (
        "einsum-names-too-long",
        RuntimeError,
        r"einsum\(\): (invalid subscript|expected subscript|the number of subscripts)",
        "torch.einsum takes one letter for each axis, without spaces; "
        "`einops.einsum` takes whole words",
    ),
    (
        "mask-taken-for-numbers",
        (NotImplementedError, RuntimeError),
        r"not implemented for 'Bool'|with a bool tensor is not supported",
        "a mask of True and False is here where numbers should be: "
        "`x.masked_fill(mask, value)` fills x where it is True; go on with what that "
        "returns",
    ),
    (
        "softmax-without-an-axis",
        TypeError,
        r"softmax\(\) (received an invalid combination|missing)",
        "say which axis should sum to 1: `dim=-1`",
    ),
    (
        "unknown-argument",
        TypeError,
        r"got an unexpected keyword argument",
        "look at the spelling of the argument: `dim=` and `keepdim=` in torch",
    ),
    (
        "counts-from-0",
        IndexError,
        r"list index out of range|index \d+ is out of range",
        "places are counted from 0: the last of n is n − 1",
    ),
    (
        "no-such-axis",
        IndexError,
        r"Dimension out of range|tuple index out of range",
        "axes are counted from 0, so that two of them are 0 and 1; −1 is the last, "
        "whatever their count",
    ),
    (
        "one-number-wanted",
        (ValueError, TypeError, RuntimeError),
        r"only (one|single)[- ]element tensors? can be converted|only length-1 arrays|"
        r"a Tensor with \d+ elements cannot be converted to Scalar|"
        r"Boolean value of Tensor with more than one value",
        "Python's `math`, `if` and `float` take one number; a whole tensor needs "
        "torch's functions, such as `torch.sqrt(x)` and `torch.where`",
    ),
    (
        "numpy-knows-no-gradient",
        (RuntimeError, TypeError),
        r"Can't call numpy\(\)|can't convert .* to numpy",
        "numpy knows no gradients: torch has a function of the same name",
    ),
    (
        "size-not-told",
        Exception,
        r"Could not infer sizes",
        "brackets make one axis of several, and its size alone does not tell theirs: "
        "name one, as in `n_heads=n_heads`",
    ),
    (
        "einsum-pattern",
        Exception,
        r"(?i)einsum|einops|Shape mismatch|pattern|expression",
        "name every axis of every tensor, in the order that the tensors have; the "
        "pattern comes last in einops.einsum and first in torch.einsum",
    ),
    (
        "not-probabilities",
        RuntimeError,
        r"probability tensor contains",
        "`torch.multinomial` takes probabilities: softmax the logits first",
    ),
    (
        "k-too-large",
        RuntimeError,
        r"selected index k out of range",
        "there may be fewer than k of them: `min(k, logits.shape[-1])`",
    ),
    (
        "cross-entropy-shapes",
        (RuntimeError, ValueError),
        r"Expected target size|Expected input batch_size",
        "F.cross_entropy wants a row of logits for each target: flatten both, "
        "`logits.flatten(0, 1)` and `targets.flatten()`, of equally many positions",
    ),
    (
        "gather-shapes",
        RuntimeError,
        r"Index tensor must have the same number of dimensions",
        "`gather` takes an index with as many axes as the tensor: `index[..., None]` "
        "has one more; drop that axis afterwards",
    ),
    (
        "cat-shapes",
        RuntimeError,
        r"Sizes of tensors must match except|must have same number of dimensions",
        "`torch.cat` joins along one axis, `dim=`, and on all others the tensors must "
        "be alike: print both shapes; `keepdim=True` keeps an axis",
    ),
    (
        "matmul-shapes",
        RuntimeError,
        r"mat1 and mat2|batch2|size mismatch|Expected size",
        "in `a @ b` the last axis of a must be the second to last of b",
    ),
    (
        "integers-in-a-product",
        RuntimeError,
        r"mat1 and mat2|batch2|size mismatch|Expected size",
        "token ids say which row is wanted: look it up, `table[ids]`; a product needs "
        "one-hot vectors instead, [..., d_vocab]",
    ),
    (
        "in-place-on-a-leaf",
        RuntimeError,
        r"in-place operation|modified by an inplace",
        "what the backward pass still needs was overwritten: make a new tensor, "
        "`x = x - y`, instead of writing into an old one, `x -= y`",
    ),
    (
        "wrong-dtype",
        (RuntimeError, IndexError),
        r"dtype|scalar type|tensors used as indices|Long|Float|Double",
        "token ids are integers (`long`), weights and activations float32",
    ),
    (
        "wrong-device",
        (RuntimeError, AssertionError),
        r"(?i)cuda|device",
        "name no device: make new tensors where the others are, with `device=x.device`",
    ),
    (
        "list-of-modules",
        (TypeError, NotImplementedError),
        r"'(list|tuple|ModuleList)' object is not callable|ModuleList",
        "loop over the list and call each module in turn",
    ),
    (
        "no-forward",
        NotImplementedError,
        r'missing the required "forward"',
        "give the class a method `forward`: spelt so, and indented as `__init__` is",
    ),
]
