package congruent.rules.environment_test

import data.congruent
import data.congruent.rules.divergent_test
import data.congruent.rules.environment

named(name) := {"subject": {"environment": name}}

test_known_ones_are_judged_as_themselves if {
	every name in {"prod", "test", "dev"} {
		environment.judged_as == name with input as named(name)
		count(environment.sentences) == 0 with input as named(name)
	}
}

test_others_are_judged_as_prod if {
	every name in {"", "Prod", "prod ", "production", "staging"} {
		environment.judged_as == "prod" with input as named(name)
		count(environment.sentences) == 1 with input as named(name)
	}
}

test_others_are_never_ordered if {
	stray := divergent_test.divergent_in("staging", {"setuid"})
	congruent.decision.action == "observe" with input as stray
	congruent.decision.severity == "critical" with input as stray
}
