//! What a response may look like, by the letter of the standards and whatever the request was.

use http::HeaderMap;
use std::collections::BTreeSet;

/// The name, the value and the attributes of a Set-Cookie line.
///
/// # Panics
/// If it is not one by RFC 6265, section 4.1.1 (with `SameSite` and `Partitioned`, which came later), or has an attribute twice.
pub fn set_cookie(line: &str) -> (&str, &str, Vec<&str>) {
    let mut parts = line.split("; ");
    let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap_or_else(|| panic!("no pair: {line:?}"));
    assert!(!name.is_empty() && name.bytes().all(is_token), "{name:?} is no cookie name: {line:?}");
    assert!(value.bytes().all(is_cookie_octet), "{value:?} is no cookie value: {line:?}");
    let attributes: Vec<&str> = parts.collect();
    let mut seen = BTreeSet::new();
    for attribute in &attributes {
        let (name, value) = attribute.split_once('=').map_or((*attribute, None), |(name, value)| (name, Some(value)));
        let holds = match (name, value) {
            ("Secure" | "HttpOnly" | "Partitioned", None) => true,
            ("SameSite", Some(value)) => ["Strict", "Lax", "None"].contains(&value),
            ("Max-Age", Some(value)) => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()),
            ("Expires", Some(value)) => value == "Thu, 01 Jan 1970 00:00:00 GMT",
            ("Path", Some(value)) => value.starts_with('/') && value.bytes().all(is_attribute_octet),
            ("Domain", Some(value)) => {
                !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
            }
            _ => false,
        };
        assert!(holds, "{attribute:?} is no attribute: {line:?}");
        assert!(value.is_none_or(|value| value.len() <= 1024), "browsers ignore it: {attribute:?}");
        assert!(seen.insert(name), "{name} stands there twice: {line:?}");
    }
    (name, value, attributes)
}

/// The Set-Cookie lines of a response.
///
/// # Panics
/// If one breaks the grammar, or two have one name (RFC 6265, section 4.1.1: servers should not).
pub fn set_cookies(headers: &HeaderMap) -> Vec<String> {
    let lines: Vec<String> = headers
        .get_all(http::header::SET_COOKIE)
        .iter()
        .map(|value| value.to_str().unwrap_or_else(|_| panic!("not visible ASCII: {value:?}")).to_owned())
        .collect();
    let names: BTreeSet<&str> = lines.iter().map(|line| set_cookie(line).0).collect();
    assert_eq!(names.len(), lines.len(), "one name is set twice: {lines:?}");
    lines
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_cookie_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

fn is_attribute_octet(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b';'
}
