"""A role everywhere includes the role at each site, and not the other way round."""

from broker.access.roles import met, within


def test_everywhere_includes_each_site() -> None:
    assert within("operator@plant", ["operator"])
    assert within("operator@plant", ["operator@plant"])
    assert not within("operator", ["operator@plant"])
    assert not within("operator@mill", ["operator@plant", "security"])


def test_what_two_versions_both_give() -> None:
    assert met(["operator"], ["operator@plant"]) == met(["operator@plant"], ["operator"]) == ("operator@plant",)
    assert met(["operator", "security"], ["security", "auditor"]) == ("security",)
    assert met(["operator@plant"], ["operator@mill"]) == ()
