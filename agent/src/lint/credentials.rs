//! Credentials: by the files that programs keep them in, and by the forms that
//! their issuers gave tokens so that they can be found.

use memchr::memmem;

use super::Lint;
use super::places::{Place, When};
use super::scan::is_random;

const KEPT: &str = "where credentials are kept";
const PASSWORD: &str = "password or secret in a configuration";
const KUBE_SECRETS: &[&str] = &["client-key-data:", "token:", "password:"];
const URL: &str = "password in a URL";

pub(super) const PLACES: &[Place] = &[
    Place::new(Lint::Credential, "/**/{.netrc,.pgpass,.git-credentials,.vault-token}", When::Filled, KEPT),
    Place::new(Lint::Credential, "/**/{.pypirc,.dockercfg,.s3cfg,.boto,.smbcredentials}", When::Filled, KEPT),
    Place::new(Lint::Credential, "/**/{.aws,.gem}/credentials", When::Filled, KEPT),
    Place::new(Lint::Credential, "/**/.cargo/{credentials,credentials.toml}", When::Filled, KEPT),
    Place::new(
        Lint::Credential,
        "/**/gcloud/{credentials.db,access_tokens.db,application_default_credentials.json}",
        When::Filled,
        KEPT,
    ),
    Place::new(Lint::Credential, "/**/.azure/{accessTokens.json,msal_token_cache.*}", When::Filled, KEPT),
    Place::new(Lint::Credential, "/**/.config/gh/hosts.yml", When::Holds(&["oauth_token:"]), KEPT),
    Place::new(
        Lint::Credential,
        "/**/.config/rclone/rclone.conf",
        When::Holds(&["pass", "token", "secret"]),
        KEPT,
    ),
    Place::new(Lint::Credential, "/**/.terraform.d/credentials.tfrc.json", When::Filled, KEPT),
    Place::new(Lint::Credential, "/**/.kube/config", When::Holds(KUBE_SECRETS), KEPT),
    Place::new(Lint::Credential, "/etc/kubernetes/*.conf", When::Holds(KUBE_SECRETS), KEPT),
    Place::new(
        Lint::Credential,
        "/**/.docker/config.json",
        When::Holds(&["\"auth\"", "\"identitytoken\""]),
        KEPT,
    ),
    Place::new(
        Lint::Credential,
        "/**/{.npmrc,npmrc}",
        When::Holds(&[":_authToken=", ":_password=", "_auth="]),
        KEPT,
    ),
    Place::new(Lint::Credential, "/**/{.my.cnf,.mylogin.cnf}", When::Holds(&["password"]), KEPT),
    Place::new(Lint::Credential, "/**/.m2/settings.xml", When::Holds(&["<password>"]), KEPT),
    Place::new(Lint::Credential, "/**/.htpasswd", When::Holds(&[":"]), "password hashes"),
    Place::new(Lint::Credential, "/**/*.keytab", When::Filled, "Kerberos keys"),
    Place::new(
        Lint::Credential,
        "/**/{.env,.env.local,.env.production}",
        When::Holds(&["PASSWORD=", "SECRET=", "TOKEN=", "API_KEY=", "SECRET_KEY="]),
        PASSWORD,
    ),
    Place::new(
        Lint::Credential,
        "/etc/NetworkManager/system-connections/*",
        When::Holds(&["psk=", "password=", "private-key="]),
        PASSWORD,
    ),
    Place::new(Lint::Credential, "/etc/wpa_supplicant/*.conf", When::Holds(&["psk=", "password="]), PASSWORD),
    Place::new(Lint::Credential, "/etc/apt/{auth.conf,auth.conf.d/*}", When::Holds(&["password"]), PASSWORD),
    Place::new(
        Lint::Credential,
        "/etc/{apt/sources.list,apt/sources.list.d/*,apt/apt.conf.d/*,yum.repos.d/*,pip.conf,environment}",
        When::HoldsUrlPassword,
        URL,
    ),
    Place::new(
        Lint::Credential,
        "/**/{.gitconfig,.git/config,.pip/pip.conf,.config/pip/pip.conf,.wgetrc,.curlrc}",
        When::HoldsUrlPassword,
        URL,
    ),
];

/// A token with a beginning of its own.
pub(super) struct Token {
    pub(super) begins: &'static [u8],
    what: &'static str,
    /// How many characters follow, at least.
    least: usize,
    /// Whether it is as many and no more.
    exact: bool,
    /// What may follow beside letters and digits.
    also: &'static [u8],
}

const fn token(begins: &'static [u8], least: usize, also: &'static [u8], what: &'static str) -> Token {
    Token { begins, what, least, exact: false, also }
}

const fn exact(begins: &'static [u8], length: usize, also: &'static [u8], what: &'static str) -> Token {
    Token { begins, what, least: length, exact: true, also }
}

/// As their issuers document them.
pub(super) const TOKENS: &[Token] = &[
    exact(b"AKIA", 16, b"", "AWS access key"),
    exact(b"ghp_", 36, b"", "GitHub token"),
    exact(b"gho_", 36, b"", "GitHub token"),
    exact(b"ghs_", 36, b"", "GitHub token"),
    exact(b"ghr_", 36, b"", "GitHub token"),
    token(b"github_pat_", 40, b"_", "GitHub token"),
    token(b"glpat-", 20, b"-_.", "GitLab token"),
    token(b"xoxb-", 20, b"-", "Slack token"),
    token(b"xoxp-", 20, b"-", "Slack token"),
    token(b"hooks.slack.com/services/T", 30, b"/", "Slack webhook"),
    token(b"sk_live_", 20, b"", "Stripe key"),
    token(b"rk_live_", 20, b"", "Stripe key"),
    exact(b"AIza", 35, b"-_", "Google API key"),
    exact(b"npm_", 36, b"", "npm token"),
    token(b"pypi-AgEIcHlwaS5vcmc", 50, b"-_", "PyPI token"),
    token(b"hvs.", 24, b"-_", "Vault token"),
    exact(b"hf_", 34, b"", "Hugging Face token"),
    token(b"dckr_pat_", 20, b"-_", "Docker token"),
    exact(b"dop_v1_", 64, b"", "DigitalOcean token"),
    token(b"sk-ant-", 60, b"-_", "Anthropic key"),
    token(b"sk-proj-", 40, b"-_", "OpenAI key"),
];

/// The token that stands at `at`, in words, if what follows is one and no part
/// of a longer word, nor a placeholder.
pub(super) fn at(head: &[u8], at: usize, token: &Token) -> Option<&'static str> {
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    if at > 0 && is_word(&head[at - 1]) {
        return None;
    }
    let rest = &head[at + token.begins.len()..];
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || token.also.contains(b);
    let length = rest.iter().position(|b| !is_part(b)).unwrap_or(rest.len());
    let fits = if token.exact { length == token.least } else { length >= token.least };
    let body = &rest[..length];
    // What AWS's documents show holds EXAMPLE somewhere.
    (fits && is_random(body) && memmem::find(body, b"EXAMPLE").is_none()).then_some(token.what)
}
