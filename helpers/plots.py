"""Figures in one style: colour-blind safe, readable on light and dark themes."""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure

# Okabe and Ito's colours, which stay apart under every common colour blindness
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#777777",
)
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))  # a second cue beside colour

matplotlib.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",  # opaque, so that dark themes do not swallow ink
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
    }
)


def new_figure(columns: int = 1, rows: int = 1, width: float = 7, height: float = 3):
    """A figure without pyplot's global state, and its axes (always an array)."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False)


def png(figure: Figure, dpi: int = 90) -> bytes:
    """The figure as PNG bytes, as `widgets.Image` wants it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def show(figure: Figure, alt: str) -> None:
    """Display a figure in a notebook, with a text for those who do not see it."""
    from IPython.display import display

    display(
        {"image/png": png(figure), "text/plain": alt},
        raw=True,
        metadata={"image/png": {"alt": alt}, "needs_background": "light"},
    )


def heat(axes, values, signed: bool = False, title: str = "", bar: bool = True):
    """A matrix as colours: viridis, or blue-white-red centred on 0 when signed."""
    values = np.asarray(values, dtype=float)
    finite = values[np.isfinite(values)]
    top = float(np.abs(finite).max()) if finite.size else 1.0
    limits = {"vmin": -top or -1.0, "vmax": top or 1.0} if signed else {}
    colours = matplotlib.colormaps["RdBu" if signed else "viridis"].copy()
    colours.set_bad("#dddddd")
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, aspect="auto", **limits
    )
    axes.set_title(title)
    if bar:
        axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    return image


def compare(target, mine, difference, axis_names: tuple[str, ...]) -> Figure:
    """Target, yours and the difference, side by side; all [rows, columns]."""
    figure, axes = new_figure(columns=3, width=9, height=2.6)
    panels = {"target": target, "yours": mine, "yours − target": difference}
    for ax, (title, values) in zip(axes[0], panels.items(), strict=True):
        heat(ax, values, signed=True, title=title)
        ax.set_xlabel(axis_names[-1])
    axes[0][0].set_ylabel(axis_names[-2])
    return figure
