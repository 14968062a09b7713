//! `keep` taken away in a new version: what this program declares decides, whatever it served first.

use crate::visitor::{Visitor, in_memory};
use cloakroom::TypedSession;

mod with_keep {
    #[derive(cloakroom::SessionData)]
    #[session(name = "look")]
    pub(crate) struct Look {
        #[session(keep)]
        pub(crate) theme: String,
        #[session(keep)]
        pub(crate) size: u32,
    }
}

mod without_keep {
    #[derive(cloakroom::SessionData)]
    #[session(name = "look", version = 2, removed(size: u32, in = 2))]
    pub(crate) struct Look {
        pub(crate) theme: String,
        #[session(from(size: u32, with = u64::from))]
        pub(crate) scale: u64,
    }
}

/// The struct that says who is signed in. A process that has served nothing else knows of no other.
#[derive(cloakroom::SessionData)]
#[session(name = "auth")]
struct Auth {
    #[session(owner)]
    user: Option<u64>,
}

type Old = TypedSession<with_keep::Look>;
type New = TypedSession<without_keep::Look>;
type Owned = TypedSession<Auth>;

#[tokio::test]
async fn what_is_no_longer_kept_is_not_seen_by_the_next_owner() {
    for next in [None, Some(8)] {
        let it = Visitor::new(in_memory());
        it.meets(|s: &mut Owned| *s.user = Some(7)).await;
        it.meets(|s: &mut Old| (*s.theme, *s.size) = ("dark".into(), 12)).await;
        it.meets(move |s: &mut Owned| *s.user = next).await;
        assert_eq!(it.meets(|s: &mut New| (s.theme.clone(), *s.scale)).await, (String::new(), 0), "{next:?}");
        assert_eq!(it.meets(|s: &mut Old| (s.theme.clone(), *s.size)).await, ("dark".into(), 12), "its program keeps it");
        it.meets(|s: &mut New| s.theme.push_str("light")).await;
        assert_eq!(it.meets(|s: &mut New| s.theme.clone()).await, "light");
        it.meets(|s: &mut Owned| *s.user = Some(9)).await;
        assert_eq!(it.meets(|s: &mut Old| s.theme.clone()).await, if next.is_some() { "" } else { "light" });
    }
}

#[tokio::test]
async fn what_is_no_longer_kept_stays_until_the_owner_may_have_changed() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Owned| *s.user = Some(7)).await;
    it.meets(|s: &mut Old| (*s.theme, *s.size) = ("dark".into(), 12)).await;
    assert_eq!(it.meets(|s: &mut New| (s.theme.clone(), *s.scale)).await, ("dark".into(), 12));
    it.meets(|s: &mut New| s.theme.push_str("er")).await;
    assert_eq!(it.meets(|s: &mut Old| s.theme.clone()).await, "darker");
}

#[tokio::test]
async fn a_kept_cell_names_the_epoch_that_the_record_has_with_it() {
    let it = Visitor::new(in_memory());
    it.meets(|s: &mut Old| *s.size = 1).await;
    let epoch = async || {
        let record = it.record().await;
        (record.cells.get("look/size").unwrap().body.epoch, record.header.epoch)
    };
    assert_eq!(epoch().await, (0, 0));
    it.meets(|s: &mut Old| {
        *s.size = 2;
        s.rotate();
    })
    .await;
    assert_eq!(epoch().await, (1, 1));
}
