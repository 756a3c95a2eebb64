"""What the first cell of a notebook does after it has found the course."""

import os
import platform
import shutil
import sys
from pathlib import Path

from helpers import my_code

DRIVE = Path("/content/drive")


def start(edition: str, keep_on_drive: bool = False) -> None:
    """Note which edition is running, and print one line on what it runs on.

    Args:
        edition: "exercises" (passing answers are saved) or "complete".
        keep_on_drive: on Colab, keep what passes on the person's Google Drive.
    """
    import einops
    import torch
    import transformers

    my_code.edition(edition)
    print(
        f"Python {platform.python_version()} · torch {torch.__version__} · "
        f"transformers {transformers.__version__} · einops {einops.__version__}"
    )
    if keep_on_drive:
        _keep_on_drive()
    elif "google.colab" in sys.modules and edition == "exercises":
        print(
            "Colab wipes this machine when you leave. To keep what passes, tick "
            "keep_on_drive in this cell and run it again, in every notebook."
        )


def _keep_on_drive() -> None:
    """Put my_gpt2.py on Google Drive; what this machine has goes there too."""
    try:
        from google.colab import drive
    except ImportError:
        print("keep_on_drive is for Colab: here your code is kept without it.")
        return
    try:
        drive.mount(str(DRIVE))
    except Exception as error:  # refused by the person, or by Colab
        print(f"No Drive ({error}): your code is kept on this machine only.")
        return
    here, there = my_code.path(), DRIVE / "MyDrive" / "my_gpt2.py"
    if here.exists() and not there.exists():
        shutil.copyfile(here, there)
    os.environ["COURSE_MY_GPT2"] = str(there)
    print(f"Your code is kept in {there}.")
