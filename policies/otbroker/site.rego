# METADATA
# title: What a site says must be what the library reads
# description: |
#   A typing error in what a site says must deny, not be passed over: what the site wanted is not known then. Rules that
#   are not there say nothing, and that is no error.
package otbroker.site

# METADATA
# description: The reasons of a site are no list of words; any of them could be meant.
reasons_odd if {
	said := data.site.operation.reasons
	not words(said)
}

# METADATA
# description: The same of sessions.
session_odd if {
	said := data.site.session.reasons
	not words(said)
}

# METADATA
# description: The same of the functions of the broker.
admin_odd if {
	said := data.site.admin.reasons
	not words(said)
}

# METADATA
# description: The same of what the broker itself may undo.
leave_odd if {
	said := data.site.leave.reasons
	not words(said)
}

# METADATA
# description: It is not known whom a site lets approve requests, or how many it wants.
access_odd if {
	said := data.site.access.reasons
	not words(said)
}

access_odd if {
	said := data.site.access.needed
	not is_number(said)
}

access_odd if {
	is_number(data.site.access.needed)
	count(approvals_wanted) == 0
}

# METADATA
# description: How many groups a site wants, if an answer can say so; as a whole number, however the site writes it.
approvals_wanted contains wanted if {
	said := data.site.access.needed
	is_number(said)
	some wanted in {1, 2, 3, 4, 5, 6, 7, 8}

	# Not by `==`: OPA would compare types too, and refuse a whole policy where the embedded engine denies.
	wanted >= said
	wanted <= said
}

# METADATA
# description: What a site says about writes is not of the form in which it is read.
odd if {
	said := data.site.operation.second_person
	not names(said, {"actions", "criticalities", "labels", "points"})
}

odd if {
	said := data.site.operation.step_up
	not names(said, {"actions", "criticalities", "labels", "points", "seconds"})
}

odd if {
	said := data.site.operation.obligations
	not words(said)
}

odd if {
	said := data.site.leave.obligations
	not undoings(said)
}

odd if {
	said := data.site.leave.waived
	not is_boolean(said)
}

names(said, known) if {
	is_object(said)
	every key, value in said {
		key in known
		fits(key, value)
	}
}

fits("actions", value) if {
	words(value)
	every action in value {
		action in {"adjust", "auth", "config", "control", "discover", "install", "override", "view"}
	}
}

fits(key, value) if {
	key in {"criticalities", "points"}
	words(value)
}

fits("labels", value) if {
	is_object(value)
	every choice in value {
		words(choice)
	}
}

fits("seconds", value) if is_number(value)

undoings(said) if {
	words(said)
	every word in said {
		word in data.otbroker.leaving.words
	}
}

words(said) if {
	is_array(said)
	only_texts(said)
}

words(said) if {
	is_set(said)
	only_texts(said)
}

only_texts(said) if {
	every word in said {
		is_string(word)
	}
}
