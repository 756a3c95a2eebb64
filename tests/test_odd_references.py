"""Every complete notebook on models that are nothing like the shipped one."""

import pytest

from notebook_tools import COMPLETE, NOTEBOOKS, complete, kernel, run_solved
from random_gpt2 import byte_tokenizer, stirred

# A window of 32 single bytes is shorter than the notebooks' sentences; the vocabulary
# lacks even the space. The other has more rows in its table than tokens.
SIZES = {
    "short window, few tokens, one layer, one head": (
        94,
        dict(n_embd=12, n_head=1, n_inner=None, n_layer=1, vocab_size=95),
    ),
    "seven layers, five heads, padded vocabulary": (
        None,
        dict(n_embd=30, n_head=5, n_inner=50, n_layer=7, vocab_size=300),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SIZES)
def test_every_notebook_runs_on_it(kind, tmp_path, subtests):
    """In one kernel, to the end, its widgets moved to an end as well."""
    tokens, sizes = SIZES[kind]
    stirred(1, n_positions=32 if tokens else 70, **sizes).save_pretrained(tmp_path)
    byte_tokenizer(tokens).save_pretrained(tmp_path)
    env = {"COURSE_REFERENCE": str(tmp_path), "COURSE_STEPS": "2"}
    with kernel(COMPLETE, env) as client:
        for name in NOTEBOOKS:
            with subtests.test(notebook=name):
                _, moved = run_solved(client, complete(name), [])
                print(name, moved)
