"""Figures in one style: colour-blind safe, readable on light and dark themes."""

import base64
import contextlib
import html
import io
import warnings
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Rectangle
from matplotlib.ticker import LogFormatter
from PIL import Image

# Okabe and Ito's colours, which stay apart under every common colour blindness
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#777777")
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = COLOURS
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))  # a second cue beside colour

# All of matplotlib's own settings, so that a person's matplotlibrc decides nothing, and
# on top of them the course's. The backend is left as it is.
SETTINGS = {
    name: value
    for name, value in dict.items(matplotlib.rcParamsDefault)
    if not name.startswith(("backend", "interactive", "webagg", "_internal"))
} | {
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",  # opaque, so that dark themes do not swallow ink
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "text.parse_math": False,  # a text may hold $, and is no formula
}
_taken = contextlib.ExitStack()


def _take_settings() -> None:
    """The course's settings, until `png` puts the person's own back."""
    _taken.close()
    _taken.enter_context(matplotlib.rc_context())
    dict.update(matplotlib.rcParams, SETTINGS)  # all are valid: no need to look again


def new_figure(columns: int = 1, rows: int = 1, width: float = 7, height: float = 3):
    """A figure without pyplot's global state, and its axes (always an array).

    From here to `png` or `show`, matplotlib's settings are the course's.
    """
    _take_settings()
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False)


class _PlainLog(LogFormatter):
    """Ticks of a logarithmic axis as plain numbers: formulas are not set."""

    def __call__(self, x, pos=None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def png(figure: Figure, dpi: int = 90) -> bytes:
    """The figure as PNG bytes, as `widgets.Image` wants it."""
    buffer = io.BytesIO()
    _take_settings()
    with _taken, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for axis in [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)]:
            if isinstance(axis.get_major_formatter(), LogFormatter):
                axis.set_major_formatter(_PlainLog())
            if isinstance(old := axis.get_minor_formatter(), LogFormatter):
                axis.set_minor_formatter(_PlainLog(labelOnlyBase=old.labelOnlyBase))
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def show(figure: Figure, alt: str) -> None:
    """Display a figure in a notebook, with a text for those who do not see it.

    JupyterLab and nbconvert give an image output no alternative text, so the picture
    is an HTML output too. With 256 colours both take less room than one in full colour.
    """
    from IPython.display import display

    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(png(figure))).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    display(
        {
            "text/html": f'<img alt="{html.escape(alt)}" style="max-width:100%" '
            f'src="data:image/png;base64,{data}">',
            "image/png": data,
            "text/plain": alt,
        },
        raw=True,
        metadata={"image/png": {"alt": alt}, "needs_background": "light"},
    )


def heat(axes, values, signed: bool = False, title: str = "", bar: bool = True):
    """A matrix as colours: viridis, or blue-white-red centred on 0 when signed."""
    values = np.asarray(values, dtype=float)
    finite = values[np.isfinite(values)]
    top = float(np.abs(finite).max()) if finite.size else 1.0
    limits = {"vmin": -top or -1.0, "vmax": top or 1.0} if signed else {}
    colours = matplotlib.colormaps["RdBu" if signed else "viridis"]
    image = axes.imshow(
        np.ma.masked_invalid(values),
        cmap=colours.with_extremes(bad="#dddddd"),
        aspect="auto",
        **limits,
    )
    axes.set_title(title)
    if bar:
        axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    return image


def grid(values, rows: list[str], columns: list[str], words=None, **style) -> Figure:
    """A matrix as colours, with names for its rows and columns.

    Args:
        values: [row, column].
        words: what to write into the cells, a list for each row.
        style: `signed`, `title`; `xlabel`, `ylabel`; `width`, `height` of a cell,
            inches.
    """
    values = np.asarray(values, dtype=float)
    size = style.pop("width", 0.45), style.pop("height", 0.4)
    lengths = [max(map(len, names), default=0) for names in (rows, columns)]
    figure, axes = new_figure(
        width=1.9 + size[0] * len(columns) + 0.07 * lengths[0],
        height=0.8 + size[1] * len(rows) + 0.07 * lengths[1],
    )
    ax = axes[0, 0]
    image = heat(ax, values, style.pop("signed", False), style.pop("title", ""))
    turned = lengths[1] > 3
    ax.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0)
    ax.set_yticks(range(len(rows)), rows)
    ax.set(**style)
    for row, texts in enumerate(words or ()):
        for column, text in enumerate(texts):
            shade = image.cmap(image.norm(values[row, column]))
            dark = np.dot(shade[:3], (0.2126, 0.7152, 0.0722)) < 0.45
            colour = "white" if dark else "black"
            place = {"ha": "center", "va": "center", "color": colour}
            ax.text(column, row, text, fontsize=8, **place)
    return figure


def bars(labels: list[str], values, xlabel: str, title: str = "") -> Figure:
    """Horizontal bars, the first one on top."""
    figure, axes = new_figure(width=6, height=0.9 + 0.24 * len(labels))
    ax = axes[0, 0]
    ax.barh(range(len(labels)), values, color=BLUE)
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.set(xlabel=xlabel, title=title)
    return figure


def broadcast(column, row) -> Figure:
    """A column [rows, 1] and a row [columns], repeated to fit, and their sum."""
    column, row = np.asarray(column), np.asarray(row)
    shape = (len(column), len(row))
    figure, axes = new_figure(columns=3, width=9, height=2.2)
    panels = {
        "the column, to the right": (column, lambda i, j: j > 0),
        "+ the row, downwards": (row, lambda i, j: i > 0),
        "= the sum": (column + row, lambda i, j: False),
    }
    for ax, (title, (values, repeated)) in zip(axes[0], panels.items(), strict=True):
        ax.imshow(np.ones(shape), cmap="gray", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(np.broadcast_to(values, shape)):
            ink = {"color": GREY} if repeated(i, j) else {"color": BLUE, "size": 13}
            ax.text(j, i, f"{value:g}", ha="center", va="center", **ink)
        for edge in range(1, shape[0]):
            ax.axhline(edge - 0.5, color=GREY, linewidth=0.5)
        for edge in range(1, shape[1]):
            ax.axvline(edge - 0.5, color=GREY, linewidth=0.5)
        ax.set(title=title, xticks=[], yticks=[])
        ax.spines[:].set_visible(True)
    return figure


def token_bars(words: list[str], values, ylabel: str, title: str = "") -> Figure:
    """A bar for each token of a text, in rows, each token's text under its bar."""
    across = 20  # tokens in a row: more would not be readable
    starts = range(0, len(words), across)
    rows = len(starts)
    figure, axes = new_figure(rows=rows, width=9, height=0.4 + 1.5 * rows)
    for ax, start in zip(axes[:, 0], starts, strict=True):
        part = [repr(w)[1:-1] for w in words[start : start + across]]
        ax.bar(range(len(part)), values[start : start + across], color=BLUE)
        ax.set_xticks(range(len(part)), part, rotation=45, ha="right", fontsize=8)
        ax.set(xlim=(-0.6, across - 0.4), ylim=(0, 1.05 * float(max(values))))
        ax.set_ylabel(ylabel, fontsize=8)
    axes[0, 0].set_title(title)
    return figure


def _box(ax, x, y, text, colour, size=9, style="round,pad=0.35") -> None:
    frame = {"boxstyle": style, "facecolor": "white", "edgecolor": colour}
    ax.text(x, y, text, ha="center", va="center", fontsize=size, bbox=frame, zorder=3)


def _arrows(ax, *points: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.4}
    for start, end in pairwise(points):
        ax.annotate("", xy=end, xytext=start, arrowprops=style)


def gpt2_map(n_layers: int) -> Figure:
    """GPT-2 from left to right; each box bears the notebook that builds it."""
    figure, axes = new_figure(width=9, height=2.9)
    ax = axes[0, 0]
    ax.set(xlim=(-0.6, 11.6), ylim=(-0.6, 2.3))
    ax.axis("off")
    _arrows(ax, (0, 0), (11.2, 0))
    _box(ax, 0, 0, "tokens", GREY)
    _box(ax, 1.3, 0, "Embed\n+ PosEmbed\n03", BLUE)
    for left, name in ((2.8, "Attention\n04"), (5.4, "    MLP    \n05")):
        right = left + 1.4
        _arrows(ax, (left, 0), (left, 1))
        _arrows(ax, (left, 1.2), (left + 0.98, 1.2))
        _arrows(ax, (right, 1.2), (right, 0.15))
        _box(ax, left, 1.2, "LayerNorm\n02", BLUE)
        _box(ax, right, 1.2, name, BLUE)
        _box(ax, right, 0, "+", ORANGE, 10, "circle,pad=0.2")
    block = {"fill": False, "edgecolor": ORANGE, "linestyle": "--", "linewidth": 1.4}
    ax.add_patch(Rectangle((2.1, -0.5), 5.35, 2.4, **block))
    ax.text(2.15, 2.0, f"TransformerBlock 06, {n_layers} in a row", color=RED)
    _box(ax, 8.15, 0, "LayerNorm\n02", BLUE)
    _box(ax, 9.5, 0, "Unembed\n03", BLUE)
    _box(ax, 10.75, 0, "logits", GREY)
    ax.text(4.9, -0.28, "residual stream", color=GREY, fontsize=9, ha="center")
    return figure


def norm_places() -> Figure:
    """A block twice: LayerNorm on the branches (pre-norm), or on the stream."""
    figure, axes = new_figure(columns=2, width=9.5, height=2.4)
    titles = ("pre-norm: GPT-2", "post-norm: the Transformer of 2017")
    for ax, title, before in zip(axes[0], titles, (True, False), strict=True):
        ax.set(xlim=(-0.2, 8.4), ylim=(-0.7, 1.8), title=title)
        ax.axis("off")
        _arrows(ax, (0, 0), (8.3, 0))
        for left, name, norm in ((0.6, "attn", "ln1"), (4.6, "mlp", "ln2")):
            plus, small = left + 2.0, (8, "round,pad=0.3")
            _arrows(ax, (left, 0), (left, 1.15), (plus, 1.15), (plus, 0.2))
            _box(ax, left + 1.4 if before else left + 1.0, 1.15, name, BLUE, *small)
            place = (left + 0.5, 1.15) if before else (plus + 0.9, 0)
            _box(ax, *place, norm, ORANGE, *small)
            _box(ax, plus, 0, "+", GREY, 10, "circle,pad=0.1")
        ax.text(0, -0.5, "residual stream", color=GREY, fontsize=8)
    return figure


def token_labels(tokens: list[str]) -> list[str]:
    """Tokens as tick labels: the start token by its role, line ends visible."""
    named = ["(start)" if t == "<|endoftext|>" else t for t in tokens]
    return [t.replace("\n", "⏎") for t in named]


def pattern(axes, weights, tokens: list[str], query: int | None = None, title=""):
    """An attention pattern [query_pos, key_pos] with its tokens; one row framed."""
    image = heat(axes, weights, title=title, bar=False)
    labels = token_labels(tokens)
    size = 9 if len(labels) <= 14 else 7 if len(labels) <= 24 else 6
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size)
    axes.set_yticks(range(len(labels)), labels, fontsize=size)
    axes.set(xlabel="key: looked at", ylabel="query: looks")
    if query is not None:
        frame = ((-0.5, query - 0.5), len(labels), 1)
        style = {"fill": False, "edgecolor": RED, "linewidth": 2}
        axes.add_patch(Rectangle(*frame, **style))
    return image


TILTED = {"rotation": 60, "rotation_mode": "anchor", "ha": "right", "va": "center"}


def arcs(axes, weights, tokens: list[str], query: int, title=""):
    """Who one token looks at: an arc to every key, as thick as its weight [key_pos]."""
    for key, weight in enumerate(np.asarray(weights, dtype=float)[: query + 1]):
        height = 0.12 + 0.06 * (query - key)
        middle, width = (query + key) / 2, max(query - key, 0.7)
        arc = Arc((middle, 0), width, 2 * height, theta2=180)
        arc.set(color=BLUE, linewidth=0.3 + 9 * weight, alpha=0.25 + 0.75 * weight)
        axes.add_patch(arc)
        if weight >= 0.08:
            axes.text(key, -0.09, f"{weight:.2f}", ha="center", fontsize=8, color=BLUE)
    size = 10 if len(tokens) <= 24 else 8
    for place, label in enumerate(token_labels(tokens)):
        bold = {"weight": "bold", "color": RED} if place == query else {}
        axes.text(place + 0.2, -0.16, label, fontsize=size, **TILTED, **bold)
    axes.set(xlim=(-1, len(tokens)), ylim=(-0.9, 0.25 + 0.06 * query), title=title)
    axes.axis("off")


def learning_curves(
    looks: list[dict], levels: dict[str, float], floor: float | None
) -> Figure:
    """Losses beside each head's look-back score, over the same steps.

    A grey line stands where the head that ends highest has come half of its way.

    Args:
        looks: one for each look at the run: "step", "train", "held_out", "said_before"
            (nats per token) and "look_back" ([n_layers, n_heads]).
        levels: losses of simpler models, by name.
        floor: the loss that nobody can beat, where it is known.
    """
    figure, axes = new_figure(columns=2, width=10, height=4)
    left, right = axes[0]
    steps = [look["step"] for look in looks]
    curves = {"train": "training", "held_out": "held-out", "said_before": "said before"}
    for (key, label), colour, line in zip(curves.items(), COLOURS[:2] + (RED,), LINES):
        values = [look[key] for look in looks]
        left.plot(steps, values, color=colour, linestyle=line, label=label)
    for (name, level), line in zip(levels.items(), (":", "-.", (0, (5, 1)), "-")):
        style = {"color": GREY, "linestyle": line, "linewidth": 1}
        left.axhline(level, label=f"{name} {level:.2f}", **style)
    if floor is not None:
        left.axhline(floor, color=GREEN, linewidth=2, label=f"floor {floor:.3f}")
    left.set(ylabel="loss, nats per token", yscale="log", title="loss")
    ticks = [0.1, 0.3, 0.5, 1, 2, 4, 7]
    left.set_yticks(ticks, [str(tick) for tick in ticks])
    left.minorticks_off()
    left.legend(fontsize=8, loc="lower left")
    right.set(ylabel="look-back score", title="where heads look")
    for ax in axes[0]:
        ax.set(xlabel="step", xscale="log")
    if not looks:  # the run was interrupted before the first
        return figure
    # [look, n_layers, n_heads]
    scores = np.stack([np.asarray(look["look_back"]) for look in looks])
    for layer in range(scores.shape[1]):
        style = {"color": COLOURS[layer], "linestyle": LINES[layer]}
        lines = right.plot(steps, scores[:, layer], **style)
        lines[0].set_label(f"layer {layer}")
    best = scores.reshape(len(looks), -1)[:, scores[-1].argmax()]
    half = next(step for step, score in zip(steps, best) if score >= best[-1] / 2)
    for ax in axes[0]:
        ax.axvline(half, color=GREY, linewidth=1, alpha=0.6)
    right.set_ylim(0, None)
    right.legend(fontsize=8, loc="upper left")
    _name_best_heads(right, steps[-1], scores[-1])
    return figure


def _name_best_heads(axes, step: int, scores: np.ndarray, most: int = 6) -> None:
    """At the curves' right ends: which heads stand out, one name above another."""
    top, crowd = axes.get_ylim()[1], np.median(scores)
    best = np.argsort(scores, axis=None)[::-1][:most]
    lowest_free = -1.0
    for flat in best[::-1]:
        layer, head = np.unravel_index(flat, scores.shape)
        if scores[layer, head] < 2 * crowd:
            continue
        lowest_free = at = max(scores[layer, head], lowest_free)
        lowest_free += 0.06 * top
        style = {"color": COLOURS[layer], "fontsize": 8, "va": "center"}
        beside = {"xytext": (6, 0), "textcoords": "offset points"}
        text = f"layer {layer}, head {head}"
        axes.annotate(text, (step, at), annotation_clip=False, **beside, **style)
