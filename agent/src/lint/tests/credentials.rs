//! Tokens, files that hold credentials, and accounts.

use super::super::Lint::{self, Credential, EmptyPassword};
use super::super::testing::check_content;
use super::RANDOM;

#[test]
fn tokens() {
    let upper = RANDOM.to_uppercase();
    for (what, begins, length, after) in [
        ("AWS access key", "AKIA", 16, "\n"),
        ("GitHub token", "ghp_", 36, "\""),
        ("GitHub token", "github_pat_", 44, ""),
        ("GitLab token", "glpat-", 20, " "),
        ("Slack token", "xoxb-", 24, ""),
        ("Slack webhook", "hooks.slack.com/services/T", 40, ""),
        ("Stripe key", "sk_live_", 24, ""),
        ("Google API key", "AIza", 35, "&"),
        ("npm token", "npm_", 36, ""),
        ("PyPI token", "pypi-AgEIcHlwaS5vcmc", 50, ""),
        ("Vault token", "hvs.", 24, ""),
        ("Hugging Face token", "hf_", 34, ""),
        ("Docker token", "dckr_pat_", 27, ""),
        ("Anthropic key", "sk-ant-", 90, ""),
        ("OpenAI key", "sk-proj-", 48, ""),
    ] {
        let random = if begins == "AKIA" { &upper } else { RANDOM }.repeat(2);
        let found = |text: String, expected: &[(Lint, &str)]| {
            check_content("/srv/app/settings.py", text.as_bytes(), expected);
        };
        found(format!("token = '{begins}{}{after}", &random[..length]), &[(Credential, what)]);
        found(format!("{begins}{}", &random[..length]), &[(Credential, what)]);
        found(format!("token = '{begins}{}'", &random[..length.min(30) - 15]), &[]);
        found(format!("token = '{begins}{}'", "x".repeat(length)), &[]);
        found(format!("token = '{begins}{}'", &"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123".repeat(4)[..length]), &[]);
        found(format!("some_{begins}{}", &random[..length]), &[]);
        found(begins.to_owned(), &[]);
    }
    check_content("/x", format!("AKIA{}Q", &upper[..16]).as_bytes(), &[]);
    check_content("/x", b"aws_access_key_id = AKIAIOSFODNN7EXAMPLE", &[]);
    check_content("/x", b"token: glpat-your-personal-access-token", &[]);
}

#[test]
fn credentials_by_place() {
    let kept = [(Credential, "where credentials are kept")];
    let password = [(Credential, "password or secret in a configuration")];
    let url = [(Credential, "password in a URL")];
    for (path, content, expected) in [
        ("/root/.netrc", "machine a login b password c", &kept[..]),
        ("/home/a/.aws/credentials", "[default]", &kept),
        ("/root/.docker/config.json", "{\"auths\":{\"a\":{\"auth\":\"eA==\"}}}", &kept),
        ("/root/.kube/config", "users:\n- user:\n    client-key-data: eA==\n", &kept),
        ("/etc/kubernetes/admin.conf", "client-key-data: eA==\n", &kept),
        ("/root/.npmrc", "//r/:_authToken=x", &kept),
        ("/etc/krb5.keytab", "\x05\x02", &[(Credential, "Kerberos keys")]),
        ("/etc/NetworkManager/system-connections/wifi", "psk=x", &password),
        ("/srv/app/.env", "DB_PASSWORD=x", &password),
        ("/etc/apt/auth.conf.d/a.conf", "machine a login b password c", &password),
        ("/etc/apt/sources.list.d/a.list", "deb https://u:p@host/ a main", &url),
        ("/srv/app/.git/config", "url = https://oauth2:p@host/a.git", &url),
        ("/root/.netrc", "", &[]),
        ("/usr/share/doc/netrc", "machine a", &[]),
        ("/root/.docker/config.json", "{\"auths\":{}}", &[]),
        ("/root/.docker/config.json", "{\"credsStore\":\"pass\"}", &[]),
        ("/root/.npmrc", "fund=false", &[]),
        ("/srv/app/.env", "PORT=80", &[]),
        ("/srv/app/.env.example", "DB_PASSWORD=x", &[]),
        ("/etc/apt/sources.list.d/a.list", "deb https://host:8080/a@b a main", &[]),
        ("/etc/apt/sources.list.d/a.list", "deb https://user@host/ a main", &[]),
        ("/root/.config/pip/pip.conf", "index-url = https://u:${TOKEN}@host/", &[]),
        ("/usr/share/doc/a", "deb https://u:p@host/ a main", &[]),
    ] {
        check_content(path, content.as_bytes(), expected);
    }
}

#[test]
fn passwords_of_accounts() {
    let empty = |names: &'static str| [(EmptyPassword, names)];
    let hash = |names: &'static str| [(Credential, names)];
    let many: String = (0..12).map(|index| format!("u{index}::::::::\n")).collect();
    let stock = "root:*:19000:0:99999:7:::\nsys:!:1::::::\nsshd:!*:1::::::\na:!!:1::::::\nb:!$y$j9T$abcdefgh:1::::::\n";
    for (path, content, expected) in [
        ("/etc/shadow", "a:*:1::::::\nroot::19000:0:99999:7:::\n", &empty("no password: root")[..]),
        ("/etc/shadow", &many, &empty("no password: u0, u1, u2, u3, u4, u5, u6, u7 and 4 more")),
        ("/etc/passwd", "toor::0:0::/:/bin/sh\n", &empty("no password: toor")),
        ("/usr/etc/shadow", "root::::::::\n", &empty("no password: root")),
        ("/etc/shadow", "\x1b]0;x::::::::\n", &empty("no password: \\x1b]0;x")),
        ("/etc/shadow", "a:$y$j9T$abcdefgh$ij:1::::::\n", &hash("password hash: a")),
        ("/etc/shadow-", "a:abJnggxhB/yWI:1::::::\n", &hash("password hash: a")),
        ("/etc/gshadow", "g:$6$abcdefgh$ij::\n", &hash("password hash: g")),
        ("/etc/shadow", stock, &[]),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n+::::::\n#a::\n\n", &[]),
        // Lets in nobody but its members.
        ("/etc/gshadow", "root:::\n", &[]),
        ("/etc/group", "root::0:\n", &[]),
        ("/etc/shadow-", "root::::::::\n", &[]),
        ("/srv/etc/shadow", "root::::::::\n", &[]),
        ("/etc/shadow", "root:", &[]),
    ] {
        check_content(path, content.as_bytes(), expected);
    }
    let far = format!("{}root::::::::\n", "daemon:*:19000:0:99999:7:::\n".repeat(2000));
    check_content("/etc/shadow", far.as_bytes(), &empty("no password: root"));
}
