package otbroker.values_test

import data.otbroker.fixtures_test as given
import data.otbroker.operation
import data.otbroker.values

reasons(question) := r if {
	answer := operation.decision with input as question
	r := answer.reasons
}

test_limits_include_their_ends if {
	reasons(given.write({"value": "16"})) == []
	reasons(given.write({"value": "22.00"})) == []
}

test_below_and_above if {
	reasons(given.write({"value": "15.99"})) == ["value_below_limit"]
	reasons(given.write({"value": "-21"})) == ["value_below_limit"]
	reasons(given.write({"value": "22.1"})) == ["value_above_limit"]
}

test_numbers_compare_as_numbers if {
	reasons(given.write({"value": "9"})) == ["value_below_limit"]
	reasons(given.write({"value": "100"})) == ["value_above_limit"]
}

test_what_is_no_plain_number_is_not_allowed if {
	not_numbers := {"", "abc", "1e1", " 20", "20 ", "+20", "20.", ".5", "1.2.3", "020", "0x14", "NaN", "2000000000000"}
	every text in not_numbers {
		reasons(given.write({"value": text})) == ["value_not_allowed"]
	}
}

test_a_long_number_counts_with_its_first_digits if {
	reasons(given.write({"value": "21.899999618530273"})) == []
	values.decimal("21.899999618530273") == 21.8999996185302
}

test_without_limits_text_is_a_value if {
	reasons(given.write({"value": "auto", "limits": {"minimum": null, "maximum": null, "allowed": []}})) == []
}

test_the_list_of_allowed_values if {
	limits := {"minimum": null, "maximum": null, "allowed": ["auto", "off"]}
	reasons(given.write({"value": "auto", "limits": limits})) == []
	reasons(given.write({"value": "on", "limits": limits})) == ["value_not_allowed"]
}

test_a_whole_point_without_value_is_not_written if {
	reasons(given.write({"value": null})) == ["value_not_allowed"]
}

test_null_is_no_value_on_modbus if reasons(given.write({"value": "null"})) == ["value_not_allowed"]

test_priorities_within_bounds if {
	reasons(given.priority({"priority": 10})) == []
	reasons(given.priority({"priority": 16})) == []
	reasons(given.priority({"priority": 9})) == ["priority_not_allowed"]
	low := given.changed(given.point, {"priority": {"lowest": 9, "highest": 12}})
	reasons(given.priority({"priority": 12, "points": [low]})) == []
	reasons(given.priority({"priority": 13, "points": [low]})) == ["priority_not_allowed"]
}

test_no_priority_acts_at_sixteen if {
	reasons(given.priority({"priority": null})) == []
	low := given.changed(given.point, {"priority": {"lowest": 9, "highest": 12}})
	reasons(given.priority({"priority": null, "points": [low]})) == ["priority_not_allowed"]
}

test_what_is_not_commandable_takes_no_priority if {
	reasons(given.priority({"points": [given.point]})) == ["priority_not_allowed"]
	reasons(given.priority({"points": [given.point], "priority": null})) == []
}

test_releasing_needs_no_value_but_the_right_priority if {
	released := given.changed(given.bacnet.points[0], {"value": "null"})
	reasons(given.priority({"points": [released]})) == []
	reasons(given.priority({"points": [released], "priority": 8})) == ["priority_not_allowed"]
}

override(priority) := given.changed(
	given.priority({
		"action": "override",
		"priority": priority,
		"points": [given.changed(given.bacnet.points[0], {"priority": {"lowest": 1, "highest": 16}})],
	}),
	{"grants": [given.changed(given.grants[1], {"actions": ["override"]})]},
)

test_override_reaches_one_to_eight_but_never_six if {
	every priority in {1, 5, 7, 8} {
		reasons(override(priority)) == []
	}
	reasons(override(6)) == ["priority_not_allowed"]
}

test_an_adjustment_does_not_reach_eight if {
	wide := given.changed(given.bacnet.points[0], {"priority": {"lowest": 1, "highest": 16}})
	reasons(given.priority({"priority": 8, "points": [wide]})) == ["priority_not_allowed"]
}
