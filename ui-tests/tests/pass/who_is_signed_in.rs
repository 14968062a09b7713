//! Somebody is signed in, has privileges, and leaves something behind, together with every other attribute.
#![deny(warnings)]

use cloakroom::{Handle, Reuse, SessionData, SessionError, SessionLayer, Sessions, SignedIn, TypedSession, store::MemoryStore};
use std::time::Duration;

#[derive(SessionData)]
#[session(name = "shop", version = 2, authenticated = roles::is_through)]
pub struct Shop {
    /// Who it is.
    #[session(owner, key = "who", since = 1, secret, validate = is_positive)]
    user: Option<UserId>,
    #[session(privilege, ttl = "10m", lossy)]
    sudo: bool,
    #[session(privilege, default = Level::Password, since = 2)]
    level: Level,
    #[session(keep, merge = "max", default = 1u8)]
    r#theme: u8,
    #[session(keep, opaque, secret)]
    notes: Vec<String>,
    cart: Vec<u32>,
}

#[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
pub struct UserId(u64);

#[derive(PartialEq, serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
pub enum Level {
    Password,
    SecondFactor,
}

fn is_positive(user: &Option<UserId>) -> bool {
    user.as_ref().is_none_or(|user| user.0 > 0)
}

mod roles {
    pub(super) fn is_through(session: &super::ShopFields) -> bool {
        *session.level == super::Level::SecondFactor
    }
}

/// The owner may have any type that serde writes, and need not be called anything.
#[derive(SessionData)]
struct Api {
    #[session(owner, opaque)]
    r#type: Option<(String, [u8; 4])>,
}

async fn sign_in(mut session: TypedSession<Shop>) -> Result<(), SessionError> {
    *session.user = Some(UserId(7));
    session.set_label("a laptop");
    session.save().await?;
    session.reauthenticated();
    Ok(())
}

async fn account(session: SignedIn<Shop>, recent: Option<SignedIn<Shop, 15>>) -> bool {
    let owner: Option<&UserId> = session.owner();
    owner.is_some() && recent.is_some() && session.authenticated_at().is_some()
}

async fn sign_out(session: SignedIn<Shop>) {
    let mut session: TypedSession<Shop> = session.into_session();
    *session.user = None;
}

async fn devices(sessions: Sessions, session: SignedIn<Shop>, handle: Handle) -> Result<u64, SessionError> {
    let Some(user) = session.owner() else { return Ok(0) };
    let listed = sessions.list::<Shop>(user).await?.len() as u64;
    let ended = u64::from(sessions.revoke::<Shop>(user, &handle).await?);
    Ok(listed + ended + sessions.revoke_others(&session).await? + sessions.revoke_all::<Shop>(user).await?)
}

async fn of_an_api(sessions: Sessions) -> Result<usize, SessionError> {
    Ok(sessions.list::<Api>(&("ann".to_owned(), [0; 4])).await?.len())
}

fn main() {
    let layer = SessionLayer::new(MemoryStore::new())
        .renew(Duration::from_secs(900), Duration::from_secs(10))
        .reuse(Reuse::EndSession)
        .max_sessions(3);
    let _: Sessions = layer.sessions();
    let _ = (sign_in, account, sign_out, devices, of_an_api);
    let mut shop = ShopFields::from(Shop::initial());
    assert!(!roles::is_through(&shop));
    *shop.level = Level::SecondFactor;
    assert!(roles::is_through(&shop) && shop.user.is_none() && !*shop.sudo && shop.theme == 1);
    assert!(shop.notes.is_empty() && shop.cart.is_empty());
    assert!(ApiFields::from(Api::initial()).r#type.is_none());
}
