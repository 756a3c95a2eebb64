"""Answers in a person's notebook, and what is kept of them in `my_gpt2.py`."""

NORM = """
class LayerNorm(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.w = nn.Parameter(torch.ones(cfg.d_model))

    def forward(self, x):
        return {}
"""
RIGHT = """
class Embed:
    def forward(self, {}):
        return {}
"""


def run_alone(file):
    """Execute the file as any module; return its names."""
    text = file.read_text(encoding="utf-8")
    assert "helpers.model" not in text
    space = {"__name__": "somewhere_else"}
    exec(compile(text, str(file), "exec"), space)
    return space
