"""Notebooks in a real JupyterLab, in a real Chromium."""

import pytest

import lab
from helpers.outputs import WIDGET_TEXT
from notebook_tools import complete

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(
        lab.browser_path() is None, reason="no Chromium or Chrome on this machine"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab over a copy of the course, its kernels' my_gpt2.py apart."""
    scratch = tmp_path_factory.mktemp("lab")
    with lab.Lab(lab.course_copy(scratch / "course"), scratch) as running:
        yield running


@pytest.fixture
def page(server):
    """A page of a fresh browser; afterwards no kernel is left."""
    with lab.browser_page() as fresh:
        yield fresh
    server.stop_kernels()


def test_a_reader_meets_a_folded_cell_and_figures_that_say_what_they_show(server, page):
    """The file as it comes, nothing run: JupyterLab does not trust its outputs yet."""
    name = "02_layernorm"
    figures = [
        output["metadata"]["image/png"]["alt"]
        for cell in complete(name).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    notebook = lab.Notebook(page, server, f"notebooks/{name}.ipynb")
    page.wait_for_function(
        "n => document.querySelectorAll('.jp-OutputArea-output img').length >= n",
        arg=len(figures),
    )
    images = page.locator(".jp-OutputArea-output img")
    read = "all => all.map(image => [image.alt, image.naturalWidth > 100])"
    seen = images.evaluate_all(read)  # a failing report's picture is among them
    assert [[alt, True] for alt in figures] == [s for s in seen if s[0] in figures]
    setup, reference = (page.locator(f"{lab.CELL}.jp-CodeCell").nth(i) for i in (0, 1))
    assert "keep_on_drive" not in setup.inner_text()
    assert 'load_reference("stories")' in reference.inner_text()
    assert notebook.problems == []


def test_every_widget_of_a_notebook_draws_anew_when_it_is_moved(server, page):
    """Run all; move every slider, menu and switch; nothing fails, pictures change.

    One notebook stands for all: every widget comes from `widgets.panel`. Those of the
    other notebooks are moved without a browser, in test_exercise_runs.py.
    """
    name = "02_layernorm"
    saved = {
        cell.id
        for cell in complete(name).cells
        for output in cell.get("outputs", [])
        if output.get("data", {}).get("text/plain") == WIDGET_TEXT
    }
    notebook = lab.Notebook(page, server, f"notebooks/{name}.ipynb")
    notebook.run_all()
    cells = notebook.cells_with(".jupyter-widgets")
    assert len(cells) == len(saved), "not every widget is on the page"
    for cell in cells:
        shown = notebook.look(cell)
        still = notebook.move(cell)
        assert notebook.errors() + notebook.problems == []
        assert notebook.look(cell) != shown, f"nothing changed: {still}"
