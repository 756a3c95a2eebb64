"""Notebook 07 on a GPT-2 of full size (random weights): the same cells, 124M."""

import pytest

from helpers import editions
from helpers.pretrain import SHIPPED, load_tokenizer
from notebook_tools import COMPLETE, complete, said
from random_gpt2 import stirred


@pytest.mark.full_size
@pytest.mark.slow
def test_notebook_07_runs_on_gpt2_at_full_size(tmp_path):
    stirred().save_pretrained(tmp_path)
    # of 1,017 tokens; one of single bytes would make the stories four times as long
    load_tokenizer(SHIPPED).save_pretrained(tmp_path)
    notebook = complete("07_full_transformer")
    environment = {"COURSE_REFERENCE": str(tmp_path)}
    editions.execute(notebook, COMPLETE, environment, timeout=600)
    cells = {cell.id: cell for cell in notebook.cells}
    assert "12 layers" in said(cells["reference"])
    assert "passed" in said(cells["demo_transformer-check"])
    assert "True" in said(cells["equal-load"])
