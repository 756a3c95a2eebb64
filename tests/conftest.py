"""What several tests of `my_gpt2.py` share: the file, and a notebook's cells."""

import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell

from helpers import my_code


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A fresh my_gpt2.py, in the exercise edition."""
    target = tmp_path / "my_gpt2.py"
    monkeypatch.setenv("COURSE_MY_GPT2", str(target))
    before = my_code.edition()
    my_code.edition("exercises")
    yield target
    my_code.edition(before)
    sys.modules.pop("my_gpt2", None)


@pytest.fixture
def cells(file, monkeypatch):
    """Run cells as a notebook does; returns a function from source to namespace."""
    main, displayhook = sys.modules["__main__"], sys.displayhook
    excepthook = sys.excepthook
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False

    def run(*sources):
        for source in sources:
            result = shell.run_cell(source, store_history=True)
            result.raise_error()
        return shell.user_ns

    run("import torch\nfrom torch import nn\nfrom helpers import my_code")
    yield run
    InteractiveShell.clear_instance()
    sys.modules["__main__"], sys.displayhook = main, displayhook
    sys.excepthook = excepthook
