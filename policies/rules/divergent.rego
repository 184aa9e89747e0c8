# Divergent: something differs from what was baked.
#
# Every verdict here stands on input.summary, which counts all findings, and
# each of its steps is a threshold above zero: another finding can make it
# graver, never milder.
package congruent.rules.divergent

import data.congruent.lib.findings
import data.congruent.lib.gaps
import data.congruent.lib.layers
import data.congruent.lib.text
import data.congruent.rules.environment

# What gives whoever brought it power over the machine. Device nodes are here
# beside setuid and capabilities: a node for a disk made anywhere reads and
# writes past every permission.
grave := {"capability", "code", "device", "mount", "setuid", "trust-anchor"}

# What `test` holds to as strictly as `prod`: code and configuration.
strict := grave | {"configuration", "system"}

verdict := {"action": action, "severity": severity, "reasons": reasons}

action := actions[environment.judged_as][weight]

severity := severities[environment.judged_as][weight]

actions := {
	"prod": {"grave": "replace", "strict": "replace", "rest": "replace"},
	"test": {"grave": "replace", "strict": "replace", "rest": "observe"},
	"dev": {"grave": "observe", "strict": "observe", "rest": "observe"},
}

# Nobody is woken for a machine that serves no customers.
severities := {
	"prod": {"grave": "critical", "strict": "high", "rest": "high"},
	"test": {"grave": "high", "strict": "medium", "rest": "low"},
	"dev": {"grave": "medium", "strict": "low", "rest": "low"},
}

# A layer is damaged behind its runtime's back: whoever did it had power over the machine.
is_grave if findings.any_bears_on(grave)

is_grave if layers.any_damaged

weight := "grave" if is_grave

weight := "strict" if {
	not is_grave
	findings.any_bears_on(strict)
}

weight := "rest" if {
	not is_grave
	not findings.any_bears_on(strict)
}

reasons contains sprintf("Found %s from what was baked%s: %s.", [
	text.quantity(input.findings_total, "difference", "differences"),
	of_manifest,
	concat(", ", changes),
])

# Where the finding is the reason: one sentence for each thing that is borne on.
reasons contains sprintf("%s: %s, %s.", [
	title,
	text.quantity(n, "difference", "differences"),
	text.examples(findings.described(concern), n),
]) if {
	some concern, title in titles
	n := findings.total(concern)
	n > 0
}

reasons contains sprintf("Elsewhere: %s, %s.", [
	text.quantity(n, "difference", "differences"),
	text.examples(findings.described_others, n),
]) if {
	n := input.summary.bears_on_nothing
	n > 0
}

reasons contains gaps.sentence

reasons contains sentence if some sentence in layers.sentences

reasons contains sprintf(because[environment.judged_as][action], [kind]) if {
	environment.is_known
	action == "replace"
}

reasons contains because[environment.judged_as][action] if {
	environment.is_known
	action == "observe"
}

# Not the container itself is asked for, which each has another of: equal findings have
# one decision.
kind := "container" if is_array(input.layers)

kind := "machine" if not is_array(input.layers)

because := {
	"prod": {"replace": "In prod, a %s that differs from its image is replaced."},
	"test": {
		"replace": "In test, a %s whose code or configuration differs from its image is replaced.",
		"observe": "In test, differences outside code and configuration are only shown.",
	},
	"dev": {"observe": "In dev, differences are only shown."},
}

titles := {
	"capability": "File capabilities",
	"code": "Code and what starts it",
	"configuration": "Configuration",
	"device": "Device nodes",
	"mount": "Mounts that the contract does not name",
	"setuid": "Setuid or setgid files",
	"system": "The operating system's own places, outside code",
	"trust-anchor": "Trust anchors (keys, certificates, accounts, privileges)",
}

changes := [sprintf("%d %s", [n, change]) |
	some change in ["added", "removed", "modified", "replaced", "mounted-over"]
	n := input.summary.by_change[change]
	n > 0
]

default of_manifest := ""

of_manifest := sprintf(" as %s %s", [
	text.shorten(input.manifest.name, 100),
	text.shorten(input.manifest.version, 100),
])
