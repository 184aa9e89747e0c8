package congruent.rules.silent_test

import data.congruent.rules.divergent_test
import data.congruent.rules.silent

silent_after(environment, bearing) := object.union(
	divergent_test.divergent_in(environment, bearing),
	{"state": "silent", "silent_for_seconds": 3600, "report": {}},
)

test_silence_never_orders if {
	every environment in {"prod", "test", "dev", "elsewhere"} {
		silent.verdict.action == "observe" with input as silent_after(environment, {"setuid"})
	}
}

test_silence_hides_nothing if {
	silent.severity == "critical" with input as silent_after("prod", {"setuid"})
	silent.severity == "high" with input as silent_after("prod", {"nothing"})
	silent.severity == "high" with input as silent_after("test", {"setuid"})
	silent.severity == "medium" with input as silent_after("dev", {"setuid"})
}

test_silence_alone if {
	quiet := object.union(silent_after("prod", {"nothing"}), {"findings_total": 0})
	silent.severity == "high" with input as quiet
}
