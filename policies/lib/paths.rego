# Where a path lies. The shipped rules need none of this, since findings say
# what they bear on; it is for rules about places of your own.
package congruent.lib.paths

# Whether `path` is `directory` or lies beneath it: "/etc" holds "/etc" and
# "/etc/passwd", not "/etcetera".
lies_in(path, directory) if path == directory

lies_in(path, directory) if startswith(path, concat("", [trim_right(directory, "/"), "/"]))

# Whether `path` lies in one of `directories`.
lies_in_any(path, directories) if {
	some directory in directories
	lies_in(path, directory)
}

# Whether the whole path matches a glob, as in a contract: `*` and `?` stay
# within a component, `**` does not.
matches(path, pattern) if glob.match(pattern, ["/"], path)

# Whether `path` matches one of `patterns`.
matches_any(path, patterns) if {
	some pattern in patterns
	matches(path, pattern)
}
