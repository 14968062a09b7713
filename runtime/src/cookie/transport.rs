//! Whether a request came over plain http, where browsers drop `Secure` cookies.
//!
//! Behind a proxy nobody knows for certain, so only what speaks for plain http counts, and whatever speaks against it counts more.

use http::{
    HeaderMap, Uri, header,
    uri::{Authority, Scheme},
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// How a request came here, as far as its head tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Encrypted, on this machine itself, or nobody knows.
    #[default]
    Unsuspicious,
    /// Over plain http, to this host.
    PlainHttp(Box<Authority>),
}

impl Arrival {
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        // Browsers send these where they trust the way, and nowhere else (Fetch Metadata, section 2).
        if ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"].iter().any(|name| headers.contains_key(*name)) {
            return Self::Unsuspicious;
        }
        let host = || Authority::try_from(headers.get(header::HOST)?.as_bytes()).ok();
        match uri.authority().cloned().or_else(host) {
            Some(host) if !is_loopback(host.host()) && is_plain(uri, headers, &host) => Self::PlainHttp(host.into()),
            _ => Self::Unsuspicious,
        }
    }
}

/// Whether one witness says http, and none says https.
fn is_plain(uri: &Uri, headers: &HeaderMap, host: &Authority) -> bool {
    let forwarded = headers.get("x-forwarded-proto").and_then(|value| {
        // The first is what the proxy next to the browser has seen.
        scheme(value.as_bytes().split(|byte| *byte == b',').next()?)
    });
    let page = |name| {
        // A page of the same host and port was loaded the same way.
        let page = Uri::try_from(headers.get(name)?.as_bytes()).ok()?;
        page.scheme().filter(|_| page.authority() == Some(host)).cloned()
    };
    let witnesses =
        [forwarded, standard_forwarded(headers), page(header::ORIGIN), page(header::REFERER), uri.scheme().cloned()];
    witnesses.contains(&Some(Scheme::HTTP)) && !witnesses.contains(&Some(Scheme::HTTPS))
}

/// The `proto` of the first proxy in the `Forwarded` field (RFC 7239, section 5.4).
fn standard_forwarded(headers: &HeaderMap) -> Option<Scheme> {
    let first = headers.get(header::FORWARDED)?.to_str().ok()?.split(',').next()?;
    first.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("proto").then(|| scheme(value.trim_matches('"').as_bytes()))?
    })
}

/// Schemes are told without regard to case (RFC 3986, section 3.1).
fn scheme(text: &[u8]) -> Option<Scheme> {
    Scheme::try_from(&*text.trim_ascii().to_ascii_lowercase()).ok()
}

/// The machine itself: no wire to listen on, and Chromium and Firefox keep `Secure` cookies there.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}
