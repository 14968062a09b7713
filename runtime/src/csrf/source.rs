//! Where a request comes from, by what the browser says about it, and whether that site may change anything here.

use super::origin::Origin;
use crate::events::Foreign;
use http::{HeaderMap, HeaderName, Method, Request, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request that another site may have sent, and its origin where it names one.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) why: Foreign,
    pub(super) origin: Option<Origin>,
}

/// Lets a request pass that changes nothing, or that comes from its own host or a trusted origin.
pub(super) fn judge<B>(request: &Request<B>, trusted: &[Origin]) -> Result<(), Refused> {
    let headers = request.headers();
    if is_safe(request.method()) && !opens_socket(headers) {
        return Ok(());
    }
    match Site::of(headers) {
        Site::Own => Ok(()),
        Site::Unknown => judge_by_origin(request, trusted),
        Site::Foreign(why) => match Claim::of(headers, header::ORIGIN, Origin::parse) {
            Claim::Of(origin) if trusted.contains(&origin) => Ok(()),
            claim => Err(claim.refused(why)),
        },
    }
}

/// For browsers that say nothing about the site: those from before 2023, and all of them over plain http.
fn judge_by_origin<B>(request: &Request<B>, trusted: &[Origin]) -> Result<(), Refused> {
    let headers = request.headers();
    // The order of OWASP's cheat sheet: Origin, and Referer only if there is none.
    let (source, why) = match Claim::of(headers, header::ORIGIN, Origin::parse) {
        Claim::None => (Claim::of(headers, header::REFERER, Origin::of_url), Foreign::Referer),
        claim => (claim, Foreign::Origin),
    };
    match source {
        Claim::Of(origin) if trusted.contains(&origin) || is_own(&origin, request) => Ok(()),
        // A request without cookies rides on nobody's session.
        Claim::None if !headers.contains_key(header::COOKIE) => Ok(()),
        Claim::None => Err(Claim::None.refused(Foreign::Unnamed)),
        claim => Err(claim.refused(why)),
    }
}

/// RFC 9110, section 9.2.1. Spelled out, so that no update of a dependency lets more methods pass.
pub(crate) fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// A handshake is a GET, but no rule of CORS keeps another site from opening a socket with the visitor's cookies, and from reading
/// what comes over it (RFC 6455, section 10.2).
fn opens_socket(headers: &HeaderMap) -> bool {
    let protocols = headers.get_all(header::UPGRADE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    protocols.map(<[u8]>::trim_ascii).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// Whether the page lies on the host that the request is for.
fn is_own<B>(origin: &Origin, request: &Request<B>) -> bool {
    // RFC 9112, section 3.2.2: a target with an authority, as HTTP/2 always has it, outranks the header.
    let authority = match (request.uri().authority(), lines(request.headers(), header::HOST)) {
        (Some(authority), _) => Some(authority.as_str()),
        (None, Lines::One(host)) => std::str::from_utf8(host).ok(),
        (None, _) => None,
    };
    authority.is_some_and(|authority| origin.is_on(authority)) && !(origin.is_plain_http() && came_over_tls(request.headers()))
}

/// Browsers send cookies of these names over TLS only, and to the machine itself (RFC 6265bis, section 4.1.3). Exact bytes: a browser old enough to be judged by its
/// Origin knows no other spelling of the prefixes.
fn came_over_tls(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii_start);
    pairs.any(|pair| pair.starts_with(b"__Host-") || pair.starts_with(b"__Secure-"))
}

/// What the browser says about the page behind a request (W3C Fetch Metadata).
enum Site {
    Own,
    Foreign(Foreign),
    Unknown,
}

impl Site {
    fn of(headers: &HeaderMap) -> Self {
        match lines(headers, SEC_FETCH_SITE) {
            // `none`: there is no page; somebody used the address bar or a bookmark.
            Lines::One(b"same-origin" | b"none") => Self::Own,
            Lines::One(b"same-site") => Self::Foreign(Foreign::SameSite),
            Lines::One(b"cross-site") => Self::Foreign(Foreign::CrossSite),
            // The standard has servers ignore values that they do not know.
            _ => Self::Unknown,
        }
    }
}

/// How often a field stands in the head, and its value if that is not in doubt.
enum Lines<'a> {
    None,
    One(&'a [u8]),
    Many,
}

fn lines(headers: &HeaderMap, name: HeaderName) -> Lines<'_> {
    let mut all = headers.get_all(name).into_iter();
    match (all.next(), all.next()) {
        (None, _) => Lines::None,
        (Some(value), None) => Lines::One(value.as_bytes()),
        (Some(_), Some(_)) => Lines::Many,
    }
}

/// What a field says about where the request comes from.
enum Claim {
    None,
    Of(Origin),
    /// `null`, no origin at all, or several.
    Unreadable,
}

impl Claim {
    fn of(headers: &HeaderMap, name: HeaderName, read: fn(&[u8]) -> Option<Origin>) -> Self {
        match lines(headers, name) {
            Lines::None => Self::None,
            Lines::One(value) => read(value).map_or(Self::Unreadable, Self::Of),
            Lines::Many => Self::Unreadable,
        }
    }

    fn refused(self, why: Foreign) -> Refused {
        let origin = match self {
            Self::Of(origin) => Some(origin),
            Self::None | Self::Unreadable => None,
        };
        Refused { why, origin }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use Foreign::{CrossSite, Referer, SameSite, Unnamed};

    const PASSED: Result<(), Foreign> = Ok(());
    const OTHER: Result<(), Foreign> = Err(Foreign::Origin);

    /// The verdict on a request to `https://shop.example`, which trusts `https://accounts.example`.
    fn verdict(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<(), Foreign> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, value.as_bytes());
        }
        let trusted = [Origin::typed("https://accounts.example").unwrap()];
        judge(&request.body(()).unwrap(), &trusted).map_err(|refused| refused.why)
    }

    fn post(fields: &[(&str, &str)]) -> Result<(), Foreign> {
        verdict("POST", "/", &[&[("host", "shop.example")], fields].concat())
    }

    #[test]
    fn safe_methods_pass_and_no_others() {
        let evil = [("host", "shop.example"), ("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert_eq!(verdict(method, "/", &evil), PASSED, "{method}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "QUERY", "PROPFIND", "get", "Get", "X"] {
            assert_eq!(verdict(method, "/", &evil), Err(CrossSite), "{method}");
        }
    }

    #[test]
    fn a_handshake_for_a_socket_is_no_safe_request() {
        for upgrade in ["websocket", "WebSocket", "h2c, websocket", "h2c,\twebsocket "] {
            let with = |more: (&str, &str)| verdict("GET", "/", &[("host", "shop.example"), ("upgrade", upgrade), more]);
            assert_eq!(with(("origin", "https://evil.example")), OTHER, "{upgrade}");
            assert_eq!(with(("sec-fetch-site", "same-site")), Err(SameSite), "{upgrade}");
            assert_eq!(with(("origin", "https://shop.example")), PASSED, "{upgrade}");
            assert_eq!(with(("cookie", "a=1")), Err(Unnamed), "{upgrade}");
            assert_eq!(with(("accept", "*/*")), PASSED, "{upgrade}");
        }
        let two = [("host", "shop.example"), ("upgrade", "h2c"), ("upgrade", "websocket"), ("origin", "null")];
        assert_eq!(verdict("GET", "/", &two), OTHER);
        assert_eq!(verdict("GET", "/", &[("host", "shop.example"), ("upgrade", "h2c"), ("origin", "null")]), PASSED);
    }

    #[test]
    fn what_the_browser_says_about_the_site_decides() {
        for (site, alone) in
            [("same-origin", PASSED), ("none", PASSED), ("same-site", Err(SameSite)), ("cross-site", Err(CrossSite))]
        {
            assert_eq!(post(&[("sec-fetch-site", site)]), alone, "{site}");
            assert_eq!(post(&[("sec-fetch-site", site), ("cookie", "a=1")]), alone, "{site}");
            assert_eq!(post(&[("sec-fetch-site", site), ("origin", "https://shop.example")]), alone, "{site}");
            assert_eq!(post(&[("sec-fetch-site", site), ("origin", "https://evil.example")]), alone, "{site}");
            assert_eq!(post(&[("sec-fetch-site", site), ("origin", "null")]), alone, "{site}");
            assert_eq!(post(&[("sec-fetch-site", site), ("referer", "https://accounts.example/")]), alone, "{site}");
            assert_eq!(post(&[("sec-fetch-site", site), ("origin", "https://accounts.example")]), PASSED, "{site}");
        }
    }

    #[test]
    fn an_unknown_or_repeated_word_on_the_site_counts_as_none() {
        for words in [
            &["same-party"][..],
            &["Same-Origin"],
            &["same-origin;x=1"],
            &["same-origin, same-origin"],
            &["\"same-origin\""],
            &[""],
            &["same-origin", "same-origin"],
            &["none", "cross-site"],
        ] {
            let mut fields: Vec<_> = words.iter().map(|word| ("sec-fetch-site", *word)).collect();
            fields.push(("cookie", "a=1"));
            assert_eq!(post(&fields), Err(Unnamed), "{words:?}");
            fields.push(("origin", "https://evil.example"));
            assert_eq!(post(&fields), OTHER, "{words:?}");
            *fields.last_mut().unwrap() = ("origin", "https://shop.example");
            assert_eq!(post(&fields), PASSED, "{words:?}");
        }
    }

    #[test]
    fn without_it_the_origin_must_be_our_own_or_a_trusted_one() {
        for (origin, expected) in [
            ("https://shop.example", PASSED),
            ("https://SHOP.example:443", PASSED),
            ("http://shop.example", PASSED),
            ("https://accounts.example", PASSED),
            ("https://accounts.example:443", PASSED),
            ("http://accounts.example", OTHER),
            ("https://shop.example:8443", OTHER),
            ("https://evil.example", OTHER),
            ("https://a.shop.example", OTHER),
            ("https://shop.example.evil.example", OTHER),
            ("https://shop.example, https://evil.example", OTHER),
            ("null", OTHER),
            ("", OTHER),
            ("shop.example", OTHER),
        ] {
            assert_eq!(post(&[("origin", origin)]), expected, "{origin:?}");
            // The other headers change nothing once there is an Origin.
            let more = [("origin", origin), ("referer", "https://shop.example/"), ("cookie", "a=1")];
            assert_eq!(post(&more), expected, "{origin:?}");
        }
        assert_eq!(post(&[("origin", "https://shop.example"), ("origin", "https://shop.example")]), OTHER);
    }

    #[test]
    fn without_an_origin_the_referer_must_be_our_own_or_a_trusted_one() {
        for (referer, expected) in [
            ("https://shop.example/cart?x=https://evil.example", PASSED),
            ("https://shop.example", PASSED),
            ("https://accounts.example/sign-in", PASSED),
            ("https://evil.example/?https://shop.example/", Err(Referer)),
            ("https://shop.example@evil.example/", Err(Referer)),
            ("https://shop.example.evil.example/", Err(Referer)),
            ("about:blank", Err(Referer)),
            ("", Err(Referer)),
        ] {
            assert_eq!(post(&[("referer", referer)]), expected, "{referer:?}");
            assert_eq!(post(&[("referer", referer), ("cookie", "a=1")]), expected, "{referer:?}");
        }
        assert_eq!(post(&[("referer", "https://shop.example/"), ("referer", "https://shop.example/")]), Err(Referer));
    }

    #[test]
    fn a_request_of_unknown_source_passes_only_without_cookies() {
        assert_eq!(post(&[]), PASSED);
        assert_eq!(post(&[("authorization", "Bearer x")]), PASSED);
        assert_eq!(post(&[("cookie", "a=1")]), Err(Unnamed));
        assert_eq!(post(&[("cookie", "")]), Err(Unnamed));
    }

    #[test]
    fn the_target_outranks_the_host_header_and_one_of_them_must_name_the_host() {
        let from = ("origin", "https://shop.example");
        assert_eq!(verdict("POST", "https://shop.example/", &[from]), PASSED);
        assert_eq!(verdict("POST", "https://shop.example:443/", &[from, ("host", "other.example")]), PASSED);
        assert_eq!(verdict("POST", "https://other.example/", &[from, ("host", "shop.example")]), OTHER);
        assert_eq!(verdict("POST", "https://ada@shop.example/", &[from]), OTHER);
        assert_eq!(verdict("POST", "/", &[from]), OTHER);
        assert_eq!(verdict("POST", "/", &[from, ("host", "")]), OTHER);
        assert_eq!(verdict("POST", "/", &[from, ("host", "shop.example"), ("host", "shop.example")]), OTHER);
        assert_eq!(verdict("POST", "/", &[from, ("x-forwarded-host", "shop.example")]), OTHER);
    }

    #[test]
    fn a_page_over_plain_http_is_not_ours_where_a_cookie_shows_that_the_request_came_over_tls() {
        for (cookie, plain) in [
            ("__Host-id=x", OTHER),
            ("a=1; __Host-id=x", OTHER),
            ("a=1;__Secure-id=x", OTHER),
            ("cloakroom-dev=x", PASSED),
            ("a=__Host-id=x", PASSED),
            ("x__Host-id=x", PASSED),
        ] {
            assert_eq!(post(&[("origin", "http://shop.example"), ("cookie", cookie)]), plain, "{cookie}");
            assert_eq!(post(&[("origin", "https://shop.example"), ("cookie", cookie)]), PASSED, "{cookie}");
            let by_referer = post(&[("referer", "http://shop.example/"), ("cookie", cookie)]);
            assert_eq!(by_referer.is_ok(), plain.is_ok(), "{cookie}");
        }
        let two_fields = [("origin", "http://shop.example"), ("cookie", "a=1"), ("cookie", "__Host-id=x")];
        assert_eq!(post(&two_fields), OTHER);
    }

    #[test]
    fn on_the_machine_itself_plain_http_is_as_good_as_tls() {
        for host in ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "shop.localhost"] {
            let origin = format!("http://{host}");
            assert_eq!(
                verdict("POST", "/", &[("host", host), ("origin", &origin), ("cookie", "__Host-id=x")]),
                PASSED,
                "{host}"
            );
        }
        let neighbour = [("host", "192.168.0.7:3000"), ("origin", "http://192.168.0.7:3000"), ("cookie", "__Host-id=x")];
        assert_eq!(verdict("POST", "/", &neighbour), OTHER);
    }
}
