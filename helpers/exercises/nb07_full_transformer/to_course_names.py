"""What an answer to `to_course_names` is compared with."""

import re

import torch
from torch import Tensor

from helpers.checks import crash
from helpers.checks.explain import told
from helpers.checks.report import Findings, Mistake, mistake
from helpers.checks.run import same
from helpers.exercises.course import Source, exercise, loaded, stirred
from helpers.exercises.nb07_full_transformer import split_c_attn

SAME = {  # as the notebook gives it: of each block, their name and ours
    "ln_1.weight": "ln1.w",
    "ln_1.bias": "ln1.b",
    "ln_2.weight": "ln2.w",
    "ln_2.bias": "ln2.b",
    "attn.c_proj.bias": "attn.b_O",
    "mlp.c_fc.weight": "mlp.W_in",
    "mlp.c_fc.bias": "mlp.b_in",
    "mlp.c_proj.weight": "mlp.W_out",
    "mlp.c_proj.bias": "mlp.b_out",
}

Weights = dict[str, Tensor]

_WRITES = Mistake(
    "changes-its-input",
    "Your code writes into the dictionary or the tensors that it was given.",
    "build a new dictionary, and leave out `pop` and methods that end in `_`",
)


class Names:
    """Judges a dictionary of weights, entry by entry: nothing is computed with them."""

    def judge(self, check, candidate) -> Findings:
        """Everything that can be said of an answer."""
        sources = stirred(), loaded()
        for source in sources:
            hf, cfg = _tied(source), source.cfg
            given, versions = dict(hf), {n: p._version for n, p in hf.items()}
            try:
                mine = candidate(hf, cfg)
            except KeyError as error:
                return Findings((_no_such_name(error, candidate, hf),))
            except Exception as error:
                where = f" on the weights of {source.label}"
                return check.stopped(error, candidate, where)
            # torch counts what is written into a tensor, through its views as well
            written = any(p._version != versions[n] for n, p in given.items())
            if written or hf.keys() != given.keys():
                return Findings((_WRITES,))
            found = _found(check, mine, given, cfg)
            if found:
                return Findings(tuple(found))
        both = " and ".join(source.label for source in sources)
        return Findings(summary=f"Every weight of {both} is in its place.")


def _tied(source: Source) -> Weights:
    """A state dict as GPT-2's: the head is the embedding, and has no bias."""
    hf = {n: p.detach().clone() for n, p in source.reference.model.state_dict().items()}
    hf["lm_head.weight"] = hf["transformer.wte.weight"].clone()
    hf.pop("lm_head.bias", None)
    return hf


def _no_such_name(error: KeyError, candidate, hf: Weights) -> Mistake:
    missing = str(error.args[0]) if error.args else ""
    close = [n for n in hf if missing and missing in n]
    told = f"Your code looks for `{missing}`, and there is no such name."
    hint = f"there is `{close[0]}`" if close else "print `list(hf)` to see the names"
    line = crash.describe(error, candidate).line
    return Mistake("no-such-name", told, hint, line=line)


def _found(check, mine: object, hf: Weights, cfg) -> list[Mistake]:
    """The page's mistakes whose every trace is in the answer, then what else is off."""
    if mine is None:
        return [mistake("no-return")]
    if not isinstance(mine, dict):
        what = f"Your code returns {type(mine).__name__}, not a dictionary."
        return [Mistake("not-a-dict", what)]
    right = check.own(hf, cfg)
    off, fitting = _departs(mine, right), []
    for mutant in check.mutants if off else ():
        wrong = mutant.answer(hf, cfg)
        trace = _departs(wrong, right)
        if trace <= off and all(_alike(n, mine, wrong) for n in trace):
            fitting.append((trace, mutant))
    named, explained = [], set()
    for trace, mutant in sorted(fitting, key=lambda pair: -len(pair[0])):
        if not trace <= explained:
            named.append(mutant)
            explained |= trace
    rest = _facts(mine, off - explained, right)
    return [*(told(named, check.link) or Findings()).mistakes, *rest]


def _departs(mine: dict, right: Weights) -> set[str]:
    """The names at which two dictionaries are not alike."""
    return {name for name in mine.keys() | right if not _alike(name, mine, right)}


def _alike(name: str, a: dict, b: dict) -> bool:
    if name not in a or name not in b:
        # what is no tensor is no weight, and may be there
        return not isinstance(a.get(name), Tensor) and name not in b
    return _equal(a[name], b[name])


def _equal(a: object, b: object) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape):
        return False
    if a.data_ptr() == b.data_ptr() and a.stride() == b.stride():
        return True  # the same place in memory
    return torch.equal(a, b) or same(a, b)  # the first is quick on large models


def _facts(mine: dict, off: set[str], right: Weights) -> list[Mistake]:
    """What is wrong with the entries that no mistake of the page explains."""
    spare = _once(off - right.keys())
    found = [_fact(name, mine, right, spare) for name in _once(off & right.keys())]
    for name in spare[:3]:
        what = f"`{name}` is no parameter of our model."
        found.append(Mistake("extra-name", what, "leave it out"))
    more = Mistake("more", f"… and {len(found) - 5} more entries are wrong.")
    return [*found[:5], more] if len(found) > 6 else found


def _once(names: set[str]) -> list[str]:
    """Block 0 stands for the others that have the same fault."""
    first = {name: re.sub(r"^blocks\.\d+\.", "blocks.0.", str(name)) for name in names}
    kept = [n for n in names if n == first[n] or first[n] not in names]
    return sorted(kept, key=str)


def _fact(name: str, mine: dict, right: Weights, spare: list[str]) -> Mistake:
    goal, shown = right[name], re.sub(r"^blocks\.0\.", "blocks.i.", name)
    if name not in mine:
        for other in [s for s in spare if _equal(mine[s], goal)]:
            spare.remove(other)
            what = f"What should be called `{name}` is called `{other}`."
            return Mistake("renamed", what, shown)
        what = f"There is no `{shown}`; it should have shape {list(goal.shape)}."
        hint = "the model's own list of names: `DemoTransformer(cfg).state_dict()`"
        return Mistake("missing-name", what, hint)
    value, hint = mine[name], ""
    if not isinstance(value, Tensor):
        slug, told = "not-a-tensor", f"is {type(value).__name__}, not a tensor"
    elif value.shape != goal.shape:
        have, want = list(value.shape), list(goal.shape)
        slug, told = "wrong-shape", f"has shape {have}; it should be {want}"
    elif other := [n for n, p in right.items() if n != name and _equal(value, p)]:
        slug, told = "wrong-tensor", f"holds what belongs to `{other[0]}`"
    else:
        slug = "wrong-values"
        told = "has the right shape, and its numbers are not in the right places"
        hint = "compare the order of the axes with the table"
    return Mistake(slug, f"`{shown}` {told}.", hint)


scope = {"SAME": SAME, "split_c_attn": split_c_attn.check.own}
check = exercise(__file__, "to_course_names", Names(), scope=scope, keep=False)
