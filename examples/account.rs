//! An account with everything around it: a sign-in form, a second factor, what needs a fresh password, and a list of devices.

use axum::{
    Form, Router,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use cloakroom::{
    Denial, Handle, SameOriginLayer, SessionData, SessionError, SessionLayer, Sessions, SignedIn, TypedSession,
    store::MemoryStore,
};
use serde::Deserialize;
use std::time::Duration;

#[derive(SessionData)]
struct Account {
    /// Who is signed in, with both factors: nobody else is the owner of anything.
    #[session(owner)]
    user: Option<String>,
    /// Who has given the password, and has ten minutes for the second factor.
    #[session(privilege, ttl = "10m")]
    candidate: Option<String>,
}

/// The fields of all forms below.
#[derive(Deserialize)]
struct Filled {
    csrf: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    secret: String,
    #[serde(default)]
    device: String,
}

fn form(session: &mut TypedSession<Account>, action: &str, fields: &str) -> Result<String, SessionError> {
    let csrf = session.csrf_token()?; // begins the session of a visitor, who has none yet
    Ok(format!(
        "<form method=post action={action}><input type=hidden name=csrf value={}>{fields}<button>Go</button></form>",
        csrf.as_str()
    ))
}

async fn sign_in_page(mut session: TypedSession<Account>) -> Result<Html<String>, SessionError> {
    let form = form(&mut session, "/sign-in", "User <input name=user> password <input name=secret type=password>")?;
    Ok(Html(form))
}

async fn sign_in(mut session: TypedSession<Account>, Form(filled): Form<Filled>) -> Result<Response, SessionError> {
    session.verify_csrf(&filled.csrf)?;
    if filled.secret != "correct horse" {
        return Ok("That is not the password.".into_response()); // in earnest: a hash, and a limit to the attempts
    }
    *session.candidate = Some(filled.user); // a privilege: another token, and the CSRF token of before is dead
    Ok(Redirect::to("/second-factor").into_response())
}

async fn second_factor_page(mut session: TypedSession<Account>) -> Result<Html<String>, SessionError> {
    form(&mut session, "/second-factor", "Code <input name=secret>").map(Html)
}

async fn second_factor(mut session: TypedSession<Account>, Form(filled): Form<Filled>) -> Result<Redirect, SessionError> {
    session.verify_csrf(&filled.csrf)?;
    if filled.secret == "271828"
        && let Some(user) = session.candidate.take()
    {
        *session.user = Some(user); // another token again, in the step that stores it
        session.reauthenticated(); // for whoever was signed in already, which is no change of the owner
        session.set_label("Firefox on a laptop"); // in earnest from the User-Agent
        return Ok(Redirect::to("/"));
    }
    Ok(Redirect::to("/second-factor"))
}

async fn devices(sessions: Sessions, session: SignedIn<Account>) -> Result<Html<String>, SessionError> {
    let user = session.owner().cloned().unwrap_or_default();
    let mut page = format!("<h1>Hello, {user}</h1>"); // in earnest escaped, by a template engine
    let mut session = session.into_session();
    for device in sessions.list::<Account>(&user).await? {
        let label = device.label.as_deref().unwrap_or("a browser");
        page += &format!("<p>{label}, {}", if device.is_current { "this one" } else { "another one" });
        page += &form(&mut session, "/end", &format!("<input type=hidden name=device value={}>", device.handle))?;
    }
    page += &form(&mut session, "/password", "New password <input name=secret type=password>")?;
    page += &form(&mut session, "/sign-out", "")?;
    Ok(Html(page))
}

async fn end(
    sessions: Sessions,
    session: SignedIn<Account, 15>, // what a thief would like to do, too, wants a password of the last 15 minutes
    Form(filled): Form<Filled>,
) -> Result<Redirect, SessionError> {
    session.verify_csrf(&filled.csrf)?;
    if let (Some(user), Ok(handle)) = (session.owner(), filled.device.parse::<Handle>()) {
        sessions.revoke::<Account>(user, &handle).await?;
    }
    Ok(Redirect::to("/"))
}

async fn change_password(
    sessions: Sessions,
    mut session: SignedIn<Account, 15>,
    Form(filled): Form<Filled>,
) -> Result<Redirect, SessionError> {
    session.verify_csrf(&filled.csrf)?;
    // ... store the new one's hash, and then:
    sessions.revoke_others(&session).await?; // whoever knew the old one is out
    session.reauthenticated(); // and here the token is another one
    Ok(Redirect::to("/"))
}

async fn sign_out(mut session: TypedSession<Account>, Form(filled): Form<Filled>) -> Result<Redirect, SessionError> {
    session.verify_csrf(&filled.csrf)?;
    *session.user = None;
    Ok(Redirect::to("/sign-in"))
}

/// Whom a guard turns away is sent where they can do something about it.
fn on_error(error: &SessionError) -> Response {
    match error {
        SessionError::Denied(Denial::SignedOut | Denial::NotRecent { .. }) => Redirect::to("/sign-in").into_response(),
        other => other.default_response(),
    }
}

fn app(sessions: SessionLayer) -> Router {
    Router::new()
        .route("/", get(devices))
        .route("/sign-in", get(sign_in_page).post(sign_in))
        .route("/second-factor", get(second_factor_page).post(second_factor))
        .route("/end", post(end))
        .route("/password", post(change_password))
        .route("/sign-out", post(sign_out))
        .layer(
            sessions
                .max_sessions(5)
                .renew(Duration::from_secs(15 * 60), Duration::from_secs(30))
                .on_error(|error, _| on_error(error)),
        )
        .layer(SameOriginLayer::new()) // what other sites send does not even reach a session
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = app(SessionLayer::new(MemoryStore::new()));
    Ok(axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, http::Request};
    use cloakroom::testing::{ManualClock, TestClient, TestResponse};
    use std::time::SystemTime;

    type Browser = TestClient<Router>;

    /// Fills in the form of that page whose action this is.
    async fn fill(browser: &Browser, page: &str, action: &str, fields: &str) -> TestResponse {
        let page = browser.get(page).await.text();
        let form =
            page.split("<form ").find(|form| form.contains(&format!("action={action}>"))).expect("the page has the form");
        let csrf = form.split("name=csrf value=").nth(1).and_then(|rest| rest.split('>').next()).expect("a token");
        let request = Request::post(action).header("content-type", "application/x-www-form-urlencoded");
        let request = request.header("sec-fetch-site", "same-origin");
        browser.send(request.body(Body::from(format!("csrf={csrf}&{fields}"))).expect("a request")).await
    }

    async fn sign_in(browser: &Browser) {
        fill(browser, "/sign-in", "/sign-in", "user=ada&secret=correct+horse").await;
        let home = browser.get("/").await;
        assert_eq!(home.headers()["location"], "/sign-in", "the password is not enough");
        finish(browser).await;
    }

    async fn sign_in_again(browser: &Browser) {
        fill(browser, "/sign-in", "/sign-in", "user=ada&secret=correct+horse").await;
        finish(browser).await;
    }

    async fn finish(browser: &Browser) {
        fill(browser, "/second-factor", "/second-factor", "secret=271828").await;
        assert!(browser.get("/").await.text().contains("Hello, ada"));
    }

    #[tokio::test]
    async fn an_account_is_guarded_listed_and_left_everywhere() {
        let clock = ManualClock::new(SystemTime::now());
        let app = app(SessionLayer::new(MemoryStore::new()).clock(clock.clone()));
        let (laptop, phone) = (TestClient::new(app.clone()).clock(clock.clone()), TestClient::new(app).clock(clock.clone()));
        assert_eq!(laptop.get("/").await.headers()["location"], "/sign-in");
        sign_in(&laptop).await;
        sign_in(&phone).await;
        assert_eq!(laptop.get("/").await.text().matches("Firefox").count(), 2);

        clock.advance(Duration::from_secs(15 * 60 + 1));
        let stale = fill(&laptop, "/", "/password", "secret=battery+staple").await;
        assert_eq!(stale.headers()["location"], "/sign-in", "the last password is too long ago");
        sign_in_again(&laptop).await;
        fill(&laptop, "/", "/password", "secret=battery+staple").await;
        assert_eq!(laptop.get("/").await.text().matches("Firefox").count(), 1);
        assert_eq!(phone.get("/").await.headers()["location"], "/sign-in");

        let foreign = Request::post("/sign-out").header("sec-fetch-site", "cross-site").body(Body::empty()).expect("a request");
        assert_eq!(laptop.send(foreign).await.status(), 403);
        fill(&laptop, "/", "/sign-out", "").await;
        assert_eq!(laptop.get("/").await.headers()["location"], "/sign-in");
    }
}
