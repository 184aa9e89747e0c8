# What could not be verified, in words.
package congruent.lib.gaps

import data.congruent.lib.text

# How many paths there are of which nothing is known.
total := input.summary.gaps.unreadable + input.summary.gaps.unstable

# One sentence that names the gaps, where there are any.
sentence := sprintf("Could not verify %s: %s; %s.", [
	text.quantity(total, "path", "paths"),
	concat(", ", kinds),
	text.examples(described, total),
]) if {
	total > 0
	count(described) > 0
}

# Counts without examples: the input holds none.
sentence := sprintf("Could not verify %s: %s.", [
	text.quantity(total, "path", "paths"),
	concat(", ", kinds),
]) if {
	total > 0
	count(described) == 0
}

kinds := [sprintf("%d %s", [n, kind]) |
	some kind in ["unreadable", "unstable"]
	n := input.summary.gaps[kind]
	n > 0
]

# Named one by one: whoever reads all of the coverage reads what differs at every sweep.
listed := [input.coverage.unreadable, input.coverage.unstable]

described := [sprintf("%s (%s)", [text.shorten(gap.path, text.most_path), text.shorten(gap.reason, 100)]) |
	some gaps in listed
	some gap in gaps
]
