"""One way to make a figure move: controls above, a picture below.

Only core ipywidgets are used, in the form that version 7.7 (Colab) has as well.
"""

import html
from collections.abc import Callable

import ipywidgets
from ipywidgets import Widget
from matplotlib.figure import Figure

from helpers.plots import png

NARROW = {"description_width": "initial"}
# Pale and neighbours unlike each other, also for those who see few colours
_PASTEL = ("#cfe8fc", "#fde3b5", "#d5f0e3", "#f7d3e6")
_ORANGE = (230, 159, 0)  # plots.ORANGE: black on it has a contrast of 9


def panel(draw: Callable[..., Figure | str | tuple], **controls: Widget) -> Widget:
    """Redraw whenever a control changes.

    Args:
        draw: a pure function of the controls' values; returns a Figure, a string of
            HTML, or a tuple of them, shown below one another.
        controls: widgets by the name of draw's argument. What is no control of its
            own (a label, a box of others) does not belong here.

    Returns:
        A widget to display. The first drawing happens at once and raises what `draw`
        raises; an error in a later one is told in the panel, in the figure's place.
    """

    def drawn() -> list[bytes | str]:
        parts = draw(**{name: c.value for name, c in controls.items()})
        parts = parts if isinstance(parts, tuple) else (parts,)
        return [png(part) if isinstance(part, Figure) else part for part in parts]

    def redraw(change) -> None:
        try:
            for view, part in zip(views, drawn(), strict=True):
                view.value = part
            problem.value = ""
        except Exception as error:
            problem.value = f"<b>{type(error).__name__}:</b> {html.escape(str(error))}"

    # At its own size, on the left: stretched to the page's width, a picture is blurred.
    own_size = {"max_width": "100%", "align_self": "flex-start"}
    views = [
        ipywidgets.Image(value=part, format="png", layout=own_size)
        if isinstance(part, bytes)
        else ipywidgets.HTML(part)
        for part in drawn()
    ]
    problem = ipywidgets.HTML()
    for control in controls.values():
        control.style = NARROW
        control.observe(redraw, names="value")
    rows = [list(controls.values())[i : i + 3] for i in range(0, len(controls), 3)]
    return ipywidgets.VBox([*map(ipywidgets.HBox, rows), problem, *views])


def chips(texts: list[str], ids: list[int]) -> str:
    """Tokens as HTML: a coloured box for each, its id beside it.

    A leading space is shown as ·, and a line break as ⏎, so that they can be seen.
    Text and background are both set: the boxes look the same on dark themes.
    """
    boxes = []
    for i, (text, number) in enumerate(zip(texts, ids, strict=True)):
        shown = html.escape(text.replace(" ", "·").replace("\n", "⏎"))
        boxes.append(
            f'<span style="background:{_PASTEL[i % len(_PASTEL)]};color:#000;'
            "border-radius:4px;padding:1px 4px;margin:1px;display:inline-block;"
            f'font-family:monospace">{shown}<sub>{number}</sub></span>'
        )
    return f'<div style="line-height:2">{" ".join(boxes)}</div>'


def shades(texts: list[str], strengths: list[float]) -> str:
    """Texts as running HTML, each on a ground from white (0) to orange (1).

    Ink and ground are both set: it reads the same on dark themes.
    """
    spans = []
    for text, strength in zip(texts, strengths, strict=True):
        share = min(max(strength, 0.0), 1.0)
        ground = [round(255 + share * (full - 255)) for full in _ORANGE]
        style = f"background:rgb({ground[0]},{ground[1]},{ground[2]});color:#000"
        spans.append(f'<span style="{style}">{html.escape(text)}</span>')
    around = "background:#fff;color:#000;line-height:1.8;padding:4px"
    return f'<div style="{around}">{"".join(spans)}</div>'
