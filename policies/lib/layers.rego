# The layers of a container, where one is judged.
package congruent.lib.layers

import data.congruent.lib.text

# Those that are damaged where they lie. A container lies on what all others on that
# layer lie on, and so would its replacement.
damaged := [layer |
	some layer in input.layers
	layer.findings_total > 0
]

any_damaged if count(damaged) > 0

# Says which, and what is to be done first.
sentences contains sprintf(
	"Damaged where they lie: %s. Each is one cause for all containers on it, and is to be purged first: a replacement would lie on the same copy.",
	[text.examples([describe(layer) | some layer in damaged], count(damaged))],
) if {
	any_damaged
}

describe(layer) := sprintf("layer %s (%s, beneath %s)", [
	name(layer),
	text.quantity(layer.findings_total, "difference", "differences"),
	text.quantity(layer.containers, "container", "containers"),
])

name(layer) := layer.diff_id if is_string(layer.diff_id)

name(layer) := text.shorten(layer.directory, text.most_path) if not is_string(layer.diff_id)
