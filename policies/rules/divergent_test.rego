package congruent.rules.divergent_test

import data.congruent.rules.divergent

concerns := {"setuid", "capability", "device", "mount", "trust-anchor", "code", "system", "configuration"}

# An input in which exactly `bearing` is borne on, in `environment`.
divergent_in(environment, bearing) := {
	"subject": {"node": "n", "group": "g", "environment": environment},
	"state": "divergent",
	"manifest": null,
	"findings": [],
	"findings_total": 1,
	"summary": {
		"by_change": {"added": 1, "removed": 0, "modified": 0, "replaced": 0, "mounted-over": 0},
		"bears_on": {concern: n | some concern in concerns; n := count({concern} & bearing)},
		"bears_on_nothing": 1,
		"gaps": {"unreadable": 0, "unstable": 0},
	},
}

test_prod_replaces_whatever_differs if {
	every concern in concerns | {"nothing"} {
		divergent.action == "replace" with input as divergent_in("prod", {concern})
	}
}

test_prod_is_critical_where_power_is_touched if {
	every concern in {"setuid", "capability", "device", "mount", "trust-anchor", "code"} {
		divergent.severity == "critical" with input as divergent_in("prod", {concern})
	}
}

test_prod_is_high_otherwise if {
	every concern in {"system", "configuration", "nothing"} {
		divergent.severity == "high" with input as divergent_in("prod", {concern})
	}
}

test_test_replaces_for_code_and_configuration if {
	every concern in concerns {
		divergent.action == "replace" with input as divergent_in("test", {concern})
	}
}

test_test_observes_the_rest if divergent.action == "observe" with input as divergent_in("test", {"nothing"})

test_dev_only_observes if {
	every concern in concerns | {"nothing"} {
		divergent.action == "observe" with input as divergent_in("dev", {concern})
	}
}

# The grave one decides, whatever lies beside it.
test_the_gravest_decides if {
	divergent.severity == "critical" with input as divergent_in("prod", {"configuration", "setuid"})
}

test_every_environment_has_every_weight if {
	every environment in {"prod", "test", "dev"} {
		object.keys(divergent.actions[environment]) == {"grave", "strict", "rest"}
		object.keys(divergent.severities[environment]) == {"grave", "strict", "rest"}
	}
}

test_every_concern_has_a_title if object.keys(divergent.titles) == concerns
