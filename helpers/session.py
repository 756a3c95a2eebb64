"""What the first cell of a notebook does after it has found the course."""

import os
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from helpers import my_code

_LIBRARIES = ("torch", "transformers", "einops")
DRIVE = Path("/content/drive")


def start(edition: str, keep_on_drive: bool = False) -> None:
    """Note which edition is running, and print one line on what it runs on.

    Args:
        edition: "exercises" (passing answers are saved) or "complete".
        keep_on_drive: on Colab, keep what passes on the person's Google Drive.
    """
    my_code.edition(edition)
    libraries = [f"{name} {version(name)}" for name in _LIBRARIES]
    print(" · ".join([f"Python {platform.python_version()}", *libraries]))
    if keep_on_drive is True:
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
