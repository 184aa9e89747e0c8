package congruent.lib.paths_test

import data.congruent.lib.paths

test_lies_in_itself if paths.lies_in("/etc", "/etc")

test_lies_in_what_is_above if paths.lies_in("/etc/ssh/sshd_config", "/etc")

test_a_longer_name_lies_elsewhere if not paths.lies_in("/etcetera", "/etc")

test_above_does_not_lie_beneath if not paths.lies_in("/etc", "/etc/ssh")

test_everything_lies_in_the_root if paths.lies_in("/etc", "/")

test_lies_in_any if {
	paths.lies_in_any("/opt/app/bin", {"/srv", "/opt"})
	not paths.lies_in_any("/etc", {"/srv", "/opt"})
	not paths.lies_in_any("/etc", set())
}

test_a_star_stays_within_a_component if {
	paths.matches("/opt/app/run.sh", "/opt/*/run.sh")
	not paths.matches("/opt/a/b/run.sh", "/opt/*/run.sh")
}

test_two_stars_do_not if {
	paths.matches("/opt/a/b/run.sh", "/opt/**/run.sh")
	paths.matches("/opt/a/b/run.sh", "/opt/**")
	not paths.matches("/opt", "/opt/**")
}

test_globs_match_the_whole_path if not paths.matches("/srv/opt/x", "/opt/*")

test_matches_any if {
	paths.matches_any("/a/x.py", ["/b/*", "/a/*.py"])
	not paths.matches_any("/a/x.py", ["/b/*"])
}
