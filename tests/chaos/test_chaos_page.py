"""docs/chaos.md names every kind and point, and its plan can be read."""

from __future__ import annotations

import re
from pathlib import Path

from anabranch.chaos.draw import drawn_kinds
from anabranch.simulations.plans.kinds import KINDS, REAL
from anabranch.simulations.plans.story import read_story

PAGE = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text(encoding="utf-8")


def test_every_kind_is_told():
    told = set(re.findall(r"`([a-z-]+)`", PAGE.split("## Faults", 1)[1]))
    assert set(REAL) <= told
    real = {kind for kind, of in KINDS.items() if of.only == "real"}
    after = re.findall(r"real only: ((?:`[a-z-]+`(?:, )?)+)", PAGE)
    assert set(re.findall(r"`([a-z-]+)`", " ".join(after))) == real
    assert real <= set(drawn_kinds())


def test_its_plan_can_be_read():
    (plan,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert read_story(plan, "docs/chaos.md", real=True).faults[0].point == "seal-rename"
