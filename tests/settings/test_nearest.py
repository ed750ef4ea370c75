"""A misspelled name is answered alike, whichever package it belongs to."""

from __future__ import annotations

import pytest

import losses.catalogue
import models.catalogue
import perturb.apply
from sweep.settings.names import nearest

PAIRS = [("tyni", "tiny"), ("jpge", "jpeg"), ("infonse", "infonce"), ("xyz", ""), ("tqqq", "")]


@pytest.mark.parametrize(("given", "meant"), PAIRS)
def test_every_package_reaches_as_far(given, meant):
    allowed = ["tiny", "jpeg", "infonce"]
    hint = f"; did you mean '{meant}'?" if meant else ""
    assert nearest(given, allowed) == hint
    assert losses.catalogue.nearest(given, allowed) == hint
    assert models.catalogue.nearest(given, allowed) == hint
    assert perturb.apply.nearest(given, allowed).startswith(hint or ";")
    assert ("did you mean" in perturb.apply.nearest(given, allowed)) == bool(meant)
