# Sentences for people, bounded in length whatever they are told.
#
# Paths arrive escaped, in `path`; what a node wrote itself (notes, reasons for
# gaps) is escaped by the engine when it leaves in a reason.
package congruent.lib.text

# The most examples that a sentence names.
most_examples := 3

# The most characters of one path, and of any other text quoted.
most_path := 200

most_quoted := 300

# quantity(1, "file", "files") is "1 file", with 3 it is "3 files".
quantity(n, one, many) := sprintf("%d %s", [n, one]) if n == 1

quantity(n, one, many) := sprintf("%d %s", [n, many]) if n != 1

# The text, cut where it is longer than `most` characters.
shorten(text, most) := text if count(text) <= most

shorten(text, most) := concat("", [substring(text, 0, most - 1), "…"]) if count(text) > most

# The first few of `items`, and how many more there are of `total`.
examples(items, total) := concat(", ", array.slice(items, 0, most_examples)) if total <= most_examples

examples(items, total) := sprintf("%s and %d more", [concat(", ", few), total - count(few)]) if {
	total > most_examples
	few := array.slice(items, 0, most_examples)
	count(few) > 0
}

# Where the input holds none of them: their number alone has to do.
examples(items, total) := sprintf("%d more", [total]) if {
	total > most_examples
	count(items) == 0
}

# A span of seconds in the largest unit of which there are at least two.
duration(seconds) := quantity(seconds, "second", "seconds") if seconds < 120

duration(seconds) := sprintf("%d minutes", [floor(seconds / 60)]) if {
	seconds >= 120
	seconds < 7200
}

duration(seconds) := sprintf("%d hours", [floor(seconds / 3600)]) if {
	seconds >= 7200
	seconds < 172800
}

duration(seconds) := sprintf("%d days", [floor(seconds / 86400)]) if seconds >= 172800

# A name in quotation marks.
quoted(name) := sprintf("\"%s\"", [shorten(name, most_quoted)])
