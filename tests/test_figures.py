"""Figures and coloured texts: any text, any settings, readable by everybody."""

import base64
import io
import re
import warnings

import ipywidgets
import matplotlib
import numpy as np
import pytest
from nbconvert import HTMLExporter, ScriptExporter
from PIL import Image

from helpers import plots, widgets
from notebook_tools import complete

TEXTS = ["$$ …", "$5 and $6", "😀 中文 عربي", "\\frac{ {x}\t\r\n", "a\x00b\x07\u200b"]


def everywhere(text: str):
    """A figure with the text in each place that can hold one."""
    figure, axes = plots.new_figure()
    ax = axes[0, 0]
    ax.plot([0, 1], [1, 2], label=f"label {text}")
    ax.set(title=text, xlabel=text, ylabel=text)
    ax.set_xticks([0, 1], [text, text])
    ax.text(0, 1, text)
    ax.annotate(text, (0, 1))
    ax.legend()
    return figure


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_is_drawn_as_it_is_and_without_a_warning(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.png(everywhere(text))
        for figure in (
            plots.bars([text], [1], text, text),
            plots.token_bars([text], [1.0], text, text),
        ):
            plots.png(figure)
        shown = widgets.panel(lambda t: everywhere(t), t=ipywidgets.Text(text))
        shown.children[0].children[0].value = text + text
        assert shown.children[1].value == "", "the panel tells an error"


def test_a_persons_settings_change_no_figure_and_stay_theirs():
    figures = (
        lambda: everywhere("x"),
        lambda: plots.bars(["a"], [1], "x"),
    )
    usual = [plots.png(figure()) for figure in figures]
    theirs = {
        "text.usetex": True,
        "text.color": "white",
        "font.size": 30,
        "lines.linewidth": 9,
        "axes.spines.top": True,
        "savefig.bbox": "tight",
    }
    with matplotlib.rc_context(theirs):
        before = dict(matplotlib.rcParams)
        assert [plots.png(figure()) for figure in figures] == usual
        assert dict(matplotlib.rcParams) == before


def test_a_logarithmic_axis_has_plain_numbers():
    figure, axes = plots.new_figure(columns=2)
    axes[0, 0].semilogy([1, 1e-3])
    axes[0, 1].semilogx([1, 2], [1, 2])
    plots.png(figure)
    labels = [text.get_text() for text in axes[0, 0].get_yticklabels()]
    assert {"1", "0.1", "0.001"} <= set(labels)
    minor = [text.get_text() for text in axes[0, 1].get_xticklabels(minor=True)]
    assert "2" in minor and "$" not in "".join(labels + minor)


def test_a_shown_figure_has_an_alternative_text_and_a_good_picture(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, **_: shown.append(data))
    figure, axes = plots.new_figure()
    plots.heat(axes[0, 0], np.random.default_rng(0).normal(size=(30, 30)), signed=True)
    plots.show(figure, alt='Of "a" & <b>: noise.')
    (data,) = shown
    assert '<img alt="Of &quot;a&quot; &amp; &lt;b&gt;: noise."' in data["text/html"]
    assert data["image/png"] in data["text/html"]
    few = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    full = Image.open(io.BytesIO(plots.png(figure)))
    pair = [np.asarray(image.convert("RGB"), dtype=int) for image in (few, full)]
    assert np.abs(pair[0] - pair[1]).mean() < 1.5  # of 255


def test_nbconvert_writes_python_and_html_that_says_what_it_shows():
    notebook = complete("02_layernorm")
    _, resources = ScriptExporter().from_notebook_node(notebook)
    assert resources["output_extension"] == ".py"
    page, _ = HTMLExporter().from_notebook_node(notebook)
    images = re.findall(r"<img[^>]*>", page)
    assert images and all(re.search(r'alt="[^"]{10,}"', i[:3000]) for i in images)


def luminance(colour: str) -> float:
    """WCAG 2's relative luminance of `#rgb`, `#rrggbb` or `rgb(r,g,b)`."""
    if colour.startswith("#"):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) for i in (0, 2, 4)]
    else:
        parts = [int(part) for part in re.findall(r"\d+", colour)]
    scaled = [part / 255 for part in parts]
    linear = [
        s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in scaled
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_coloured_tokens_read_well_on_light_and_on_dark():
    """Ink and ground are both given, so the page's theme decides nothing."""
    words = [f"word {i}" for i in range(11)]
    shades = widgets.shades(words, [i / 10 for i in range(11)])
    spans = re.findall(r"<(?:span|div) style=\"([^\"]+)\"", shades)
    spans += re.findall(r"<span style=\"([^\"]+)\"", widgets.chips(words, range(11)))
    assert len(spans) == 1 + 11 + 11
    for style in spans:
        rules = dict(rule.split(":") for rule in style.split(";"))
        low, high = sorted(map(luminance, (rules["background"], rules["color"])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, style
