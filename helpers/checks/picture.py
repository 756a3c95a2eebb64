"""The picture of a report: the target, yours, and where they differ."""

import functools
import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# A person's own settings (TeX, fonts, a dark style) do not reach the report.
_STYLE = {"text.usetex": False, "text.parse_math": False, "figure.facecolor": "white"}


def picture(
    mine: Tensor, target: Tensor, axes: tuple[str, ...]
) -> Callable[[], bytes] | None:
    """What draws two tensors as PNG bytes, when it is called; None where it would not
    help.

    The same shape: the slice in which most is wrong, target and yours on one colour
    scale, and the difference on its own. Another shape: the first slice of each.
    """
    if target.ndim < 2 or not mine.numel() or mine.is_complex():
        return None
    mine, target = mine.detach().float(), target.detach().float()
    if mine.shape != target.shape:
        return functools.partial(_draw_shapes, target, mine)
    difference = (mine - target).nan_to_num()
    while target.ndim > 2:
        worst = difference.abs().flatten(1).sum(1).argmax()
        mine, target, difference = mine[worst], target[worst], difference[worst]
        axes = axes[1:]
    return functools.partial(_draw_values, target, mine, difference, axes)


def _draw_values(target, mine, difference, axes: tuple[str, ...]) -> bytes:
    from matplotlib.figure import Figure

    def draw(figure: Figure) -> None:
        # Places are fixed: finding them takes matplotlib as long as all the rest.
        top, most = _largest(target, mine), _largest(difference)
        panels = [
            (0.06, "target", target, top, None),
            (0.34, "yours", mine, top, 0.605),
            (0.68, "yours − target", difference, most, 0.945),
        ]
        for left, title, values, limit, bar in panels:
            ax = figure.add_axes((left, 0.2, 0.255, 0.68))
            image = _heat(ax, values, limit)
            ax.set(title=title, xlabel=axes[-1])
            ax.locator_params(integer=True)
            if bar:  # one for the two that share a scale, one for the difference
                bar = figure.add_axes((bar, 0.2, 0.008, 0.68))
                figure.colorbar(image, cax=bar, ticks=[-limit, 0, limit], format="%.2g")
                bar.tick_params(labelsize=8)
        figure.axes[0].set_ylabel(axes[-2])

    return _png(draw, (10, 2.6))


def _draw_shapes(target: Tensor, mine: Tensor) -> bytes:
    from matplotlib.figure import Figure

    def draw(figure: Figure) -> None:
        places = dict(left=0.05, right=0.95, bottom=0.12, top=0.85, wspace=0.2)
        for ax, name, values in zip(
            figure.subplots(1, 2, gridspec_kw=places),
            ("target", "yours"),
            (target, mine),
        ):
            shape = list(values.shape)
            values = torch.atleast_2d(values)
            while values.ndim > 2:
                values = values[0]
            _heat(ax, values, _largest(values), aspect="equal")
            ax.set_title(f"{name}: {shape}")
            ax.locator_params(integer=True)

    return _png(draw, (7, 2.6))


def _largest(*several: Tensor) -> float:
    """The largest finite number in any of them, without its sign."""
    finite = torch.cat([x[x.isfinite()].abs().flatten() for x in several])
    return float(finite.max()) if finite.numel() and finite.max() > 0 else 1.0


def _heat(ax, values: Tensor, limit: float, aspect: str = "auto"):
    """Blue is positive and red negative; grey is no finite number."""
    import matplotlib

    colours = matplotlib.colormaps["RdBu"].with_extremes(bad="#bbbbbb")
    shown = np.ma.masked_invalid(values.numpy())
    return ax.imshow(shown, cmap=colours, aspect=aspect, vmin=-limit, vmax=limit)


def _png(draw: Callable, size: tuple[float, float]) -> bytes:
    import matplotlib
    import matplotlib.style
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with matplotlib.style.context("default"), matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size)
        draw(figure)
        figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()
