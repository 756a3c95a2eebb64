"""What runs the course elsewhere: .ci/run, the dev container. Nothing is installed."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.address import ROOT

PYTHON = """\
#!/bin/sh
mkdir -p "$3/@BIN"
for name in pip ruff pytest; do
    printf '#!/bin/sh\\necho %s of the new environment\\n' $name >"$3/@BIN/$name"
    chmod +x "$3/@BIN/$name"
done
echo 'echo 3 passed in 0.1s' >>"$3/@BIN/pytest"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("folder", ["bin", "Scripts"])
def test_ci_runs_what_is_in_the_new_environment(tmp_path: Path, folder: str):
    """A stand-in for Python makes an environment as Linux or as Windows lays it out."""
    stubs = dict.fromkeys(("pip", "ruff", "pytest"), "#!/bin/sh\nexit 1")  # outside it
    stubs |= {"py": PYTHON.replace("@BIN", folder), "chromium": "#!/bin/sh"}
    for name, text in stubs.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PYTHON": str(tmp_path / "py"), "PATH": path}
    run = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run")], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    for name in ("pip", "ruff", "pytest"):
        assert f"{name} of the new environment" in run.stdout
    assert run.stdout.endswith("CI: 3 passed in 0.1s\n")


def test_the_dev_container_runs_readmes_first_command():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    container = json.loads(text)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    install, lab = readme.split("```\n")[1].strip().split(" && ")
    torch, last = container["postCreateCommand"].split(" && ")
    assert (last, container["postAttachCommand"]) == (install, lab)
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert f"\n{torch.split()[2]} " in requirements


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a clone")
def test_only_exercise_editions_are_marked_as_generated():
    paths = ["notebooks/exercises/02_layernorm.ipynb", "notebooks/02_layernorm.ipynb"]
    ask = ["git", "check-attr", "linguist-generated", *paths]
    said = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True).stdout
    assert [line.split(": ")[-1] for line in said.splitlines()] == [
        "set",
        "unspecified",
    ]
