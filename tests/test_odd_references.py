"""Every complete notebook on models that are nothing like the shipped one."""

import sys

import pytest

import cells
from helpers import reference
from notebook_tools import COMPLETE, NOTEBOOKS, complete
from random_gpt2 import byte_tokenizer, stirred

# A window of 32 single bytes is shorter than the notebooks' sentences; the vocabulary
# lacks even the space. The other model has more rows in its table than tokens.
SHORT = dict(n_embd=12, n_head=1, n_inner=None, n_layer=1, vocab_size=95)
DEEP = dict(n_embd=30, n_head=5, n_inner=50, n_layer=7, vocab_size=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    "n_ctx, bytes_known, sizes", [(32, 94, SHORT), (70, 256, DEEP)]
)
def test_every_notebook_runs_on_it(
    n_ctx, bytes_known, sizes, tmp_path, monkeypatch, subtests
):
    """To the end, checks and figures included."""
    stirred(1, n_positions=n_ctx, **sizes).save_pretrained(tmp_path)
    byte_tokenizer(bytes_known).save_pretrained(tmp_path)
    monkeypatch.chdir(COMPLETE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(reference, "_current", {})
    monkeypatch.setenv("COURSE_REFERENCE", str(tmp_path))
    monkeypatch.setenv("COURSE_STEPS", "2")
    for name in NOTEBOOKS:
        with subtests.test(notebook=name):
            left = cells.run(complete(name), name)
            ours = left["reference"]  # a Llama's notebook takes no GPT-2
            assert (ours.family == "llama") or ours.cfg.n_ctx == n_ctx
