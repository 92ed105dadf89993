package otbroker.session_test

import data.otbroker.fixtures_test as given
import data.otbroker.session

decided(changes) := answer if {
	answer := session.decision with input as given.changed(given.session, changes)
}

closed := {"open": [], "next": null}

test_a_grant_to_view_opens_at_any_time if {
	answer := decided({"windows": closed})
	answer == {"allow": true, "reasons": [], "obligations": [], "valid_until": given.now + 60, "rule": "grant/look"}
}

test_a_grant_to_adjust_opens_inside_a_window if {
	decided({"grants": [given.grants[1]]}).rule == "grant/adjust"
	decided({"grants": [given.grants[1]], "windows": closed}).reasons == ["window_closed"]
}

test_a_grant_bound_to_windows_opens_in_them_only if {
	bound := given.changed(given.grants[0], {"windows": ["night"]})
	decided({"grants": [bound]}).allow
	decided({"grants": [bound], "windows": closed}).reasons == ["window_closed"]
}

test_a_freeze_leaves_viewing if {
	decided({"freezes": [given.freeze(true)]}).rule == "grant/look"
	decided({"freezes": [given.freeze(false)]}).reasons == ["freeze_active"]
	decided({"freezes": [given.freeze(true)], "grants": [given.grants[1]]}).reasons == ["freeze_active"]
}

test_no_grant if decided({"grants": []}).reasons == ["no_grant"]

test_contract if {
	decided({"subject": {"organisation": {"contract_until": given.now}}}).reasons == ["contract_ended"]
}

test_a_site_adds_its_own_reasons if {
	answer := session.decision with input as given.session with data.site.session.reasons as {"role_missing"}
	answer.reasons == ["role_missing"]
}
