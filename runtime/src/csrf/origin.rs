//! Origins as browsers write them: scheme, host and port, of which nothing is guessed.

use crate::cookie::is_loopback;
use std::fmt;

/// A DNS name has at most 253 characters; with a port it still fits.
const AUTHORITY: usize = 260;
/// The longest scheme browsers have is `safari-web-extension`.
const SCHEME: usize = 32;

/// Where a page came from (RFC 6454), in lower case and with the port that its scheme implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// An origin as in the header of that name. `null` is none.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (scheme, authority) = split_scheme(std::str::from_utf8(text).ok()?)?;
        let (host, port) = host_and_port(authority)?;
        let scheme = scheme.to_ascii_lowercase();
        let port = port.or(default_port(&scheme));
        Some(Self { scheme, host, port })
    }

    /// The origin of a URL, as in the header Referer.
    pub(super) fn of_url(url: &[u8]) -> Option<Self> {
        let start = url.windows(3).take(SCHEME + 1).position(|window| window == b"://")? + 3;
        let length = url[start..].iter().position(|byte| b"/?#".contains(byte)).unwrap_or(url.len() - start);
        Self::parse(&url[..start + length])
    }

    /// Whether a page of this origin lies on the host that a request names, by its own scheme's default port.
    pub(super) fn is_on(&self, authority: &str) -> bool {
        // Without a default port it is no page of a web server.
        let Some(default) = default_port(&self.scheme) else { return false };
        host_and_port(authority).is_some_and(|(host, port)| host == self.host && Some(port.unwrap_or(default)) == self.port)
    }

    /// Whether anybody on the way can write its pages. To the machine itself there is no way.
    pub(super) fn is_plain_http(&self) -> bool {
        self.scheme == "http" && !is_loopback(&self.host)
    }

    /// An origin that somebody typed.
    pub(super) fn typed(text: &str) -> Result<Self, OriginError> {
        let refused = |wrong| OriginError { given: text.chars().take(200).collect(), wrong };
        if text.eq_ignore_ascii_case("null") {
            return Err(refused(Wrong::Null));
        }
        let (_, authority) = split_scheme(text).ok_or_else(|| refused(Wrong::Scheme))?;
        if authority.contains(['/', '?', '#']) {
            return Err(refused(Wrong::Path));
        }
        if authority.contains('*') {
            return Err(refused(Wrong::Pattern));
        }
        Self::parse(text.as_bytes()).ok_or_else(|| refused(Wrong::Host))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.port {
            Some(port) if default_port(&self.scheme) != Some(port) => write!(f, ":{port}"),
            _ => Ok(()),
        }
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let is_one = scheme.len() <= SCHEME && scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    (is_one && scheme.bytes().all(letters)).then_some((scheme, rest))
}

/// Host in lower case and port. It takes what browsers write and no more: every other spelling of a host is one that somebody chose.
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    // Before anything is copied: it comes from anybody.
    if authority.len() > AUTHORITY {
        return None;
    }
    // The colons in the brackets of an IPv6 address are none before a port.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    let port = match port {
        None => None,
        // The parser of numbers would take a sign.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().ok()?),
        Some(_) => return None,
    };
    is_host.then(|| (host.to_ascii_lowercase(), port))
}

/// A text that is not the origin of pages. Its message says what is wrong with it and what to type.
///
/// ```
/// use cloakroom::SameOriginLayer;
/// let error = SameOriginLayer::new().trust("https://accounts.example.com/sign-in").unwrap_err();
/// assert!(error.to_string().contains("without a path"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    given: String,
    wrong: Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Null,
    Scheme,
    Path,
    Pattern,
    Host,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, wrong } = self;
        match wrong {
            Wrong::Null => f.write_str(
                "\"null\" cannot be trusted: any site can send it from a sandboxed frame; give the page that posts an origin of its own",
            ),
            Wrong::Scheme => write!(f, "{given:?} has no scheme; write the whole origin, for example \"https://accounts.example.com\""),
            Wrong::Path => write!(
                f,
                "{given:?} is more than an origin; write it without a path and without a `/` at the end, for example \"https://accounts.example.com\""
            ),
            Wrong::Pattern => write!(f, "{given:?} is a pattern; call `trust` once for every origin"),
            Wrong::Host => write!(
                f,
                "{given:?} names no host, or not as browsers do; write it in ASCII (`xn--..` for other letters), and a port as a number, for example \"https://accounts.example.com:8443\""
            ),
        }
    }
}

impl std::error::Error for OriginError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        Origin::parse(text.as_bytes()).map(|origin| origin.to_string())
    }

    #[test]
    fn an_origin_is_read_without_regard_to_case_and_with_the_port_of_its_scheme() {
        for (written, canonical) in [
            ("https://shop.example", "https://shop.example"),
            ("HTTPS://Shop.Example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://shop.example:443", "http://shop.example:443"),
            ("https://a_b.xn--bcher-kva.example:8443", "https://a_b.xn--bcher-kva.example:8443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://[2001:DB8::1]", "https://[2001:db8::1]"),
            ("https://192.0.2.1", "https://192.0.2.1"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abcdefgh:7", "chrome-extension://abcdefgh:7"),
        ] {
            assert_eq!(parsed(written).as_deref(), Some(canonical), "{written}");
            assert_eq!(Origin::parse(written.as_bytes()), Origin::typed(written).ok());
        }
    }

    #[test]
    fn whatever_no_browser_would_write_is_no_origin() {
        let long_host = format!("https://{}.example", "a".repeat(AUTHORITY));
        let long_scheme = format!("{}://shop.example", "a".repeat(SCHEME + 1));
        for text in [
            "",
            "null",
            "NULL",
            "shop.example",
            "//shop.example",
            "://shop.example",
            "https:/shop.example",
            "https:shop.example",
            "https://",
            "https:///",
            "https://:443",
            "https://shop.example/",
            "https://shop.example/path",
            "https://shop.example?",
            "https://shop.example#",
            "https://shop.example\\",
            "https://ada@shop.example",
            "https://shop.example@evil.example",
            "https://shop.example:",
            "https://shop.example:+443",
            "https://shop.example:-1",
            "https://shop.example:0x1bb",
            "https://shop.example:65536",
            "https://shop.example:443:443",
            "https://::1",
            "https://[::1",
            "https://[]",
            "https://[shop.example]",
            "https://[::1]x",
            "https://[::1]:",
            "https://*.example",
            "https://shop%2eexample",
            "https://bücher.example",
            "https://shop.example ",
            " https://shop.example",
            "https://shop.example https://evil.example",
            "https://shop.example,https://evil.example",
            "https://shop.example\0",
            "1https://shop.example",
            "ht tps://shop.example",
            &long_host,
            &long_scheme,
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
            assert!(Origin::typed(text).is_err(), "{text:?}");
        }
        assert!(Origin::parse(b"https://shop\xff.example").is_none());
    }

    #[test]
    fn the_origin_of_a_url_ends_where_its_authority_does() {
        let of = |url: &str| Origin::of_url(url.as_bytes()).map(|origin| origin.to_string());
        for url in ["", "/", "/a/b?c", "?a=https://evil.example/", "#x", ":443/a"] {
            assert_eq!(of(&format!("https://shop.example{url}")).as_deref(), Some("https://shop.example"), "{url}");
        }
        for url in [
            "",
            "about:blank",
            "/cart",
            "shop.example/cart",
            "https://shop.example@evil.example/",
            "https://ada:pw@shop.example/",
            "https://shop.example\\@evil.example/",
            "data:text/html,https://shop.example/",
            "/cart?next=https://shop.example/",
        ] {
            assert_eq!(of(url), None, "{url}");
        }
    }

    #[test]
    fn an_origin_is_on_the_host_and_port_it_names_and_on_no_other() {
        let origin = |text: &str| Origin::parse(text.as_bytes()).unwrap();
        for (page, authority, expected) in [
            ("https://shop.example", "shop.example", true),
            ("https://shop.example", "SHOP.example", true),
            ("https://shop.example", "shop.example:443", true),
            ("https://shop.example:8443", "shop.example:8443", true),
            ("http://shop.example", "shop.example", true),
            ("http://shop.example", "shop.example:80", true),
            ("http://[::1]:3000", "[::1]:3000", true),
            ("https://shop.example", "shop.example:80", false),
            ("http://shop.example", "shop.example:443", false),
            ("https://shop.example:8443", "shop.example", false),
            ("https://shop.example", "shop.example:8443", false),
            ("https://shop.example", "a.shop.example", false),
            ("https://a.shop.example", "shop.example", false),
            ("https://shop.example", "shop.example.", false),
            ("https://shop.example", "shop.example.evil.example", false),
            ("https://shop.example", "", false),
            ("https://shop.example", "shop.example:", false),
            ("https://shop.example", "shop.example:443x", false),
            ("https://shop.example", "evil.example@shop.example", false),
            ("capacitor://shop.example", "shop.example", false),
        ] {
            assert_eq!(origin(page).is_on(authority), expected, "{page} on {authority:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_what_to_type() {
        for (typed, says) in [
            ("null", "any site can send it"),
            ("accounts.example.com", "has no scheme"),
            ("https//accounts.example.com", "has no scheme"),
            ("https://accounts.example.com/", "without a `/` at the end"),
            ("https://accounts.example.com/sign-in", "without a path"),
            ("https://*.example.com", "call `trust` once for every origin"),
            ("https://bücher.example", "xn--"),
            ("https://accounts.example.com:https", "a port as a number"),
        ] {
            let error = Origin::typed(typed).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains(typed), "{typed}: {error}");
        }
        let long = Origin::typed(&"x".repeat(100_000)).unwrap_err().to_string();
        assert!(long.len() < 500, "the message is {} bytes long", long.len());
    }
}
