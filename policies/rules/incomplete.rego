# Incomplete: nothing was found to differ, but not everything could be seen.
#
# What could not be verified is no drift, so nothing is ever ordered for it.
package congruent.rules.incomplete

import data.congruent.lib.gaps
import data.congruent.rules.environment

verdict := {"action": "observe", "severity": severities[environment.judged_as], "reasons": reasons}

severities := {"prod": "medium", "test": "low", "dev": "low"}

reasons contains "Nothing was found to differ, but not everything could be verified; that is no drift, and nothing is ordered."

reasons contains gaps.sentence

# Gaps that coverage does not list: a root that stands on baked values.
reasons contains "The root that was observed stands on baked values where something was not verified." if {
	input.report.conditional
}
