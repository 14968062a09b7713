//! Random bytes from the operating system, asked for anew each time.
//!
//! There is no buffer, on purpose. A buffer is state of the process, and a fork or a copy of a virtual machine duplicates it: both copies
//! would then hand out the same tokens, and seal under the same nonces. A draw of up to 32 bytes costs about a quarter of a microsecond.
//! Asking for the process id, to notice a fork, costs nearly half of that and notices no copied machine.

/// The operating system gave no random bytes.
#[derive(Debug)]
pub(crate) struct RandomError(getrandom::Error);

impl std::fmt::Display for RandomError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the operating system gave no random bytes: {}", self.0)
    }
}

impl std::error::Error for RandomError {}

/// `N` fresh random bytes. What is needed at the same time is best drawn at once: the call costs more than the bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    #[cfg(test)]
    tests::outage()?;
    let mut out = [0; N];
    getrandom::fill(&mut out).map_err(RandomError)?;
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{CookiePolicy, SessionData, SessionLayer, TypedSession, store::MemoryStore};
    use axum::{Router, body::Body, routing::any};
    use http::{Request, StatusCode, header};
    use std::cell::Cell;
    use tower::ServiceExt;

    thread_local! {
        /// How many draws of this thread succeed before the generator fails.
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    pub(super) fn outage() -> Result<(), RandomError> {
        match LEFT.get() {
            usize::MAX => Ok(()),
            0 => Err(RandomError(getrandom::Error::UNSUPPORTED)),
            left => {
                LEFT.set(left - 1);
                Ok(())
            }
        }
    }

    #[derive(SessionData)]
    #[session(name = "shop", crate = crate)]
    struct Shop {
        views: u64,
        #[cfg(feature = "secret")]
        #[session(secret)]
        code: u64,
    }

    fn routes() -> Router {
        let router = Router::new()
            .route("/view", any(async |mut shop: TypedSession<Shop>| *shop.views += 1))
            .route("/views", any(async |shop: TypedSession<Shop>| shop.views.to_string()))
            .route("/form", any(async |mut shop: TypedSession<Shop>| shop.csrf_token().map(drop)))
            .route(
                "/rotate",
                any(async |mut shop: TypedSession<Shop>| {
                    *shop.views += 1;
                    shop.rotate();
                }),
            );
        #[cfg(feature = "secret")]
        let router = router.route("/code", any(async |mut shop: TypedSession<Shop>| *shop.code += 1));
        router
    }

    struct Answer {
        status: StatusCode,
        cookie: Option<String>,
        text: String,
    }

    async fn ask(app: &Router, path: &str, cookie: Option<&str>) -> Answer {
        let mut request = Request::post(path).body(Body::empty()).unwrap();
        if let Some(cookie) = cookie {
            request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
        }
        let response = app.clone().oneshot(request).await.unwrap();
        let cookie =
            response.headers().get(header::SET_COOKIE).map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned());
        let status = response.status();
        let text = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        Answer { status, cookie, text: String::from_utf8(text.into()).unwrap() }
    }

    /// Each request that needs random bytes, with every number of draws that succeed before one fails.
    async fn fails_closed(app: Router, cookie: Option<&str>, paths: &[&str], stored: impl Fn() -> String) {
        for path in paths {
            let before = stored();
            for draws in 0.. {
                LEFT.set(draws);
                let answer = ask(&app, path, cookie).await;
                let outage = LEFT.replace(usize::MAX) == 0 && answer.status != StatusCode::OK;
                if !outage {
                    assert!(draws > 0, "{path} draws random bytes");
                    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
                    break;
                }
                assert_eq!((answer.status, answer.cookie), (StatusCode::SERVICE_UNAVAILABLE, None), "{path} after {draws}");
                assert_eq!(stored(), before, "{path} after {draws}: nothing is stored");
            }
        }
    }

    #[tokio::test]
    async fn a_request_for_which_no_random_bytes_are_there_fails_and_stores_nothing() {
        let store = MemoryStore::new();
        let app = routes().layer(SessionLayer::new(store.clone()));
        let count = || store.len().to_string();
        fails_closed(app.clone(), None, &["/view", "/form"], count).await;
        let cookie = ask(&app, "/view", None).await.cookie.unwrap();
        let nothing = String::new;
        #[cfg(feature = "secret")]
        fails_closed(app.clone(), Some(&cookie), &["/code"], nothing).await;
        LEFT.set(0);
        assert_eq!(ask(&app, "/rotate", Some(&cookie)).await.status, StatusCode::SERVICE_UNAVAILABLE);
        LEFT.set(usize::MAX);
        assert_eq!(ask(&app, "/views", Some(&cookie)).await.text, "1", "the old token works, and nothing was counted");
        fails_closed(app, Some(&cookie), &["/rotate"], nothing).await;
    }

    #[cfg(feature = "cookie")]
    #[tokio::test]
    async fn no_cookie_is_sealed_without_a_random_nonce() {
        let keys = crate::KeyRing::from_bytes(b"0123456789abcdefghijklmnopqrstuv").unwrap();
        let app = routes().layer(SessionLayer::new(crate::store::CookieStore::new(keys)).cookie(CookiePolicy::default()));
        fails_closed(app.clone(), None, &["/view", "/form", "/code"], String::new).await;
        let cookie = ask(&app, "/view", None).await.cookie.unwrap();
        fails_closed(app, Some(&cookie), &["/view", "/rotate"], String::new).await;
    }
}
