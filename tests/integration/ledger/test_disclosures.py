"""Salts live beside the ledger, can be shown, and can be erased for good."""

from pathlib import Path

from broker.adapters.ledger_disclosures import DisclosureFile
from broker.ledger.disclosure import verify_disclosure


def test_a_value_can_be_disclosed_until_its_salt_is_erased(tmp_path: Path) -> None:
    file = DisclosureFile(tmp_path / "disclosures")
    first, second = file.commit_to("ana@vendor.example"), file.commit_to("ana@vendor.example")
    assert first != second
    disclosed = DisclosureFile(tmp_path / "disclosures").disclose(first)
    assert disclosed is not None and verify_disclosure(first, *disclosed) == "ana@vendor.example"
    assert file.erase(first) and not file.erase(first)
    assert file.disclose(first) is None and file.disclose(second) is not None
    assert (tmp_path / "disclosures").stat().st_mode & 0o777 == 0o600


def test_an_unfinished_last_line_is_passed_over(tmp_path: Path) -> None:
    file = DisclosureFile(tmp_path / "disclosures")
    kept = file.commit_to("x")
    with open(tmp_path / "disclosures", "ab") as torn:
        torn.write(b'{"commitment":"sha')
    later = file.commit_to("y")
    assert file.disclose(kept) is not None and file.disclose(later) is not None


def test_nothing_was_ever_committed(tmp_path: Path) -> None:
    file = DisclosureFile(tmp_path / "disclosures")
    assert file.disclose("sha256-x") is None and not file.erase("sha256-x")
