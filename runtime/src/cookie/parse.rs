//! Finding our cookie in a request, by exact bytes.
//!
//! Names and values are never percent-decoded, unquoted or trimmed: a parser that does lets a sibling host forge a `__Host-` name
//! that no browser would have let it set (CVE-2020-7070, CVE-2022-36032 and others).

use http::{HeaderMap, header};

/// How many different values of one cookie are looked at. Each may cost a call of the store.
pub(crate) const MOST: usize = 4;

/// What a request says under our cookie's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Absent,
    One(&'a [u8]),
    /// Different values, in the order of the request. A client sends those of several paths and domains, and does not say which is of which
    /// (RFC 6265, section 4.2.2).
    Several(Vec<&'a [u8]>),
    /// More different values than are looked at.
    TooMany,
}

/// The values of our cookie over *all* Cookie fields, since HTTP/2 may split them (RFC 9113, section 8.2.3).
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut found = Found::Absent;
    for field in headers.get_all(header::COOKIE) {
        for (at, pair) in field.as_bytes().split(|byte| *byte == b';').enumerate() {
            // The grammar has one space after each semicolon; more than that is part of a name, and not of ours.
            let pair = if at > 0 { pair.strip_prefix(b" ").unwrap_or(pair) } else { pair };
            let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else { continue };
            match &mut found {
                Found::Absent => found = Found::One(value),
                Found::One(first) if *first == value => {}
                Found::One(first) => found = Found::Several(vec![*first, value]),
                Found::Several(values) if values.contains(&value) => {}
                Found::Several(values) if values.len() < MOST => values.push(value),
                Found::Several(_) | Found::TooMany => return Found::TooMany,
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn several(fields: &[&'static [u8]]) -> Option<Vec<String>> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_bytes(field).unwrap());
        }
        match find(&headers, "__Host-id") {
            Found::Several(values) => Some(values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect()),
            Found::TooMany => None,
            few => panic!("{few:?}"),
        }
    }

    fn look(fields: &[&'static [u8]]) -> Option<Result<Vec<u8>, ()>> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::COOKIE, HeaderValue::from_bytes(field).unwrap());
        }
        match find(&headers, "__Host-id") {
            Found::Absent => None,
            Found::One(value) => Some(Ok(value.to_vec())),
            Found::Several(_) | Found::TooMany => Some(Err(())),
        }
    }

    #[test]
    fn the_cookie_is_found_among_others_and_in_any_field() {
        assert_eq!(look(&[b"a=1; __Host-id=x; b=2"]), Some(Ok(b"x".to_vec())));
        assert_eq!(look(&[b"a=1", b"__Host-id=x"]), Some(Ok(b"x".to_vec())));
        assert_eq!(look(&[b"a=1;__Host-id=x"]), Some(Ok(b"x".to_vec())));
        assert_eq!(look(&[b"__Host-id="]), Some(Ok(b"".to_vec())));
    }

    #[test]
    fn identical_duplicates_count_once_and_differing_ones_are_several() {
        assert_eq!(look(&[b"__Host-id=x; __Host-id=x"]), Some(Ok(b"x".to_vec())));
        assert_eq!(look(&[b"__Host-id=x", b"__Host-id=y"]), Some(Err(())));
        assert_eq!(look(&[b"__Host-id=x; __Host-id=x; __Host-id=y"]), Some(Err(())));
    }

    #[test]
    fn up_to_four_values_are_listed_once_each_in_the_order_of_the_request() {
        let values = |list: &[&str]| Some(list.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(several(&[b"__Host-id=b; a=1; __Host-id=a; __Host-id=b"]), values(&["b", "a"]));
        assert_eq!(
            several(&[b"__Host-id=1; __Host-id=2", b"__Host-id=3; __Host-id=4; __Host-id=1"]),
            values(&["1", "2", "3", "4"])
        );
        assert_eq!(several(&[b"__Host-id=1; __Host-id=2; __Host-id=3; __Host-id=4; __Host-id=5"]), None);
    }

    #[test]
    fn a_name_that_only_resembles_ours_is_not_ours() {
        for forged in [
            &b"%5F%5FHost-id=x"[..],
            b"__HOST-id=x",
            b"__host-id=x",
            b"..Host-id=x",
            b"=__Host-id=x",
            b" __Host-id=x",
            b"a=1;  __Host-id=x",
            b"a=1; \t__Host-id=x",
            b"__Host-id =x",
            b"\t__Host-id=x",
            b"__Host-id",
            b"__Host-idx=x",
            b"x__Host-id=x",
            b"\xc2\xa0__Host-id=x",
        ] {
            assert_eq!(look(&[forged]), None, "{:?}", String::from_utf8_lossy(forged));
        }
    }

    #[test]
    fn values_are_taken_to_the_letter() {
        assert_eq!(look(&[b"__Host-id=\"x\""]), Some(Ok(b"\"x\"".to_vec())));
        assert_eq!(look(&[b"__Host-id=a%20b "]), Some(Ok(b"a%20b ".to_vec())));
        assert_eq!(look(&[b"__Host-id=a=b"]), Some(Ok(b"a=b".to_vec())));
    }
}
