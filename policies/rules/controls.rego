# Which controls a decision bears on. controls/controls.json says of each what
# it asks and what proves it.
package congruent.rules.controls

import data.congruent.lib.findings

# The controls for the subject's state, where `action` is what was decided.
names(action) := (for_state | for_findings) | for_action(action)

for_state := by_state[input.state]

# A congruent look proves the same controls as a divergent one: that it was
# made, and what came of it.
looked := {"NIST-800-53-SI-7", "NIST-800-53-SI-7(1)", "PCI-DSS-11.5.2"}

by_state := {
	"congruent": looked | {"NIST-800-53-CM-2(2)", "NIST-800-53-CM-6(1)"},
	"divergent": looked | {
		"CIS-Controls-8-4",
		"HIPAA-164.312(c)",
		"ISO-27001-A.8.32",
		"NIST-800-53-CM-3",
		"NIST-800-53-SI-7(2)",
		"NIST-800-53-SI-7(7)",
		"SOC-2-CC7.1",
		"SOC-2-CC8.1",
	},
	"incomplete": looked,
	"silent": looked | {"NIST-800-53-CM-8(2)"},
	"unknown": {
		"CIS-Controls-8-1",
		"NIST-800-53-CM-2(2)",
		"NIST-800-53-CM-8(3)",
		"NIST-800-53-CM-14",
		"NIST-800-53-SI-7",
		"NIST-800-53-SI-7(15)",
		"PCI-DSS-2.2.1",
	},
}

for_findings contains control if {
	input.state == "divergent"
	some concern, controls in by_concern
	findings.total(concern) > 0
	some control in controls
}

by_concern := {
	"capability": {"NIST-800-53-CM-5(1)"},
	"code": {"NIST-800-53-CM-14", "NIST-800-53-SI-7(15)", "PCI-DSS-6.5.1"},
	"configuration": {"ISO-27001-A.8.9", "NIST-800-53-CM-6", "NIST-800-53-CM-6(2)", "PCI-DSS-2.2.1"},
	"setuid": {"NIST-800-53-CM-5(1)"},
	"trust-anchor": {"NIST-800-53-CM-5(1)"},
}

# The answer to drift: an automated one, by a fresh copy.
for_action(action) := {"FedRAMP-20x-KSI-CMT", "NIST-800-53-SI-7(5)"} if action in {"quarantine", "replace"}

for_action(action) := set() if not action in {"quarantine", "replace"}
