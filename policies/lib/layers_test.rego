package congruent.lib.layers_test

import data.congruent.lib.layers

layer(n) := {"diff_id": null, "directory": "/l/1", "findings_total": n, "containers": 2}

test_a_node_has_none if not layers.any_damaged with input as {}

test_an_intact_layer_is_not_damaged if not layers.any_damaged with input as {"layers": [layer(0)]}

test_it_says_which_and_how_many_lie_on_it if {
	sentences := layers.sentences with input as {"layers": [layer(0), layer(1)]}
	some sentence in sentences
	startswith(sentence, "Damaged where they lie: layer /l/1 (1 difference, beneath 2 containers).")
}
