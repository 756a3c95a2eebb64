"""A real JupyterLab in a real browser: open a notebook, run it, move what can be moved.

    python tests/lab.py notebooks/02_layernorm.ipynb --shots shots

saves pictures of the notebook as a person sees it: one per screenful, one per widget.
`--run` runs it first, so that widgets are alive; `--dark` takes the dark theme.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = {"width": 1200, "height": 1000}
SLIDER = ".widget-slider .noUi-handle, .widget-hslider .noUi-handle"
MENU = ".widget-dropdown select"
SWITCH = ".widget-checkbox input, .widget-toggle-button, .widget-toggle-buttons button"
ERROR = re.compile(r"\s*\w*(Error|Exception): ")
LOOK = """async cell => {
    const seen = [];
    for (const image of cell.querySelectorAll("img")) {
        const bytes = await (await fetch(image.src)).arrayBuffer();
        const hash = await crypto.subtle.digest("SHA-1", bytes);
        seen.push([...new Uint8Array(hash)].join());
    }
    for (const html of cell.querySelectorAll(".widget-html-content"))
        seen.push(html.innerHTML);
    return seen.join("\\n");
}"""
CELL = ".jp-Notebook .jp-Cell"


def browser_path() -> str | None:
    """The Chromium or Chrome of this machine, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def course_copy(folder: Path) -> Path:
    """A copy of what notebooks need, so that JupyterLab saves nothing in the course."""
    for name in ("notebooks", "helpers"):
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    return folder


class Lab:
    """A JupyterLab on loopback over `folder`.

    Settings, workspaces and logs go to `scratch`: a person's own are not touched.
    """

    def __init__(self, folder: Path, scratch: Path, dark: bool = False):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.token = "browser-test"
        self.address = f"http://127.0.0.1:{port}"
        self._settings(
            scratch / "settings" / "@jupyterlab",
            {
                "notebook-extension/tracker": {"windowingMode": "none"},
                "apputils-extension/notification": {"fetchNews": "false"},
                "apputils-extension/themes": {
                    "theme": "JupyterLab Dark" if dark else "JupyterLab Light"
                },
            },
        )
        mine = {
            "JUPYTER_CONFIG_DIR": str(scratch / "config"),
            "JUPYTER_DATA_DIR": str(scratch / "data"),
            "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
            "JUPYTERLAB_SETTINGS_DIR": str(scratch / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(scratch / "workspaces"),
            "COURSE_MY_GPT2": str(scratch / "my_gpt2.py"),
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        command += [
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={folder}",
            f"--IdentityProvider.token={self.token}",
        ]
        self.log = scratch / "jupyter.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, env={**os.environ, **mine}, stdout=log, stderr=log
            )

    @staticmethod
    def _settings(folder: Path, settings: dict[str, dict]) -> None:
        for name, values in settings.items():
            path = folder / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")

    def ask(self, what: str, method: str = "GET"):
        """A question to the server's own interface, such as `sessions`."""
        address = f"{self.address}/api/{what}?token={self.token}"
        request = urllib.request.Request(address, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or "null")

    def stop_kernels(self) -> None:
        """A kernel holds PyTorch and a model: hundreds of megabytes."""
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")

    def __enter__(self) -> "Lab":
        for _ in range(300):
            with contextlib.suppress(OSError):
                self.ask("status")
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError("JupyterLab does not start:\n" + self.log.read_text("utf-8"))

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)


class Notebook:
    """One notebook, open in JupyterLab.

    Attributes:
        page: playwright's page, for whatever this class does not offer.
        problems: what the browser complained of.
    """

    def __init__(self, page: Page, lab: Lab, path: str):
        self.page, self.problems = page, []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(
            f"{lab.address}/lab/tree/{path}?token={lab.token}&reset",
            wait_until="domcontentloaded",
        )
        page.locator(CELL).first.wait_for(timeout=180_000)  # a busy machine is slow
        for _ in range(300):
            kernels = [session["kernel"] for session in lab.ask("sessions")]
            if kernels and kernels[0]["execution_state"] == "idle":
                break
            page.wait_for_timeout(200)
        else:
            raise TimeoutError(f"no kernel starts for {path}")
        if page.locator("#jp-left-stack:visible").count():
            page.keyboard.press("Control+b")  # the side bar takes the notebook's room

    def run_all(self, seconds: float = 300) -> None:
        """Run > Run All Cells; returns when the last cell has been run.

        Raises:
            TimeoutError: cells are still waiting, or one has stopped the run.
        """
        self._menu("Edit", "editmenu:clear-all")  # the saved counts are gone then
        self._menu("Run", "runmenu:run-all")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(300)
            if not {"[*]:", "[ ]:"} & set(self.prompts()):
                return
            if self.errors():
                raise RuntimeError("the run stopped:\n" + self.errors()[0])
        raise TimeoutError(f"still running after {seconds:.0f} s: {self.prompts()}")

    def _menu(self, menu: str, command: str) -> None:
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.locator(f'.lm-Menu [data-command="{command}"]').click()

    def prompts(self) -> list[str]:
        """The `[1]:` beside the code cells."""
        return self.page.locator(
            f"{CELL}.jp-CodeCell .jp-InputPrompt"
        ).all_inner_texts()

    def errors(self) -> list[str]:
        """Tracebacks on the page, and errors that a widget tells in its panel."""
        find = self.page.locator
        found = find('[data-mime-type="application/vnd.jupyter.error"]')
        stderr = find('[data-mime-type="application/vnd.jupyter.stderr"]')
        panels = find(".jupyter-widgets .widget-html-content")
        return (
            found.all_inner_texts()
            + [text for text in stderr.all_inner_texts() if "Traceback" in text]
            + [text for text in panels.all_inner_texts() if ERROR.match(text)]
        )

    def cells_with(self, inside: str) -> list[Locator]:
        """The cells that hold something, such as `.jupyter-widgets`."""
        cells = self.page.locator(f"{CELL}:has({inside})")
        return [cells.nth(number) for number in range(cells.count())]

    def look(self, cell: Locator) -> str:
        """What a cell's widget shows: its pictures and its HTML, as one string."""
        return cell.evaluate(LOOK)

    def move_slider(self, cell: Locator, number: int = 0, steps: int = 1) -> None:
        """Press an arrow key on a cell's slider; negative steps go down."""
        handle = cell.locator(SLIDER).nth(number)
        for _ in range(abs(steps)):
            handle.press("ArrowRight" if steps > 0 else "ArrowLeft")

    def choose(self, cell: Locator, number: int = 0, option: int = 1) -> None:
        """Take another option of a cell's drop-down menu."""
        cell.locator(MENU).nth(number).select_option(index=option)

    def changes(self, cell: Locator, before: str, seconds: float = 10) -> bool:
        """Whether the cell shows something else than `before` before time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.look(cell) != before:
                return True
            self.page.wait_for_timeout(150)
        return False

    def move(self, cell: Locator, seconds: float = 3) -> list[str]:
        """Move each slider, menu and switch of a cell once.

        Returns:
            The controls, such as "slider 0", whose move changed nothing to be seen.
        """
        still = []
        for number in range(cell.locator(SLIDER).count()):
            before = self.look(cell)
            handle = cell.locator(SLIDER).nth(number)
            at, end = map(handle.get_attribute, ("aria-valuenow", "aria-valuemax"))
            self.move_slider(cell, number, steps=-1 if at == end else 1)
            if not self.changes(cell, before, seconds):
                still.append(f"slider {number}")
        for number in range(cell.locator(MENU).count()):
            before = self.look(cell)
            menu = cell.locator(MENU).nth(number)
            chosen = menu.evaluate("menu => menu.selectedIndex")
            self.choose(cell, number, option=0 if chosen else 1)
            if not self.changes(cell, before, seconds):
                still.append(f"menu {number}")
        for number in range(cell.locator(SWITCH).count()):
            before = self.look(cell)
            cell.locator(SWITCH).nth(number).click()
            if not self.changes(cell, before, seconds):
                still.append(f"switch {number}")
        return still

    def shoot(self, folder: Path) -> list[Path]:
        """Pictures of the page, a screenful each, and of every widget."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        self.page.set_viewport_size({"width": 1200, "height": 2400})
        for cell in self.cells_with(".jupyter-widgets"):
            name = cell.evaluate("cell => [...cell.parentNode.children].indexOf(cell)")
            files.append(folder / f"widget-cell-{name:02d}.png")
            cell.locator(".jp-Cell-outputWrapper").screenshot(path=files[-1])
        self.page.set_viewport_size(VIEWPORT)
        return files + list(self._screenfuls(folder))

    def _screenfuls(self, folder: Path) -> Iterator[Path]:
        """Scroll through the notebook from its top."""
        box = self.page.locator(CELL).first.evaluate_handle(
            "cell => { let box = cell.parentElement;"
            " while (!/auto|scroll/.test(getComputedStyle(box).overflowY))"
            " box = box.parentElement;"
            " return box }"
        )
        box.evaluate("box => { box.scrollTop = 0 }")
        for number in range(60):
            self.page.wait_for_timeout(300)
            path = folder / f"page-{number:02d}.png"
            self.page.screenshot(path=path)
            yield path
            if not box.evaluate(
                "box => { const was = box.scrollTop;"
                " box.scrollTop += box.clientHeight * 0.95;"
                " return box.scrollTop > was + 1 }"
            ):
                return


@contextlib.contextmanager
def browser_page() -> Iterator[Page]:
    """A fresh page of a headless Chromium with nothing of the person's in it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path(), args=FLAGS, headless=True
        )
        page = browser.new_page(viewport=VIEWPORT)
        page.set_default_timeout(90_000)
        try:
            yield page
        finally:
            browser.close()


def main() -> None:
    """The command line: pictures of one notebook."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--shots", type=Path, default=Path("shots"))
    parser.add_argument("--run", action="store_true", help="run all cells first")
    parser.add_argument("--move", action="store_true", help="run, then move widgets")
    parser.add_argument("--dark", action="store_true", help="JupyterLab's dark theme")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    path = options.notebook.resolve().relative_to(ROOT).as_posix()
    copy = course_copy(scratch / "course")
    with Lab(copy, scratch, options.dark) as lab, browser_page() as page:
        notebook = Notebook(page, lab, path)
        if options.run or options.move:
            notebook.run_all()
        if options.move:
            for cell in notebook.cells_with(".jupyter-widgets"):
                print("moved; nothing changed by:", notebook.move(cell) or "none")
        for file in notebook.shoot(options.shots):
            print(file)
        for problem in notebook.errors() + notebook.problems:
            print("problem:", problem)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
