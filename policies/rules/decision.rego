# The entry point: what is to happen to a subject in a state.
package congruent

import rego.v1

default decision := {
	"action": "observe",
	"severity": "high",
	"reasons": ["Placeholder."],
	"controls": [],
}

decision := {"action": "none", "severity": "none", "reasons": [], "controls": []} if {
	input.state == "congruent"
}
