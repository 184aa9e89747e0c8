package congruent.lib.findings_test

import data.congruent.lib.findings

some_input := {
	"summary": {"bears_on": {"code": 7, "setuid": 0, "device": 0}},
	"findings": [
		{"path": "/usr/bin/a", "change": "modified", "fields": ["content", "mode"], "bears_on": ["code"]},
		{"path": "/srv/x", "change": "added", "fields": [], "bears_on": []},
	],
}

test_counts_come_from_the_summary if findings.total("code") == 7 with input as some_input

test_any_bears_on if findings.any_bears_on({"setuid", "code"}) with input as some_input

test_none_bears_on if not findings.any_bears_on({"setuid", "device"}) with input as some_input

test_nothing_is_borne_on_by_nothing if not findings.any_bears_on(set()) with input as some_input

test_described if {
	findings.described("code") == ["/usr/bin/a (modified: content, mode)"] with input as some_input
	findings.described("setuid") == [] with input as some_input
}

test_described_others if findings.described_others == ["/srv/x (added)"] with input as some_input

test_many_fields_are_cut if {
	fields := [sprintf("xattr:user.%d", [i]) | some i in numbers.range(1, 100)]
	text := findings.describe({"path": "/a", "change": "modified", "fields": fields})
	count(text) == count("/a (") + 80 + count(")")
}
