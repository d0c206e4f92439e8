"""What a person sees of a run: one page for a browser, and a picture of the same."""

from __future__ import annotations

from .document import page
from .png import picture

__all__ = ["page", "picture"]
