# The entry point, data.congruent.decision: what is to happen to a subject.
#
# One file beside this one for each state, each with its `verdict`. A state that
# has none leaves the decision undefined, which the collector takes for an
# error and not for a verdict.
package congruent

import data.congruent.lib.text
import data.congruent.rules.controls
import data.congruent.rules.environment

decision := {
	"action": action,
	"severity": severity,
	"reasons": sort((verdict.reasons | environment.sentences) | notes),
	"controls": sort(controls.names(action)),
}

verdict := data.congruent.rules.congruent.verdict if input.state == "congruent"

verdict := data.congruent.rules.divergent.verdict if input.state == "divergent"

verdict := data.congruent.rules.incomplete.verdict if input.state == "incomplete"

verdict := data.congruent.rules.silent.verdict if input.state == "silent"

verdict := data.congruent.rules.unknown.verdict if input.state == "unknown"

action := verdict.action if environment.is_known

# Never more than shown, but always shown, also where the subject is congruent:
# a name that is misspelt is to be found before the first drift, not by it.
action := "observe" if not environment.is_known

severity := verdict.severity if environment.is_known

severity := verdict.severity if {
	not environment.is_known
	verdict.severity != "none"
}

severity := "low" if {
	not environment.is_known
	verdict.severity == "none"
}

# What the collector has to say of the state.
notes contains sprintf("The collector notes: %s", [text.shorten(input.note, text.most_quoted)]) if {
	is_string(input.note)
}
