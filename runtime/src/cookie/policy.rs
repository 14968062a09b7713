//! The cookie's name and attributes, checked when they are chosen.

use crate::token::Token;
use http::HeaderValue;
use std::{fmt, time::Duration};

/// Browsers drop a cookie whose name and value are longer together (RFC 6265bis, section 5.6).
pub(crate) const NAME_AND_VALUE: usize = 4096;
/// ... and ignore an attribute value longer than this (RFC 6265bis, section 5.6).
const ATTRIBUTE: usize = 1024;

/// Name and attributes of the session cookie.
///
/// *Default*: `__Host-id`, `Secure`, `HttpOnly`, `SameSite=Lax`, `Path=/`, no `Domain`, and no `Max-Age`, so that the cookie ends with the
/// browser session. That is what OWASP ASVS 5.0 3.3.1 to 3.3.4 and NIST SP 800-63B-4 section 5.1.1 ask for. *When to change it*: another
/// name for each application on a host; [`insecure_http`](CookiePolicy::insecure_http) for development without TLS; `Domain` only
/// when sibling hosts must share a session, `Path` only when several applications share a host.
///
/// Setters refuse what browsers would refuse or ignore, so an impossible combination fails at start-up and names the way
/// out:
///
/// ```
/// use cloakroom::{CookiePolicy, SameSite};
///
/// let policy = CookiePolicy::default().name("__Secure-shop")?.path("/shop")?.same_site(SameSite::Strict)?;
/// let error = CookiePolicy::default().path("/shop").unwrap_err();
/// assert!(error.to_string().contains("__Secure-"));
/// # let _ = policy;
/// # Ok::<(), cloakroom::CookiePolicyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiePolicy {
    name: String,
    domain: Option<String>,
    path: String,
    same_site: SameSite,
    transport: Transport,
    persistence: Persistence,
    partitioning: Partitioning,
    /// Earlier policies whose cookies browsers may still hold. None of them has any of its own.
    former: Vec<CookiePolicy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Secure,
    PlainHttp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Persistence {
    BrowserSession,
    Persistent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Partitioning {
    Shared,
    Partitioned,
}

/// When a browser sends the cookie along with requests from other sites. Always written out: without it browsers fall back to
/// "Lax, but not for the first two minutes".
///
/// ```
/// use cloakroom::SameSite;
/// assert_eq!(SameSite::default(), SameSite::Lax);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Never. Links from mail or other sites arrive without a session.
    Strict,
    /// Only on top-level navigation. The default.
    #[default]
    Lax,
    /// Always; needs `Secure`. For pages embedded by other sites, together with [`CookiePolicy::partitioned`].
    None,
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self {
            name: "__Host-id".to_owned(),
            domain: None,
            path: "/".to_owned(),
            same_site: SameSite::Lax,
            transport: Transport::Secure,
            persistence: Persistence::BrowserSession,
            partitioning: Partitioning::Shared,
            former: Vec::new(),
        }
    }
}

impl CookiePolicy {
    /// For development over plain http: named `cloakroom-dev`, and without `Secure`.
    ///
    /// Browsers refuse `Secure` cookies and `__Host-` names over plain http. Chromium makes an exception for this machine itself
    /// (`localhost` and 127.0.0.1), Safari does not. The other name keeps a development cookie from ever being taken for a
    /// real one. Not for production: anybody on the way can read it.
    ///
    /// Where a `Secure` cookie goes out over plain http to another host than this machine, the event `session.plain_http` says so, once.
    ///
    /// ```
    /// use cloakroom::{CookiePolicy, SessionLayer, store::MemoryStore};
    /// let sessions = SessionLayer::new(MemoryStore::new()).cookie(CookiePolicy::insecure_http());
    /// # let _ = sessions;
    /// ```
    pub fn insecure_http() -> Self {
        Self { name: "cloakroom-dev".to_owned(), transport: Transport::PlainHttp, ..Self::default() }
    }

    /// Sets the name. *Default*: `__Host-id`.
    ///
    /// Each application on a host, and each layer with a store of its own, needs another name: where two share one, each takes the other's cookie
    /// for a session that has ended, and clears it. To change the name later, see [`formerly`](CookiePolicy::formerly).
    ///
    /// With the prefix `__Host-` browsers accept the cookie only from this very host over TLS; with `__Secure-` only over TLS.
    ///
    /// # Errors
    /// If it is not an RFC 6265 token, or its prefix contradicts the other attributes.
    ///
    /// ```
    /// # use cloakroom::CookiePolicy;
    /// assert!(CookiePolicy::default().name("shop session").is_err());
    /// assert!(CookiePolicy::default().name("__Host-shop").is_ok());
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Result<Self, CookiePolicyError> {
        self.name = name.into();
        self.checked()
    }

    /// Shares the cookie with every subdomain of `domain`. *Default*: this host only.
    ///
    /// # Errors
    /// If it is not a domain name, or the cookie's name begins with `__Host-`.
    ///
    /// ```
    /// # use cloakroom::CookiePolicy;
    /// let shared = CookiePolicy::default().name("__Secure-id")?.domain("example.com")?;
    /// # let _ = shared;
    /// # Ok::<(), cloakroom::CookiePolicyError>(())
    /// ```
    pub fn domain(mut self, domain: impl Into<String>) -> Result<Self, CookiePolicyError> {
        self.domain = Some(domain.into());
        self.checked()
    }

    /// Sends the cookie only below `path`. *Default*: `/`.
    ///
    /// # Errors
    /// If it does not begin with `/`, has characters no attribute may have, or the cookie's name begins with `__Host-`.
    ///
    /// ```
    /// # use cloakroom::CookiePolicy;
    /// let admin = CookiePolicy::default().name("__Secure-admin")?.path("/admin")?;
    /// # let _ = admin;
    /// # Ok::<(), cloakroom::CookiePolicyError>(())
    /// ```
    pub fn path(mut self, path: impl Into<String>) -> Result<Self, CookiePolicyError> {
        self.path = path.into();
        self.checked()
    }

    /// Sets `SameSite`. *Default*: [`SameSite::Lax`].
    ///
    /// # Errors
    /// [`SameSite::None`] without `Secure`.
    ///
    /// ```
    /// # use cloakroom::{CookiePolicy, SameSite};
    /// assert!(CookiePolicy::default().same_site(SameSite::None).is_ok());
    /// assert!(CookiePolicy::insecure_http().same_site(SameSite::None).is_err());
    /// ```
    pub fn same_site(mut self, same_site: SameSite) -> Result<Self, CookiePolicyError> {
        self.same_site = same_site;
        self.checked()
    }

    /// Lets the cookie outlive the browser session: `Max-Age` is the remaining absolute lifetime. *Default*: off.
    ///
    /// One session at a time does the same with [`TypedSession::set_persistent`](crate::TypedSession::set_persistent), for a "remember me" box.
    ///
    /// ```
    /// # use cloakroom::CookiePolicy;
    /// let policy = CookiePolicy::default().persistent();
    /// # let _ = policy;
    /// ```
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistence = Persistence::Persistent;
        self
    }

    /// Keeps one cookie per embedding site (CHIPS). *Default*: off. Needs `Secure`; useful with [`SameSite::None`].
    ///
    /// # Errors
    /// Without `Secure`.
    ///
    /// ```
    /// # use cloakroom::{CookiePolicy, SameSite};
    /// let embedded = CookiePolicy::default().same_site(SameSite::None)?.partitioned()?;
    /// # let _ = embedded;
    /// # Ok::<(), cloakroom::CookiePolicyError>(())
    /// ```
    pub fn partitioned(mut self) -> Result<Self, CookiePolicyError> {
        self.partitioning = Partitioning::Partitioned;
        self.checked()
    }

    /// Names an earlier policy of this application, whose cookies browsers may still hold. *Default*: none. *When*: the name, the path, the
    /// domain or `partitioned` changes. Give the whole former policy as it was; what it names as former counts as well. Remove it after the
    /// longest absolute [`Lifetime`](crate::Lifetime), when none of its cookies can open a session.
    ///
    /// Browsers know a cookie by its name, its domain, its path and its partition. After one of these has changed they send the old cookie
    /// beside the new one, and no `Set-Cookie` of the new policy reaches the old one. With the former policy named:
    ///
    /// - A session under a former name goes on: the response sets its cookie under this policy.
    /// - A response that sets or clears our cookie clears the former ones, too. So does the response to a request with two
    ///   different cookies of ours. Each clearing is a `Set-Cookie` of its own.
    ///
    /// Of several cookies under this name, the one that opens a session is taken, whether `formerly` is used or not. Where two open different sessions, neither
    /// is used, since a sibling host may have set one of them.
    ///
    /// A former name without the prefix `__Host-` can be set by sibling hosts, and is looked at where this name opens nothing: for as long as it is
    /// named here, a sibling host can put a visitor into a session of its own. Name only cookies that no other application uses.
    ///
    /// # Errors
    /// If a former policy means the same cookie as this one: clearing it would clear the session's own.
    ///
    /// ```
    /// # use cloakroom::CookiePolicy;
    /// // Until last month the shop lived below a path:
    /// let former = CookiePolicy::default().name("__Secure-id")?.path("/shop")?;
    /// let policy = CookiePolicy::default().name("__Secure-id")?.formerly(former)?;
    ///
    /// assert!(policy.clone().formerly(policy).is_err());
    /// # Ok::<(), cloakroom::CookiePolicyError>(())
    /// ```
    pub fn formerly(mut self, mut former: CookiePolicy) -> Result<Self, CookiePolicyError> {
        let earlier = std::mem::take(&mut former.former);
        for policy in std::iter::once(former).chain(earlier) {
            if !self.former.iter().any(|known| known.means_the_cookie_of(&policy)) {
                self.former.push(policy);
            }
        }
        self.checked()
    }

    /// Whether browsers take a cookie of one policy for that of the other (RFC 6265bis, section 5.7). A dot in front of a domain means nothing to
    /// them.
    fn means_the_cookie_of(&self, other: &Self) -> bool {
        let domain = |policy: &Self| policy.domain.as_deref().map(|it| it.trim_start_matches('.').to_ascii_lowercase());
        self.name == other.name
            && self.path == other.path
            && self.partitioning == other.partitioning
            && domain(self) == domain(other)
    }

    fn checked(self) -> Result<Self, CookiePolicyError> {
        use CookiePolicyError as Refused;
        if let Some(same) = self.former.iter().find(|former| former.means_the_cookie_of(&self)) {
            return Err(Refused::Former(same.name.clone()));
        }
        let token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(token) {
            return Err(Refused::Name(self.name));
        }
        if self.name.len() + Token::LENGTH > NAME_AND_VALUE {
            return Err(Refused::NameTooLong(self.name.len()));
        }
        // A path with other characters than a request's own matches none of them.
        let in_a_path = |byte: u8| byte.is_ascii_graphic() && !b";?#".contains(&byte);
        if !self.path.starts_with('/') || self.path.len() > ATTRIBUTE || !self.path.bytes().all(in_a_path) {
            return Err(Refused::Path(self.path));
        }
        // Browsers ignore a dot in front, and the whole cookie where the rest is not a host name (RFC 6265bis, section 5.7).
        let label = |label: &str| {
            (1..=63).contains(&label.len()) && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if let Some(domain) = &self.domain
            && (domain.len() > 253 || !domain.strip_prefix('.').unwrap_or(domain).split('.').all(label))
        {
            return Err(Refused::Domain(domain.clone()));
        }
        // Browsers match the prefixes without regard to case (RFC 6265bis, section 4.1.3), so a variant is bound by the rules too.
        let prefixed = |prefix: &str| self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if self.transport == Transport::PlainHttp {
            let refused = if prefixed("__Host-") {
                Some("a `__Host-` name")
            } else if prefixed("__Secure-") {
                Some("a `__Secure-` name")
            } else if self.same_site == SameSite::None {
                Some("`SameSite=None`")
            } else if self.partitioning == Partitioning::Partitioned {
                Some("`Partitioned`")
            } else {
                None
            };
            if let Some(what) = refused {
                return Err(Refused::NeedsSecure(what));
            }
        }
        if prefixed("__Host-") && (self.domain.is_some() || self.path != "/") {
            return Err(Refused::HostPrefix(self.name));
        }
        Ok(self)
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.transport == Transport::Secure
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.persistence == Persistence::Persistent
    }
}

/// A combination of cookie attributes that browsers refuse or ignore.
///
/// ```
/// use cloakroom::{CookiePolicy, CookiePolicyError};
/// assert!(matches!(CookiePolicy::default().name(""), Err(CookiePolicyError::Name(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CookiePolicyError {
    /// Not an RFC 6265 cookie name.
    Name(String),
    /// A former cookie of this name that is the present one.
    Former(String),
    /// A name that leaves no room for a value.
    NameTooLong(usize),
    /// Not a cookie path.
    Path(String),
    /// Not a domain name.
    Domain(String),
    /// A `__Host-` name together with `Domain` or another `Path`.
    HostPrefix(String),
    /// Something that needs `Secure`, on a policy for plain http.
    NeedsSecure(&'static str),
}

impl fmt::Display for CookiePolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(f, "{name:?} cannot be a cookie name; use letters, digits, `-` and `_`, for example \"__Host-shop\"")
            }
            Self::NameTooLong(length) => {
                write!(
                    f,
                    "a cookie name of {length} bytes leaves no room for a token in the {NAME_AND_VALUE} a browser keeps; choose a shorter one"
                )
            }
            Self::Path(path) => {
                write!(
                    f,
                    "{path:?} cannot be a cookie path; it must begin with `/`, be plain ASCII without blanks, `;`, `?` and `#`, and have at most {ATTRIBUTE} bytes"
                )
            }
            Self::Domain(domain) => write!(f, "{domain:?} cannot be a cookie domain; give a host name such as \"example.com\""),
            Self::Former(name) => write!(
                f,
                "the former cookie {name:?} has the name, domain, path and partition of the present one, so clearing it would clear the session's own cookie; give `.formerly(..)` the policy as it was before the change, and call it last"
            ),
            Self::HostPrefix(name) => write!(
                f,
                "the name {name:?} tells browsers to insist on `Path=/` and no Domain; for another path or domain choose a `__Secure-` name first: `.name(\"__Secure-id\")`"
            ),
            Self::NeedsSecure(what) => write!(
                f,
                "browsers accept {what} only on a Secure cookie; start from `CookiePolicy::default()` instead of `insecure_http()`, or do without"
            ),
        }
    }
}

impl std::error::Error for CookiePolicyError {}

/// A policy made ready for writing: the attributes are rendered once.
#[derive(Clone, Debug)]
pub(crate) struct CookieWriter {
    name: String,
    attributes: String,
    deletion: HeaderValue,
    former: Vec<FormerCookie>,
}

/// A cookie of an earlier policy: how it is found, and the Set-Cookie value that takes it back.
#[derive(Clone, Debug)]
struct FormerCookie {
    name: String,
    deletion: HeaderValue,
}

impl CookieWriter {
    pub(crate) fn new(policy: &CookiePolicy) -> Self {
        let build = |value: &'static str| {
            let mut cookie = cookie::Cookie::build((policy.name.clone(), value))
                .http_only(true)
                .path(policy.path.clone())
                .secure(policy.transport == Transport::Secure)
                .same_site(match policy.same_site {
                    SameSite::Strict => cookie::SameSite::Strict,
                    SameSite::Lax => cookie::SameSite::Lax,
                    SameSite::None => cookie::SameSite::None,
                })
                .partitioned(policy.partitioning == Partitioning::Partitioned);
            if let Some(domain) = &policy.domain {
                cookie = cookie.domain(domain.clone());
            }
            cookie
        };
        let attributes = build("").to_string().split_off(policy.name.len() + 1);
        // Both: Max-Age wins where it is known (RFC 6265bis, section 5.6.3), the date is for whoever does not know it.
        let deletion =
            build("").max_age(cookie::time::Duration::ZERO).expires(cookie::time::OffsetDateTime::UNIX_EPOCH).to_string();
        Self {
            name: policy.name.clone(),
            attributes,
            // A checked policy renders to visible ASCII.
            deletion: HeaderValue::try_from(deletion).unwrap_or_else(|_| HeaderValue::from_static("")),
            former: policy
                .former
                .iter()
                .map(Self::new)
                .map(|it| FormerCookie { name: it.name, deletion: it.deletion })
                .collect(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The Set-Cookie value that hands out `value`, for that long if it is to outlive the browser session.
    pub(crate) fn set(&self, value: &str, max_age: Option<Duration>) -> Option<HeaderValue> {
        let mut line = String::with_capacity(self.name.len() + value.len() + self.attributes.len() + 24);
        line.push_str(&self.name);
        line.push('=');
        line.push_str(value);
        line.push_str(&self.attributes);
        if let Some(age) = max_age {
            // Rounded up: a cookie that ends before its session would sign somebody out early.
            let seconds = age.as_secs() + u64::from(age.subsec_nanos() > 0);
            line.push_str("; Max-Age=");
            line.push_str(&seconds.to_string());
        }
        let mut value = HeaderValue::try_from(line).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The names under which a cookie of an earlier policy may come, other than the present one.
    pub(crate) fn former_names(&self) -> impl Iterator<Item = &str> {
        let names = self.former.iter().map(|former| &*former.name);
        names
            .enumerate()
            .filter(|(at, name)| *name != self.name && !self.former[..*at].iter().any(|it| it.name == *name))
            .map(|(_, name)| name)
    }

    /// Whether browsers may hold a cookie of an earlier policy.
    pub(crate) fn has_former(&self) -> bool {
        !self.former.is_empty()
    }

    /// The Set-Cookie values that take back the cookies of earlier policies. None of them reaches the present one.
    pub(crate) fn delete_former(&self) -> impl Iterator<Item = HeaderValue> {
        self.former.iter().map(|former| former.deletion.clone())
    }

    /// The Set-Cookie value that takes the cookie back: every attribute as it was set, or browsers keep the old one.
    pub(crate) fn delete(&self) -> HeaderValue {
        self.deletion.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_cookie_is_as_strict_as_browsers_know() {
        let writer = CookieWriter::new(&CookiePolicy::default());
        assert_eq!(writer.set("abc", None).unwrap(), "__Host-id=abc; HttpOnly; SameSite=Lax; Secure; Path=/");
        assert_eq!(
            writer.delete(),
            "__Host-id=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    #[test]
    fn deletion_repeats_every_attribute() {
        let policy = CookiePolicy::default().name("__Secure-x").unwrap().domain("example.com").unwrap().path("/a").unwrap();
        let policy = policy.same_site(SameSite::None).unwrap().partitioned().unwrap();
        let writer = CookieWriter::new(&policy);
        let (set, deleted) = (writer.set("v", None).unwrap(), writer.delete());
        let set = set.to_str().unwrap().strip_prefix("__Secure-x=v").unwrap();
        let deleted = deleted.to_str().unwrap().strip_prefix("__Secure-x=").unwrap();
        assert!(deleted.starts_with(set), "{deleted} does not begin with {set}");
        for attribute in ["Domain=example.com", "Path=/a", "Secure", "HttpOnly", "SameSite=None", "Partitioned"] {
            assert!(set.contains(attribute), "{attribute} in {set}");
        }
    }

    #[test]
    fn max_age_is_rounded_up() {
        let writer = CookieWriter::new(&CookiePolicy::default());
        let line = writer.set("abc", Some(Duration::from_millis(59_001))).unwrap();
        assert!(line.to_str().unwrap().ends_with("; Max-Age=60"));
    }

    #[test]
    fn names_that_are_no_tokens_are_refused() {
        for name in ["", "a b", "a;b", "a=b", "a\r\nb", "a\n", "\u{e9}", "a\"b", "a,b"] {
            assert_eq!(CookiePolicy::default().name(name), Err(CookiePolicyError::Name(name.to_owned())));
        }
        for name in ["session", "my-session_v2", "__Host-x"] {
            assert!(CookiePolicy::default().name(name).is_ok());
        }
    }

    #[test]
    fn impossible_combinations_are_refused() {
        assert!(CookiePolicy::default().domain("example.com").is_err());
        assert!(CookiePolicy::default().path("/a").is_err());
        assert!(CookiePolicy::default().name("__HOST-x").unwrap().path("/a").is_err());
        assert!(CookiePolicy::insecure_http().name("__Host-x").is_err());
        assert!(CookiePolicy::insecure_http().name("__Secure-x").is_err());
        assert!(CookiePolicy::insecure_http().same_site(SameSite::None).is_err());
        assert!(CookiePolicy::insecure_http().partitioned().is_err());
        let shared = CookiePolicy::default().name("__Secure-x").unwrap();
        let long = [&"a.".repeat(126), "aa"].concat();
        for bad in ["", "a b", "a;b", "exa\r\nmple.com", ".", "..a", "a..b", "a.", &"a".repeat(64), &long] {
            assert!(shared.clone().domain(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a", "/a;b", "/a\r\n", "/a b", "/a?b", "/a#b", &format!("/{}", "a".repeat(ATTRIBUTE))] {
            assert!(shared.clone().path(bad).is_err(), "{bad:?}");
        }
        assert!(shared.clone().domain(&long[..253]).is_ok() && shared.clone().domain(".example.com").is_ok());
        assert!(shared.path(format!("/{}", "a".repeat(ATTRIBUTE - 1))).is_ok());
    }

    #[test]
    fn a_name_leaves_room_for_a_token_within_what_a_browser_keeps() {
        let named = |length: usize| CookiePolicy::default().name("n".repeat(length));
        let most = NAME_AND_VALUE - Token::LENGTH;
        assert!(named(most).is_ok());
        assert_eq!(named(most + 1), Err(CookiePolicyError::NameTooLong(most + 1)));
    }

    #[test]
    fn no_attribute_is_written_twice_and_same_site_is_always_written() {
        let plain = CookiePolicy::insecure_http();
        let wide = CookiePolicy::default().name("__Secure-x").unwrap().domain("example.com").unwrap().path("/a").unwrap();
        let embedded = wide.clone().same_site(SameSite::None).unwrap().partitioned().unwrap().persistent();
        for policy in [CookiePolicy::default(), plain, wide, embedded] {
            let writer = CookieWriter::new(&policy);
            for line in
                [writer.set("v", Some(Duration::from_secs(5))).unwrap(), writer.set("v", None).unwrap(), writer.delete()]
            {
                let line = line.to_str().unwrap().to_owned();
                let mut names: Vec<&str> = line.split("; ").skip(1).map(|part| part.split('=').next().unwrap()).collect();
                let written = names.len();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), written, "{line}");
                assert!(names.contains(&"SameSite") && names.contains(&"HttpOnly") && names.contains(&"Path"), "{line}");
            }
        }
    }
}
