package congruent.lib.text_test

import data.congruent.lib.text

test_quantity if {
	text.quantity(0, "file", "files") == "0 files"
	text.quantity(1, "file", "files") == "1 file"
	text.quantity(1000, "file", "files") == "1000 files"
}

test_shorten_leaves_what_fits if text.shorten("abcdef", 6) == "abcdef"

test_shorten_cuts_what_does_not if text.shorten("abcdef", 5) == "abcd…"

# Characters are counted, not bytes.
test_shorten_counts_characters if {
	text.shorten("äöüäöü", 6) == "äöüäöü"
	text.shorten("äöüäöü", 3) == "äö…"
}

test_examples_of_few if text.examples(["/a", "/b"], 2) == "/a, /b"

test_examples_of_many if text.examples(["/a", "/b", "/c", "/d"], 4) == "/a, /b, /c and 1 more"

# The input holds fewer than there are.
test_examples_of_what_was_cut if text.examples(["/a"], 1000) == "/a and 999 more"

test_examples_of_what_was_cut_wholly if text.examples([], 1000) == "1000 more"

test_duration if {
	text.duration(0) == "0 seconds"
	text.duration(1) == "1 second"
	text.duration(119) == "119 seconds"
	text.duration(120) == "2 minutes"
	text.duration(7199) == "119 minutes"
	text.duration(7200) == "2 hours"
	text.duration(172799) == "47 hours"
	text.duration(172800) == "2 days"
}

test_quoted if text.quoted("prod") == "\"prod\""

test_quoted_is_bounded if count(text.quoted(concat("", [x | some _ in numbers.range(1, 1000); x := "x"]))) == 302
