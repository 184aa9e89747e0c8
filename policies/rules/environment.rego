# The environment of the subject's group, as the collector's operator named it.
package congruent.rules.environment

import data.congruent.lib.text

name := input.subject.environment

known := {"dev", "prod", "test"}

is_known if name in known

# What the rules take it for. An environment that nobody told this policy about
# may well be production by another name ("prd", "live"), so it is as alarming
# as production. But no machine is ordered away on a guess, or a slip in one
# line of configuration would hand a whole group to the strictest rules: see
# decision.rego.
judged_as := name if is_known

judged_as := "prod" if not is_known

# Says so, where it is not known.
sentences contains sprintf(
	"The environment %s is not known to this policy: it is judged as prod, and nothing is ordered.",
	[text.quoted(name)],
) if {
	not is_known
}
