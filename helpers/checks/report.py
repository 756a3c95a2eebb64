"""What a check found, and how it is shown: HTML in a notebook, text elsewhere."""

import base64
import contextlib
import functools
import html
import locale
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.checks import page


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong with an answer.

    Attributes:
        name: a slug, such as "divides-by-n-minus-1".
        message: what the code does now, what it should do, and why.
        hint: where to look, or what to try.
        exact: True only where the answer's output *equals* this mistake's.
        line: the person's own line of code, where one can be named.
        page: where more can be read about it, and its wrong code seen.
        stage: of a fact that only holds where the computation departs at this stage.
    """

    name: str
    message: str
    hint: str = ""
    exact: bool = False
    line: str | None = None
    page: str = ""
    stage: str = ""


def mistake(text: str, slug: str = "", line: str | None = None, **words) -> Mistake:
    """A Mistake in the words of an entry of general.md.

    Args:
        text: the entry.
        slug: the mistake's name, where it is not the entry's.
        line: the person's line.
        words: what stands in braces there.
    """
    entry = _said_of_any_answer()[text]
    said, hint = entry.does.format(**words), entry.hint.format(**words)
    return Mistake(slug or text, said, hint, line=line or None)


@functools.cache
def _said_of_any_answer() -> dict[str, page.Entry]:
    return page.entries(Path(__file__).with_name("general.md"))


@dataclass(frozen=True)
class Findings:
    """What judging an answer came to; `Check.examine` makes a Report of it.

    Attributes:
        mistakes: those present together; an answer without any has passed.
        one_of: the mistakes are alternatives with one and the same output.
        notes: remarks on a passing answer.
        summary: what a passing answer equals, or what to say of a blank one.
        todo: it is blank.
        picture: draws target, yours and their difference, as PNG bytes; it is called
            when the report is shown, for drawing takes as long as judging.
    """

    mistakes: tuple[Mistake, ...] = ()
    one_of: bool = False
    notes: tuple[str, ...] = ()
    summary: str = ""
    todo: bool = False
    picture: Callable[[], bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, repr=False, kw_only=True)
class Report(Findings):
    """The result of one check.

    Attributes:
        check: the check's name, such as "layer_norm".
        title: what was checked, as the person calls it: "LayerNorm".
        printed: the first lines that the person's code printed.
    """

    check: str
    title: str
    printed: str = ""

    @property
    def status(self) -> str:
        """ "passed", "failed" or "todo"."""
        return "todo" if self.todo else "failed" if self.mistakes else "passed"

    @property
    def headline(self) -> str:
        """One line: a word, a symbol and the title."""
        mark = {"passed": "✓ passed", "failed": "✗ not yet", "todo": "○ to do"}
        return f"{mark[self.status]}: {self.title}"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [self.headline]
        if self.summary:
            lines.append(f"  {self.summary}")
        if self.one_of:
            lines.append("  One of these (they give the same output here):")
        for mistake in self.mistakes:
            lines.append(f"  • {mistake.message}  [{mistake.name}]")
            if mistake.line:
                lines.append(f"    your line:  {mistake.line}")
            if mistake.hint:
                lines.append(f"    try: {mistake.hint}")
        lines += [f"  note: {note}" for note in self.notes]
        if self.printed:
            lines.append("  your code printed:")
            lines += [f"    | {line}" for line in self.printed.splitlines()]
        return writable("\n".join(lines))

    def _repr_html_(self) -> str:
        colour = {"passed": "#009e73", "failed": "#d55e00", "todo": "#0072b2"}
        rows = [f"<strong>{html.escape(self.headline)}</strong>"]
        if self.summary:
            rows.append(f"<div>{_prose_html(self.summary)}</div>")
        if self.one_of:
            rows.append("<div>One of these (they give the same output here):</div>")
        rows += [_mistake_html(mistake) for mistake in self.mistakes]
        if self.picture:
            with contextlib.suppress(Exception):  # the words count, with any settings
                data = base64.b64encode(self.picture()).decode()
                rows.append(
                    f'<img alt="Target and yours as colours, side by side" '
                    f'style="max-width:100%;margin-top:6px" '
                    f'src="data:image/png;base64,{data}">'
                )
        rows += [f"<div><em>Note:</em> {_prose_html(n)}</div>" for n in self.notes]
        if self.printed:
            rows.append(
                "<details><summary>What your code printed</summary>"
                f"<pre>{html.escape(self.printed)}</pre></details>"
            )
        # No background of our own: the report is read on light and dark themes.
        return (
            f'<div style="border-left:4px solid {colour[self.status]};'
            f'padding:4px 12px;margin:4px 0;line-height:1.5">{"".join(rows)}</div>'
        )


_PLAIN = str.maketrans("✓✗○•−·×–—’“”", '+xo*-**--\'""')
_PLAIN |= str.maketrans({"…": "...", "→": "->", "√": "sqrt "})
_PLAIN |= str.maketrans({"≤": "<=", "≥": ">=", "≠": "!="})


def writable(text: str) -> str:
    """The text with only such characters as the console and files can take here.

    A console of Windows may know 256 of them, and "✓" is none.
    """
    stdout = getattr(sys.stdout, "encoding", None) or "utf-8"
    for encoding in (stdout, locale.getpreferredencoding(False)):
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            kept = [c if _fits(c, encoding) else c.translate(_PLAIN) for c in text]
            text = "".join(kept).encode(encoding, "replace").decode(encoding)
        except LookupError:  # an encoding that Python does not know
            pass
    return text


def _fits(character: str, encoding: str) -> bool:
    try:
        return bool(character.encode(encoding))
    except UnicodeEncodeError:
        return False


def _prose_html(text: str) -> str:
    """Escaped, and what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _mistake_html(mistake: Mistake) -> str:
    parts = [_prose_html(mistake.message)]
    if mistake.line:
        parts.append(f"<div>Your line: <code>{html.escape(mistake.line)}</code></div>")
    if mistake.hint:
        parts.append(f"<div><em>Try:</em> {_prose_html(mistake.hint)}</div>")
    name = html.escape(mistake.name)
    if mistake.page:  # its entry, with the wrong code
        name = f'<a href="{html.escape(mistake.page)}" target="_blank">{name}</a>'
    slug = f'<small style="opacity:.7">[{name}]</small>'
    return f'<div style="margin-top:4px">• {parts[0]} {slug}{"".join(parts[1:])}</div>'


class CheckFailed(AssertionError):
    """Raised by a check on a wrong answer; `.report` has the details."""

    def __init__(self, report: Report):
        super().__init__(str(report))
        self.report = report

    def _render_traceback_(self):
        """What IPython shows in the place of a traceback: no frames of ours."""
        names = ", ".join(m.name for m in self.report.mistakes)
        return [f"CheckFailed: {self.report.title}: {names}. The report is above."]


@dataclass(frozen=True)
class Text:
    """Markdown that a notebook renders and a terminal prints."""

    markdown: str

    def __str__(self) -> str:
        return writable(self.markdown)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return self.markdown


def show(item) -> None:
    """Display in a notebook, print elsewhere."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        sys.stdout.write(f"{item}\n")
        return
    if getattr(get_ipython(), "kernel", None) is not None:
        display(item)
    else:  # `print` may be somebody's own
        sys.stdout.write(f"{item}\n")
