"""The first cells of every notebook: the folded one that finds the course, and the one
line that is the learner's.

The text of the first must be Python 3.8 too: there it says which Python is needed.
"""

from helpers.address import Address

# JupyterLab, Notebook 7 and VS Code fold by the first, Colab by the second
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}

REFERENCE = """\
reference = load_reference("stories")  # "gpt2" is the real GPT-2
reference
"""

SETUP = """\
# @title Find the course, or download it (safe to run twice)
keep_on_drive = False  # @param {"type":"boolean"}
import os, subprocess, sys
from pathlib import Path

EDITION, RELEASE = "@EDITION", "@RELEASE"
REPOSITORY = "@REPOSITORY"


class CourseError(Exception):
    def _render_traceback_(self):  # one sentence in the place of a traceback
        return ["CourseError: " + str(self)]


def find_course():
    here = Path.cwd()
    copy = here / "clean-transformer"
    told = globals().get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    starts = [globals().get("COURSE", here), (here / (told or "?")).parent, here]
    for place in [p for s in starts for p in (s, *s.parents)] + [copy]:
        if os.path.isfile(str(place / "helpers" / "checks" / "__init__.py")):
            return place
    if copy.exists():
        raise CourseError(
            f"{copy} is only a part of the course: delete that folder, and run this "
            "cell again."
        )
    url = os.environ.get("COURSE_REPOSITORY", REPOSITORY)
    clone = "git clone --quiet --depth 1 --branch".split() + [RELEASE, url, str(copy)]
    how = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    how["env"] = dict(os.environ, GIT_TERMINAL_PROMPT="0", LC_ALL="C")  # ask nobody
    try:
        git = subprocess.run(clone, **how)
    except OSError:
        raise CourseError(
            f"The course is not in {here} or above it, and there is no git to download "
            "it: open this notebook from inside the course's folder, or install git."
        ) from None
    if git.returncode:
        lines = git.stderr.decode("utf-8", "replace").strip().splitlines() or ["?"]
        why = ([line for line in lines if line.startswith("fatal")] or lines)[0]
        raise CourseError(
            f"Cannot download the course from {url} ({why}): look at the network, "
            "or open this notebook from inside the course's folder."
        )
    return copy


if sys.version_info < (3, 11):
    raise CourseError(
        "The course needs Python 3.11 or newer, and this is Python {}.{}: choose "
        "another kernel, or install a newer Python and begin with README.md.".format(
            *sys.version_info[:2]
        )
    )
COURSE = find_course()
if sys.path[0] != str(COURSE):
    sys.path.insert(0, str(COURSE))
try:
    from helpers import Config, checks, load_reference, start
except ImportError as missing:
    lacks = (missing.name or "").split(".")[0]
    if lacks == "helpers":
        raise CourseError(
            f"{COURSE} is only a part of the course, or another module is named "
            "helpers: restart the kernel, or download the course again."
        ) from None
    if not isinstance(missing, ModuleNotFoundError):
        raise
    what = lacks if "google.colab" in sys.modules else f'-r "{COURSE}/requirements.txt"'
    raise CourseError(
        f"This Python ({sys.executable}) has no {lacks}: choose the kernel in which "
        f"the course is installed, or run %pip install {what} in a new cell, and then "
        "restart the kernel."
    ) from None
start(EDITION, keep_on_drive)
"""


def setup(edition: str, address: Address) -> str:
    """The code of the folded first cell; `edition`: exercises or complete."""
    text = SETUP.replace("@EDITION", edition).replace("@RELEASE", address.release)
    return text.replace("@REPOSITORY", address.repository).rstrip()
