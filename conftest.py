"""How pytest runs notebooks: apart from each other, within the machine's means.

It stands in the root so that `pytest --nbmake notebooks/…` is under its rules too.
"""

import functools
import itertools
import os
import random
import socket
from pathlib import Path

MAX_WORKERS = 4  # each runs a kernel with PyTorch in it: about 1 GB of memory

# Set before anything imports torch; workers and their kernels inherit it. With more
# threads than cores, they wait for one another, and all takes several times longer.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("MPLBACKEND", None)  # a kernel chooses its own: inline
os.environ.pop("COURSE_REFERENCE", None)
os.environ["COURSE_STEPS"] = "60"  # notebook 09's short run; the full one is long

import pytest  # noqa: E402
from jupyter_client.connect import LocalPortCache  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbmake import nb_run, pytest_items  # noqa: E402

from helpers.outputs import hidden_errors  # noqa: E402
from notebook_tools import FEW_STEPS, silent_checks  # noqa: E402


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """What `--numprocesses=auto` in pyproject.toml stands for."""
    return min(os.cpu_count() or 1, MAX_WORKERS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that no worker is left with one at the end."""

    def shortness(item: pytest.Item) -> tuple[int, str]:
        if item.get_closest_marker("slow"):
            return 0, ""
        notebook = isinstance(item, pytest_items.NotebookItem)
        # the last notebook, which trains, is the longest
        return (1, f"{99 - int(item.name[:2]):02}") if notebook else (2, "")

    items.sort(key=shortness)


@pytest.fixture(autouse=True)
def my_gpt2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test writes the my_gpt2.py of the person who runs it."""
    path = tmp_path / "my_gpt2.py"
    monkeypatch.setenv("COURSE_MY_GPT2", str(path))
    return path


def _find_available_port(self: LocalPortCache, ip: str) -> int:
    """A port from this worker's own range.

    A kernel's ports are chosen before it takes them. Two workers that let the system
    choose, as jupyter_client does, can be given the same one; these cannot. The ranges
    lie below those from which systems draw by themselves.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind((ip, port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port for a kernel")


_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_first = 15000 + 2000 * (_worker % 8)
_PORTS = itertools.cycle(range(_first, _first + 2000))
for _ in range(random.randrange(2000)):
    next(_PORTS)
LocalPortCache.find_available_port = _find_available_port


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """For a notebook: its own my_gpt2.py, and a look at what nbmake does not look at.

    nbmake sees an exception that stops a cell. It does not see one inside `interact` or
    an `Output` widget, nor an exercise whose check did not say a word.
    """
    if not isinstance(item, pytest_items.NotebookItem):
        return (yield)
    factory = item.config._tmp_path_factory  # nbmake's items have no fixtures
    with pytest.MonkeyPatch.context() as patch:
        folder = factory.mktemp("notebook")
        patch.setenv("COURSE_MY_GPT2", str(folder / "my_gpt2.py"))
        if item.path.parent.name == "exercises":
            patch.setenv("COURSE_STEPS", FEW_STEPS)
        runs = []

        class Run(pytest_items.NotebookRun):
            def execute(self):
                runs.append(super().execute())
                return runs[-1]

        patch.setattr(pytest_items, "NotebookRun", Run)
        # A kernel with PyTorch in it takes two seconds to tidy up what is thrown away.
        client = functools.partial(NotebookClient, shutdown_kernel="immediate")
        patch.setattr(nb_run, "NotebookClient", client)
        yield
        notebook = runs[-1].nb
        found = hidden_errors(notebook)
        if item.path.parent.name == "exercises":
            found += silent_checks(notebook, "to do")
        elif (folder / "my_gpt2.py").exists():
            found.append("the complete edition wrote my_gpt2.py")
        if found:
            raise AssertionError(f"{item.path.name}:\n" + "\n".join(found))
