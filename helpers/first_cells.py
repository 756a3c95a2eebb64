"""The first cells of every notebook: the folded one that finds the course, and the one
line that is the learner's.

The text of the first, `assets/first_cell.txt`, must be Python 3.8 too: there it says
which Python is needed.
"""

from pathlib import Path

from helpers.address import Address

SETUP = Path(__file__).parent / "assets" / "first_cell.txt"
# JupyterLab, Notebook 7 and VS Code fold by the first, Colab by the second
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
_REFERENCE = """\
reference = load_reference("stories")  # "gpt2" is the real GPT-2
reference
"""
_LLAMA = """\
reference = load_reference("stories-llama")  # or "HuggingFaceTB/SmolLM2-135M"
reference
"""


def family(notebook: str) -> str:
    """What a notebook compares with: "gpt2", or "llama"."""
    return "llama" if notebook.endswith("_to_llama") else "gpt2"


def reference(notebook: str) -> str:
    """The code of the learner's own line."""
    return (_LLAMA if family(notebook) == "llama" else _REFERENCE).rstrip()


def setup(edition: str, address: Address) -> str:
    """The code of the folded first cell; `edition`: exercises or complete."""
    text = SETUP.read_text(encoding="utf-8").replace("@EDITION", edition)
    text = text.replace("@RELEASE", address.release)
    return text.replace("@REPOSITORY", address.repository).rstrip()
