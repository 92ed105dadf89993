# METADATA
# title: What a site says must be what the library reads
# description: |
#   A typing error in `data.site.operation` or `data.site.leave` must deny, not be passed over: what a site wanted for its
#   writes is not known then. Rules that are not there say nothing, and that is no error.
package otbroker.site

# METADATA
# description: The reasons of a site are no list of words; any of them could be meant.
reasons_odd if {
	said := data.site.operation.reasons
	not words(said)
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
