# Unknown: there is no report that an accepted manifest could be held against:
# no manifest, another one, or findings too many to be reported.
#
# Without one there is neither drift nor congruence, so nothing is ordered. It
# is as loud as silence: a machine that nobody can vouch for serves.
package congruent.rules.unknown

import data.congruent.lib.text
import data.congruent.rules.environment

verdict := {"action": "observe", "severity": severities[environment.judged_as], "reasons": reasons}

severities := {"prod": "high", "test": "medium", "dev": "low"}

reasons contains "No report of it could be held to an accepted manifest; nothing can be said of it, and nothing is ordered."

reasons contains sprintf("It was held to %s %s (%s), which is not accepted for the group %s.", [
	text.shorten(input.manifest.name, 100),
	text.shorten(input.manifest.version, 100),
	input.manifest.root,
	text.quoted(input.subject.group),
]) if {
	is_object(input.manifest)
}
