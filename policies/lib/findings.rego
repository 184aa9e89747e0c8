# The findings, by what they bear on.
#
# Counts come from input.summary, which is over all findings. input.findings
# may be only the first of many: take them for examples, never for verdicts.
package congruent.lib.findings

import data.congruent.lib.text

# How many findings bear on `concern`.
total(concern) := input.summary.bears_on[concern]

# Whether any finding bears on one of `concerns`.
any_bears_on(concerns) if {
	some concern in concerns
	total(concern) > 0
}

# The first few findings that bear on `concern`, described.
described(concern) := few([finding |
	some finding in input.findings
	concern in finding.bears_on
])

# The first few findings that bear on nothing in particular, described.
described_others := few([finding |
	some finding in input.findings
	count(finding.bears_on) == 0
])

few(list) := [describe(finding) | some finding in array.slice(list, 0, text.most_examples)]

# A finding in a few words: "/usr/bin/su (modified: content, mode)".
describe(finding) := sprintf("%s (%s)", [text.shorten(finding.path, text.most_path), how(finding)])

how(finding) := finding.change if count(finding.fields) == 0

how(finding) := text.shorten(sprintf("%s: %s", [finding.change, concat(", ", finding.fields)]), 80) if {
	count(finding.fields) > 0
}
