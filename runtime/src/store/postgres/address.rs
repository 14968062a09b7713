//! Connection strings as libpq has them, beyond what the client itself reads of them.

use super::tls::{self, Trust};
use crate::store::{
    StoreError,
    remote::{CONNECT_LIMIT, KEEPALIVE, UNSENT},
};
use std::{
    error::Error,
    fmt::{self, Display},
    time::Duration,
};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The default that stands for "nothing was said" in the client's configuration.
const CLIENT_KEEPALIVE: Duration = Duration::from_secs(2 * 60 * 60);

/// Where a server is, and how to talk to it.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl Address {
    /// Reads a connection string. No error repeats anything of it but the names of settings, since any part may be a misplaced
    /// piece of a password.
    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let Parts { rest, mut own } = split(text).ok_or_else(unreadable)?;
        let mut take = |name: &str| own.iter().position(|(key, _)| key == name).map(|at| own.swap_remove(at).1);
        let (mode, roots) = (take("sslmode"), take("sslrootcert"));
        if let Some((key, _)) = own.first() {
            return Err(StoreError::unavailable(format!("the connection string says {key} twice; say it once")));
        }
        let mut config: Config = rest.parse().map_err(|error| explain(&error))?;
        // What follows a bare '@' in a password would be taken for the host, and hosts are named in errors.
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err(unreadable());
        }
        let (mode, trust) = security(mode.as_deref(), roots.as_deref())?;
        config.ssl_mode(mode);
        let file = roots.as_deref().filter(|path| *path != "system");
        let tls = tls::connector(trust, file, config.get_ssl_negotiation())?;
        set_defaults(&mut config);
        Ok(Self { config, tls })
    }

    /// Where it leads, without anything that opens it.
    pub(super) fn place(&self) -> String {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<String> = hosts.chain(self.config.get_hostaddrs().iter().map(ToString::to_string)).collect();
        format!("the PostgreSQL server at {}", hosts.join(", "))
    }
}

fn set_defaults(config: &mut Config) {
    if config.get_application_name().is_none() {
        config.application_name("cloakroom");
    }
    if config.get_connect_timeout().is_none() {
        // So that one silent host leaves time for the next.
        config.connect_timeout(CONNECT_LIMIT / 3);
    }
    if config.get_keepalives_idle() == CLIENT_KEEPALIVE {
        config.keepalives_idle(KEEPALIVE);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNSENT);
    }
    if config.get_hosts().len().max(config.get_hostaddrs().len()) > 1
        && config.get_target_session_attrs() == TargetSessionAttrs::Any
    {
        // Several hosts are a primary and its standbys, and only the primary takes commits.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

/// What libpq makes of the two settings: a root file turns `require` into `verify-ca`, and the system's roots are worth nothing
/// without the name.
fn security(mode: Option<&str>, roots: Option<&str>) -> Result<(SslMode, Trust), StoreError> {
    let system = roots == Some("system");
    Ok(match mode {
        Some("disable") => (SslMode::Disable, Trust::Anybody),
        Some("verify-full") => (SslMode::Require, Trust::Host),
        None if system => (SslMode::Require, Trust::Host),
        Some(_) if system => {
            return Err(StoreError::unavailable("sslrootcert=system needs sslmode=verify-full, as in libpq"));
        }
        Some("verify-ca") => (SslMode::Require, Trust::Authority),
        Some("require") if roots.is_some() => (SslMode::Require, Trust::Authority),
        Some("require") => (SslMode::Require, Trust::Anybody),
        Some("allow" | "prefer") | None => (SslMode::Prefer, Trust::Anybody),
        Some(_) => {
            return Err(StoreError::unavailable("sslmode is one of disable, prefer, require, verify-ca and verify-full"));
        }
    })
}

fn unreadable() -> StoreError {
    StoreError::unavailable(
        "the connection string cannot be read: give postgres://user:password@host:5432/database or key=value pairs as in libpq; in a \
         URL, percent-encode characters of the password that are neither letters nor digits",
    )
}

/// What the client found wrong, as far as it is about settings that exist.
fn explain(error: &tokio_postgres::Error) -> StoreError {
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    match SETTINGS.iter().find(|setting| said.ends_with(&format!("option `{setting}`"))) {
        Some(setting) if said.starts_with("unknown") => {
            StoreError::unavailable(format!("the connection string asks for `{setting}`, which is not supported; leave it out"))
        }
        Some(setting) => StoreError::unavailable(format!("the connection string has no sound value for `{setting}`")),
        None => unreadable(),
    }
}

/// The settings of libpq, whose names may be repeated.
const SETTINGS: [&str; 40] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "require_auth",
    "channel_binding",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "sslnegotiation",
    "sslcompression",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslsni",
    "requirepeer",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "krbsrvname",
    "gsslib",
    "service",
    "servicefile",
    "target_session_attrs",
    "load_balance_hosts",
];

/// The settings that are ours to read, and all the rest.
struct Parts {
    rest: String,
    own: Vec<(String, String)>,
}

const OWN: [&str; 2] = ["sslmode", "sslrootcert"];

fn split(text: &str) -> Option<Parts> {
    if text.starts_with("postgres://") || text.starts_with("postgresql://") { split_url(text) } else { split_pairs(text) }
}

fn split_url(url: &str) -> Option<Parts> {
    let after_credentials = url.find('@').map_or(0, |at| at + 1);
    let Some(query) = url[after_credentials..].find('?').map(|at| after_credentials + at) else {
        return Some(Parts { rest: url.to_owned(), own: Vec::new() });
    };
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for pair in url[query + 1..].split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) => match percent_decoded(key)? {
                key if OWN.contains(&&*key) => own.push((key, percent_decoded(value)?)),
                _ => others.push(pair),
            },
            None => others.push(pair),
        }
    }
    let question = if others.is_empty() { "" } else { "?" };
    Some(Parts { rest: format!("{}{question}{}", &url[..query], others.join("&")), own })
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend(parts.next()?.bytes());
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(part.get(2..)?.bytes());
    }
    String::from_utf8(bytes).ok()
}

fn split_pairs(text: &str) -> Option<Parts> {
    let mut parts = Parts { rest: String::with_capacity(text.len()), own: Vec::new() };
    let mut left = text.trim_start();
    while !left.is_empty() {
        let (key, after) = left.split_once('=')?;
        let (value, next) = value(after.trim_start())?;
        if OWN.contains(&key.trim_end()) {
            parts.own.push((key.trim_end().to_owned(), value));
        } else {
            parts.rest.push_str(&left[..left.len() - next.len()]);
            parts.rest.push(' ');
        }
        left = next.trim_start();
    }
    Some(parts)
}

/// A value, quoted or not, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.push(characters.next()?.1),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            c if !quoted && c.is_whitespace() => return Some((value, &text[at..])),
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, ""))
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, StoreError> {
        Address::parse(text)
    }

    #[test]
    fn tls_settings_are_read_from_urls_and_pairs_and_all_others_are_left_to_the_client() {
        for text in [
            "postgres://me:secret@db:6000/shop?sslmode=require&connect_timeout=3&application_name=x",
            "host=db port=6000 user=me password='secret' dbname = shop sslmode = require connect_timeout=3 application_name=x",
        ] {
            let config = parse(text).unwrap().config;
            assert_eq!(config.get_ssl_mode(), SslMode::Require, "{text}");
            assert_eq!(config.get_hosts(), [Host::Tcp("db".to_owned())]);
            assert_eq!(config.get_ports(), [6000]);
            assert_eq!(config.get_password(), Some(&b"secret"[..]));
            assert_eq!(config.get_dbname(), Some("shop"));
            assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
            assert_eq!(config.get_application_name(), Some("x"));
        }
        let parts = split("password='it\\'s' sslrootcert='/a\\'b c.pem' user=me").unwrap();
        assert_eq!(parts.own, [("sslrootcert".to_owned(), "/a'b c.pem".to_owned())]);
        assert_eq!(parts.rest, "password='it\\'s' user=me ");
        let parts = split("postgres://me@db/shop?sslrootcert=%2Fa%20b.pem").unwrap();
        assert_eq!(parts.own, [("sslrootcert".to_owned(), "/a b.pem".to_owned())]);
        assert_eq!(parts.rest, "postgres://me@db/shop");
    }

    #[test]
    fn sslmode_means_what_libpq_says() {
        let file = Some("/ca.pem");
        for (mode, roots, expected) in [
            (None, None, (SslMode::Prefer, Trust::Anybody)),
            (Some("disable"), file, (SslMode::Disable, Trust::Anybody)),
            (Some("prefer"), file, (SslMode::Prefer, Trust::Anybody)),
            (Some("require"), None, (SslMode::Require, Trust::Anybody)),
            (Some("require"), file, (SslMode::Require, Trust::Authority)),
            (Some("verify-ca"), file, (SslMode::Require, Trust::Authority)),
            (Some("verify-full"), None, (SslMode::Require, Trust::Host)),
            (None, Some("system"), (SslMode::Require, Trust::Host)),
            (Some("verify-full"), Some("system"), (SslMode::Require, Trust::Host)),
        ] {
            assert_eq!(security(mode, roots).unwrap(), expected, "{mode:?} {roots:?}");
        }
        assert!(security(Some("require"), Some("system")).is_err());
        assert!(security(Some("sometimes"), None).unwrap_err().to_string().contains("one of disable"));
    }

    #[test]
    fn no_error_repeats_a_piece_of_the_password() {
        for text in [
            "postgres://me:hunter2?hunter2=hunter2@db/shop",
            "postgres://me:hun@ter2/hunter2?hunter2=hunter2",
            "postgres://me:x@db/shop?hunter2",
            "postgres://me:hunter2@db:hunter2/shop",
            "password=hunter2 hunter2",
            "password='hunter2",
            "mysql://me:hunter2@db/shop",
            "postgres://me:hunter2@db/shop?sslmode=hunter2",
            "postgres://me:hunter2@db/shop?connect_timeout=hunter2",
            "",
        ] {
            if let Err(error) = parse(text) {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            }
        }
        let error = parse("postgres://me:x@db/shop?gssencmode=disable").err().unwrap().to_string();
        assert!(error.contains("`gssencmode`, which is not supported"), "{error}");
        let error = parse("postgres://me:x@db/shop?connect_timeout=soon").err().unwrap().to_string();
        assert!(error.contains("no sound value for `connect_timeout`"), "{error}");
    }

    #[test]
    fn several_hosts_are_searched_for_the_one_that_takes_writes() {
        let attributes = |text| parse(text).unwrap().config.get_target_session_attrs();
        assert_eq!(attributes("postgres://me@a,b/shop"), TargetSessionAttrs::ReadWrite);
        assert_eq!(attributes("postgres://me@a/shop"), TargetSessionAttrs::Any);
        assert_eq!(attributes("host=a,b user=me target_session_attrs=read-only"), TargetSessionAttrs::ReadOnly);
    }
}
