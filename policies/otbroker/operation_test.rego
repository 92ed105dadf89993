package otbroker.operation_test

import data.otbroker.fixtures_test as given
import data.otbroker.operation

reasons(question) := r if {
	answer := operation.decision with input as question
	answer.allow == false
	answer.obligations == []
	r := answer.reasons
}

allowed(question) if {
	answer := operation.decision with input as question
	answer.allow == true
	answer.reasons == []
}

denied_for(question, reason) if reasons(question) == [reason]

test_adjust_inside_the_window_is_allowed_for_a_minute if {
	answer := operation.decision with input as given.operation(given.adjust)
	answer == {"allow": true, "reasons": [], "obligations": [], "valid_until": given.now + 60, "rule": "grant/adjust"}
}

test_view_needs_no_window if allowed(closed(given.view))

test_adjust_needs_a_window if denied_for(closed(given.adjust), "window_closed")

test_a_window_that_is_over_is_not_open if {
	over := {"open": [{"id": "night", "opens": given.now - 5, "closes": given.now}], "next": null}
	denied_for(given.changed(given.operation(given.adjust), {"windows": over}), "window_closed")
}

test_a_freeze_wins_over_the_window if denied_for(frozen(given.adjust, true), "freeze_active")

test_a_freeze_lets_view if allowed(frozen(given.view, true))

test_a_freeze_may_stop_views_too if denied_for(frozen(given.view, false), "freeze_active")

test_no_grant if "no_grant" in reasons(granted(given.view, []))

test_an_ended_grant_is_none if {
	denied_for(granted(given.view, [given.changed(given.grants[0], {"not_after": given.now})]), "no_grant")
}

test_a_grant_that_has_not_begun_is_none if {
	denied_for(granted(given.view, [given.changed(given.grants[0], {"not_before": given.now + 1})]), "no_grant")
}

test_whoever_may_do_anything_at_a_device_may_find_it if {
	allowed(closed(given.finding))
	every grant in given.grants {
		allowed(granted(given.finding, [grant]))
	}
}

test_finding_goes_on_where_viewing_does if {
	allowed(frozen(given.finding, true))
	denied_for(frozen(given.finding, false), "freeze_active")
}

test_without_a_grant_nothing_is_found if "no_grant" in reasons(granted(given.finding, []))

test_what_else_is_called_discovery_needs_a_grant_for_it if {
	asked := given.changed(given.finding, {"service": "read-device-identification"})
	denied_for(granted(asked, [given.grants[1]]), "action_not_granted")
}

test_action_not_granted if denied_for(granted(given.adjust, [given.grants[0]]), "action_not_granted")

test_point_not_granted if {
	other := given.changed(given.grants[1], {"points": ["fan-speed"]})
	denied_for(granted(given.adjust, [other]), "point_not_granted")
}

test_one_grant_must_cover_all_points if {
	two := [given.point, given.changed(given.point, {"name": "fan-speed"})]
	question := given.operation(given.changed(given.adjust, {"points": two}))
	denied_for(question, "point_not_granted")
	allowed(given.changed(question, {"grants": [given.changed(given.grants[1], {"points": []})]}))
}

test_a_write_needs_the_class_of_every_point if {
	question := given.write({"class": "control"})
	denied_for(question, "action_not_granted")
	both := given.changed(given.grants[1], {"actions": ["adjust", "control"]})
	allowed(given.changed(question, {"grants": [both]}))
}

test_the_grant_window_must_be_open if {
	bound := given.changed(given.grants[1], {"windows": ["saturday"]})
	denied_for(granted(given.adjust, [bound]), "window_closed")
	allowed(granted(given.adjust, [given.changed(bound, {"windows": ["saturday", "night"]})]))
}

test_a_grant_bound_to_a_window_does_not_even_view_outside if {
	bound := given.changed(given.grants[0], {"windows": ["saturday"]})
	denied_for(granted(given.view, [bound]), "window_closed")
}

test_undescribed_view_needs_a_grant_for_all_points if {
	view := given.changed(given.view, {"described": false})
	allowed(given.operation(view))
	named := given.changed(given.grants[0], {"points": ["supply-temp-setpoint"]})
	denied_for(granted(view, [named]), "point_not_described")
}

test_undescribed_write_is_config if {
	write := given.changed(given.adjust, {"described": false, "action": "config", "points": []})
	denied_for(given.operation(write), "action_not_granted")
	allowed(granted(write, [given.changed(given.grants[1], {"actions": ["config"], "points": []})]))
}

test_an_adjustment_of_undescribed_or_of_part_is_refused if {
	all := given.changed(given.grants[1], {"points": []})
	denied_for(granted(given.changed(given.adjust, {"described": false}), [all]), "point_not_described")
	part := given.changed(given.adjust, {"points": [given.changed(given.point, {"whole": false, "value": null})]})
	denied_for(granted(part, [all]), "point_not_described")
}

test_config_may_write_part_of_a_point if {
	part := [given.changed(given.point, {"whole": false, "value": null})]
	config := given.changed(given.adjust, {"action": "config", "points": part})
	allowed(granted(config, [given.changed(given.grants[1], {"actions": ["config"]})]))
}

test_a_read_only_point_is_never_written if {
	points := [given.changed(given.point, {"class": null})]
	config := given.changed(given.adjust, {"action": "config", "points": points})
	denied_for(granted(config, [given.changed(given.grants[1], {"actions": ["config"]})]), "point_read_only")
	denied_for(given.write({"class": null}), "point_read_only")
}

test_services_have_their_place if {
	denied_for(given.operation(given.changed(given.view, {"service": "life-safety-operation"})), "service_not_allowed")
	"service_not_allowed" in reasons(given.operation(given.changed(given.view, {"writes": true})))
	denied_for(given.operation(given.changed(given.adjust, {"service": "reinitialize-device"})), "service_not_allowed")
	allowed(given.operation(given.changed(
		given.view,
		{"action": "discover", "service": "report-server-id", "points": []},
	)))
}

test_what_a_device_is_may_be_read_by_whoever_may_look_at_anything_of_it if {
	named := given.changed(given.grants[0], {"points": ["supply-temp-setpoint"], "actions": ["view"]})
	every property in {"object-name", "vendor-name"} {
		asked := given.changed(given.asking, {"address": {"object_type": "device", "property": property}})
		allowed(granted(asked, [named]))
	}
	of_another := given.changed(given.asking, {"address": {"property": "object-name"}})
	denied_for(granted(of_another, [named]), "point_not_described")
	adjusting := given.changed(named, {"actions": ["adjust"]})
	what_it_is := given.changed(given.asking, {"address": {"object_type": "device", "property": "object-name"}})
	denied_for(granted(what_it_is, [adjusting]), "action_not_granted")
}

test_which_objects_a_device_has_takes_a_grant_for_all_points if {
	named := given.changed(given.grants[0], {"points": ["supply-temp-setpoint"]})
	listing := given.changed(given.asking, {"address": {"object_type": "device", "property": "object-list"}})
	denied_for(granted(listing, [named]), "point_not_described")
	allowed(granted(listing, [given.grants[0]]))
	denied_for(granted(given.asking, [named]), "point_not_described")
	allowed(granted(given.asking, [given.grants[0]]))
}

test_subscriptions_and_summaries_are_views if {
	every service in {"subscribe-cov", "subscribe-cov-property-multiple", "get-event-information", "read-range"} {
		allowed(granted(given.changed(given.asking, {"service": service}), [given.grants[0]]))
	}
	denied_for(granted(given.changed(given.asking, {"service": "atomic-read-file"}), [given.grants[0]]), "service_not_allowed")
}

test_commands_without_a_value_need_their_action_for_all_points if {
	alarm := given.changed(given.commanding, {"action": "control", "service": "acknowledge-alarm"})
	safety := given.changed(given.commanding, {"action": "override", "service": "life-safety-operation"})
	every command in [alarm, safety] {
		all := given.changed(given.grants[1], {"actions": [command.action], "points": []})
		allowed(granted(command, [all]))
		denied_for(granted(command, [given.changed(all, {"points": ["supply-temp-setpoint"]})]), "point_not_described")
		denied_for(granted(command, [given.changed(all, {"actions": ["adjust"]})]), "action_not_granted")
	}
	lighter := given.changed(safety, {"action": "control"})
	both := given.changed(given.grants[1], {"actions": ["control"], "points": []})
	"service_not_allowed" in reasons(granted(lighter, [both]))
}

test_an_undescribed_object_is_written_with_config_and_at_the_first_eight_priorities_with_override_too if {
	config := given.changed(given.grants[1], {"actions": ["config"], "points": []})
	both := given.changed(config, {"actions": ["config", "override"]})
	write := given.changed(given.commanding, {"action": "config", "service": "write-property", "raw_values": ["21.5"]})
	allowed(granted(given.changed(write, {"priority": 9}), [config]))
	denied_for(granted(given.changed(write, {"priority": 8}), [config]), "action_not_granted")
	allowed(granted(given.changed(write, {"priority": 8}), [both]))
	denied_for(granted(given.changed(write, {"priority": 6}), [both]), "priority_not_allowed")
}

test_what_makes_and_changes_a_device_needs_its_own_action if {
	places := {
		"create-object": "config",
		"device-communication-control": "config",
		"time-synchronization": "config",
		"confirmed-private-transfer": "config",
		"atomic-write-file": "install",
		"authenticate": "auth",
	}
	every service, action in places {
		asked := given.changed(given.commanding, {"action": action, "service": service})
		allowed(granted(asked, [given.changed(given.grants[1], {"actions": [action], "points": []})]))
		denied_for(granted(asked, [given.changed(given.grants[1], {"points": []})]), "action_not_granted")
	}
}

test_contract if {
	ended := {"subject": {"organisation": {"contract_until": given.now}}}
	denied_for(given.changed(given.operation(given.view), ended), "contract_ended")
	early := {"subject": {"organisation": {"contract_from": given.now + 1}}}
	denied_for(given.changed(given.operation(given.view), early), "contract_ended")
	none := {"subject": {"organisation": {"contract_from": null, "contract_until": null}}}
	allowed(given.changed(given.operation(given.view), none))
}

test_critical_devices_need_both_proofs if {
	critical := {"device": {"criticality": "critical"}}
	denied_for(given.changed(given.operation(given.adjust), critical), "criticality_needs_both_proofs")
	allowed(given.changed(given.operation(given.view), critical))
	both := {"device": {"criticality": "critical"}, "subject": {"proofs": [given.certificate, given.token]}}
	answer := operation.decision with input as given.changed(given.operation(given.adjust), both)
	answer.allow
	answer.obligations == ["before_value"]
}

test_an_unknown_criticality_counts_as_critical if {
	question := given.changed(given.operation(given.adjust), {"device": {"criticality": "severe"}})
	denied_for(question, "criticality_needs_both_proofs")
}

test_writes_to_high_devices_need_the_value_before if {
	high := {"device": {"criticality": "high"}}
	operation.decision.obligations == ["before_value"] with input as given.changed(given.operation(given.adjust), high)
	operation.decision.obligations == [] with input as given.changed(given.operation(given.view), high)
}

test_what_is_about_no_property_has_no_value_before if {
	high := {"device": {"criticality": "high"}}
	element := given.changed(given.commanding, {"service": "add-list-element", "action": "config"})
	restart := given.changed(element, {"service": "reinitialize-device", "address": {"property": null}})
	grants := [given.changed(given.grants[1], {"actions": ["config"], "points": []})]
	operation.decision.obligations == ["before_value"] with input as given.changed(granted(element, grants), high)
	operation.decision.obligations == [] with input as given.changed(granted(restart, grants), high)
}

test_a_write_to_a_marked_point_obliges_to_undo_it if {
	obliged({"on_leave": "restore"}) == ["restore"]
	obliged({"on_leave": "release"}) == ["release"]
	obliged({"on_leave": "keep"}) == []
	question := given.operation(given.changed(given.view, {"points": [given.changed(given.point, {"value": null, "on_leave": "restore"})]}))
	operation.decision.obligations == [] with input as question
}

test_a_site_obliges_to_undo_more_or_waives_it if {
	kept := given.operation(given.adjust)
	operation.decision.obligations == ["restore"] with input as kept with data.site.leave.obligations as {"restore"}
	marked := given.write({"on_leave": "restore"})
	operation.decision.obligations == [] with input as marked with data.site.leave.waived as true
}

test_a_site_adds_its_own_reasons if {
	answer := operation.decision with input as given.operation(given.adjust)
		with data.site.operation.reasons as {"role_missing"}
	answer.reasons == ["role_missing"]
}

test_all_missing_conditions_are_named if {
	question := given.changed(frozen(given.adjust, true), {"grants": [], "windows": {"open": [], "next": null}})
	reasons(question) == ["freeze_active", "no_grant", "window_closed"]
}

test_a_plan_allows_what_it_plans_and_nothing_else if {
	allowed(granted(given.adjust, [given.planned(["21.5"])]))
	allowed(granted(given.adjust, [given.planned(["19", "21.5"])]))
	denied_for(granted(given.adjust, [given.planned(["21.50"])]), "outside_plan")
	denied_for(granted(given.adjust, [given.planned(["21"])]), "outside_plan")
	denied_for(granted(given.adjust, [given.planned([])]), "outside_plan")
	elsewhere := given.changed(given.planned([]), {"plan": [{"point": "fan-speed", "value": "21.5", "priority": null}]})
	denied_for(granted(given.adjust, [elsewhere]), "outside_plan")
}

test_a_planned_value_is_compared_to_its_last_character if {
	every pair in nearly_alike {
		allowed(granted(unlimited(pair[0]), [given.planned([pair[0]])]))
		denied_for(granted(unlimited(pair[0]), [given.planned([pair[1]])]), "outside_plan")
	}
}

# Alike for sixteen characters, in double precision, or as numbers.
nearly_alike := [
	["recipe-of-batch-0001", "recipe-of-batch-0002"],
	["0.1234567890123456", "0.1234567890123457"],
	["18446744073709551615", "18446744073709551614"],
	["123456789012.12345", "123456789012.12346"],
	["21.899999618530273", "21.899999618530274"],
	["[1,2,3,4,5,6,7,8,9]", "[1,2,3,4,5,6,7,8,0]"],
	["1", "1.0"],
	["1", "true"],
	["", "null"],
]

unlimited(value) := given.changed(given.adjust, {"points": [given.changed(
	given.point,
	{"value": value, "limits": {"minimum": null, "maximum": null, "allowed": []}},
)]})

test_a_plan_pins_the_bacnet_priority if {
	allowed(granted(given.bacnet, [given.planned_at([12])]))
	allowed(granted(given.bacnet, [given.planned_at([10, 12])]))
	denied_for(granted(given.bacnet, [given.planned_at([10])]), "outside_plan")
	denied_for(granted(given.bacnet, [given.planned_at([null])]), "outside_plan")
	denied_for(granted(given.adjust, [given.planned_at([12])]), "outside_plan")
}

test_a_write_without_priority_is_planned_at_16 if {
	unnumbered := given.changed(given.bacnet, {"priority": null})
	allowed(granted(unnumbered, [given.planned_at([16])]))
	denied_for(granted(unnumbered, [given.planned_at([12])]), "outside_plan")
	denied_for(granted(unnumbered, [given.planned_at([null])]), "outside_plan")
}

test_a_plan_is_not_about_reading if {
	look := given.changed(given.planned([]), {"actions": ["view"]})
	allowed(granted(given.view, [look]))
}

test_a_plan_allows_nothing_that_names_no_point if {
	everything := given.changed(given.planned(["21.5"]), {"actions": ["config"], "points": []})
	config := {"action": "config", "service": "restart", "points": [], "raw_values": [], "values": {}}
	denied_for(granted(given.changed(given.adjust, config), [everything]), "outside_plan")
}

test_a_plan_allows_no_part_of_a_point if {
	everything := given.changed(given.planned(["21.5"]), {"actions": ["config"], "points": []})
	part := given.changed(given.adjust, {
		"action": "config",
		"points": [given.changed(given.point, {"whole": false, "value": null})],
	})
	denied_for(granted(part, [everything]), "outside_plan")
}

test_without_plan_another_grant_serves if {
	answer := operation.decision with input as granted(given.adjust, [given.planned([]), given.grants[1]])
	answer.rule == "grant/adjust"
}

test_what_uses_a_grant_up_is_not_to_be_reused if {
	once := given.changed(given.grants[1], {"id": "a-once", "single_use": true})
	answer := operation.decision with input as granted(given.adjust, [once])
	answer == {"allow": true, "reasons": [], "obligations": [], "rule": "grant/a-once"}
	other := operation.decision with input as granted(given.adjust, [once, given.grants[1]])
	other.rule == "grant/adjust"
	is_number(other.valid_until)
}

test_reading_uses_nothing_up if {
	once := given.changed(given.grant, {"single_use": true})
	answer := operation.decision with input as granted(given.view, [once])
	is_number(answer.valid_until)
}

closed(asked) := given.changed(given.operation(asked), {"windows": {"open": [], "next": null}})

frozen(asked, views) := given.changed(given.operation(asked), {"freezes": [given.freeze(views)]})

granted(asked, grants) := given.changed(given.operation(asked), {"grants": grants})

obliged(changes) := answer.obligations if {
	answer := operation.decision with input as given.write(changes)
}

test_a_priority_array_is_overridden_by_its_index if {
	slot := given.changed(given.commanding, {"action": "config", "service": "write-property"})
	configuring := given.changed(given.grants[0], {"actions": ["config"]})
	both := given.changed(given.grants[0], {"actions": ["config", "override"]})
	every index in [null, 1, 8] {
		write := given.changed(slot, {"address": {"property": "priority-array", "index": index}})
		denied_for(granted(write, [configuring]), "action_not_granted")
		allowed(granted(write, [both]))
	}
	allowed(granted(given.changed(slot, {"address": {"property": "priority-array", "index": 9}}), [configuring]))
}
