//! Room for a sign-in where an application bounds the sessions of one owner: their order, and which of them end.

use super::sessions;
use crate::{
    config::Config,
    error::SessionError,
    events,
    record::{Extensions, Header, Owner, Selector, Timestamp},
    store::ServerStore,
};
use std::cmp::Reverse;

/// How many sessions one sign-in ends. Where there are more, the next sign-in goes on.
const AT_ONCE: usize = 100;

/// A sign-in of an owner whose sessions are bounded.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    owner: Owner,
}

impl Room {
    /// Gives a sign-in its place, after every session of the owner that the store knows. `None` where there is no bound, where the commit
    /// signs no owner in, and where the store does not answer: then this sign-in has no place, ends no session, and is a sign-in all the
    /// same.
    ///
    /// The order is a Lamport number in the record and no instant, since clocks differ between servers and step back. Two sign-ins
    /// that do not see each other get the same number, and the rest of the order decides for all who look.
    pub(super) async fn take(
        store: &ServerStore,
        config: &Config,
        owner: Option<&Owner>,
        extensions: Option<&mut Extensions>,
    ) -> Option<Self> {
        let (most, owner, extensions) = (config.most_sessions?, owner?, extensions?);
        match sessions::live(store, config, &owner.hash).await {
            Ok(others) => {
                let last = others.iter().map(|(_, header)| header.extensions.sign_in()).max().unwrap_or(0);
                extensions.set_sign_in(last.saturating_add(1));
                Some(Self { most, owner: owner.clone() })
            }
            Err(error) => {
                events::failed(&error.into());
                None
            }
        }
    }

    /// Ends the oldest sessions of the owner who has just signed in, where they are more than the application allows. The owner is signed
    /// in whether that succeeds or not, and the next sign-in does it again.
    pub(super) async fn make(self, store: &ServerStore, config: &Config) {
        let mut ended = 0;
        let result = self.end_surplus(store, config, &mut ended).await;
        if ended > 0 {
            events::revoked(&self.owner.schema, ended, None);
        }
        if let Err(error) = result {
            events::failed(&error);
        }
    }

    async fn end_surplus(&self, store: &ServerStore, config: &Config, ended: &mut u64) -> Result<(), SessionError> {
        let owner = &self.owner.hash;
        let mut sessions = sessions::live(store, config, owner).await?;
        sessions.sort_unstable_by_key(|(selector, header)| Reverse(age(selector, header)));
        for (selector, header) in sessions.iter().skip(self.most).rev().take(AT_ONCE) {
            *ended += u64::from(sessions::end(store, config, owner, selector, header).await?);
        }
        Ok(())
    }
}

/// One order of an owner's sessions for all who look. Of sessions that have no place (0) the one that began first is the oldest.
fn age(selector: &Selector, header: &Header) -> (u64, Timestamp, Selector) {
    (header.extensions.sign_in(), header.began(), *selector)
}
