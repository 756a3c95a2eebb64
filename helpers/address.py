"""Where the course is published. `address.json` beside this file says it, alone.

    python -m helpers.editions --repository URL --release TAG

writes it there; links, first cells and README's table follow.
"""

import contextlib
import json
import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "OWNER"  # in the repository's address, until it has one
HOSTS = ("github.com", "gitlab.com")
_REMOTE = re.compile(
    r"(?:https://|ssh://)?(?:[^/@]+@)?(?P<host>[\w.-]+)(?::\d+)?[:/](?P<path>[^:]+)"
)


@dataclass(frozen=True)
class Address:
    """`repository`: what git clones and a browser opens; `release`: a tag of it."""

    repository: str
    release: str

    @property
    def known(self) -> bool:
        """Whether the course has been given an address."""
        return f"/{PLACEHOLDER}/" not in self.repository

    def colab(self, path: str) -> str | None:
        """The link that opens a file in Colab, which reads GitHub and no other."""
        _, on_github, name = self.repository.partition("https://github.com/")
        if not on_github:
            return None
        place = f"github/{name}/blob/{self.release}/{path}"
        return f"https://colab.research.google.com/{place}"


def read(root: Path = ROOT) -> Address:
    """The address that the course has now."""
    text = (root / "helpers" / "address.json").read_text(encoding="utf-8")
    return Address(**json.loads(text))


def write(address: Address, root: Path = ROOT) -> None:
    """Make it the course's address."""
    text = json.dumps(asdict(address), indent=2) + "\n"
    path = root / "helpers" / "address.json"
    path.write_text(text, encoding="utf-8", newline="\n")


def public(remote: str) -> str | None:
    """A git remote as the https address that everybody can clone; None if private.

    User names, passwords and tokens in it are left out.
    """
    match = _REMOTE.fullmatch(remote.strip())
    path = match["path"].strip("/").removesuffix(".git") if match else ""
    if not match or match["host"].lower() not in HOSTS or "/" not in path:
        return None
    return f"https://{match['host'].lower()}/{path}"


def current(
    repository: str | None = None, release: str | None = None, root: Path = ROOT
) -> Address:
    """The address after `--repository` and `--release`.

    What is not given stays. While there is only the placeholder, it comes from git: the
    remote `origin` where that is public, and the newest tag.

    Raises:
        ValueError: an address that not everybody can clone, or a name that is no tag.
    """
    old = read(root)
    if release is not None and not re.fullmatch(r"\w[\w.+-]*", release):
        raise ValueError(f"--release takes the name of a tag, not {release!r}.")
    if repository is not None:
        given = public(repository) or repository.strip().rstrip("/")
        if not re.fullmatch(r"https://[\w.-]+/[\w./~-]+", given):
            raise ValueError(f"--repository takes an https URL, not {repository!r}.")
        return Address(given, release or old.release)
    if not old.known and (found := public(_git(root, "remote", "get-url", "origin"))):
        tag = _git(root, "describe", "--tags", "--abbrev=0")
        return Address(found, release or tag or old.release)
    return Address(old.repository, release or old.release)


def _git(root: Path, *arguments: str) -> str:
    """What git says of the repository at `root` itself; "" where there is none."""
    if not (root / ".git").exists():
        return ""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", *arguments]
        return subprocess.check_output(
            command, cwd=root, stderr=subprocess.DEVNULL, encoding="utf-8"
        ).strip()
    return ""
