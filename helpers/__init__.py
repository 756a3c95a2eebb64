"""Shared code and checks of the course; a notebook imports its names from here."""

from helpers import checks
from helpers.config import Config
from helpers.reference import load_reference
from helpers.session import start

__all__ = ["Config", "checks", "load_reference", "start"]
