"""The severity tables of the README are those of the catalogue."""

from perturb.tables import README, with_tables


def test_tables_are_up_to_date():
    text = README.read_text(encoding="utf-8")
    assert text == with_tables(text), "run: python -m perturb.tables"
