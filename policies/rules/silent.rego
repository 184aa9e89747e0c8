# Silent: nothing was heard for too long.
#
# Silence is not drift: a cut cable, a collector that was away, a full queue
# look the same from here, and replacing on silence turns each into an outage.
# So it is shown, and loudly, and never ordered. Nor is it a way to hide: it is
# at least as grave as what the subject was last seen to be.
package congruent.rules.silent

import data.congruent.lib.text
import data.congruent.rules.divergent
import data.congruent.rules.environment

verdict := {"action": "observe", "severity": severity, "reasons": reasons}

severities := {"prod": "high", "test": "medium", "dev": "low"}

order := ["none", "low", "medium", "high", "critical"]

severity := order[max({rank(severities[environment.judged_as]), last_rank})]

rank(name) := i if {
	some i, other in order
	other == name
}

default last_rank := 0

last_rank := rank(divergent.severity) if input.findings_total > 0

reasons contains "Silence is not drift, and nothing is ordered for it alone."

reasons contains sprintf("Nothing was heard for %s.", [text.duration(input.silent_for_seconds)]) if {
	is_number(input.silent_for_seconds)
}

reasons contains "Nothing was heard for too long." if not is_number(input.silent_for_seconds)

# A report has this, whatever it says.
reasons contains "It has never reported." if not is_boolean(input.report.conditional)

reasons contains sprintf("When it was last heard, it had %s from what was baked.", [text.quantity(
	input.findings_total,
	"difference",
	"differences",
)]) if {
	input.findings_total > 0
}
