//! Variants appended to an enum: what was stored before reads as it did, and older programs read all but the new ones.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{
    SessionValue,
    record::{Content, Shape},
};
use cloakroom_tests::{
    events::Events,
    shop::{Browser, House},
    site::COOKIE,
};

/// A program of one version: its enum, what holds it, and handlers that set and show it.
macro_rules! version {
    ($version:ident { $($variants:tt)* } $($shown:pat => $set:expr),+) => {
        mod $version {
            use super::*;

            #[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize, SessionValue)]
            pub(super) enum Theme {
                #[default]
                $($variants)*
            }

            /// The enum deep inside of a field, beside something that has no order.
            #[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize, SessionValue)]
            pub(super) struct Page {
                themes: Vec<Option<Theme>>,
                tags: std::collections::HashSet<String>,
            }

            #[derive(cloakroom::SessionData)]
            #[session(name = "shop")]
            pub(super) struct Shop {
                pub(super) theme: Theme,
                pub(super) page: Page,
                #[session(secret)]
                pub(super) hidden: Theme,
                pub(super) note: String,
            }

            pub(super) fn routes() -> Router {
                let set = async |Path(to): Path<u8>, mut s: cloakroom::TypedSession<Shop>| {
                    let theme = match to { $($shown => $set,)+ _ => panic!("{to}") };
                    *s.theme = theme.clone();
                    *s.hidden = theme.clone();
                    s.page.themes = vec![None, Some(theme)];
                    s.page.tags = ["a", "b", "c"].map(String::from).into();
                    *s.note = "kept".into();
                };
                let show = async |s: cloakroom::TypedSession<Shop>| {
                    format!("{:?} {:?} {:?} {}", *s.theme, *s.hidden, s.page.themes, *s.note)
                };
                Router::new().route("/{to}", post(set)).route("/", get(show))
            }
        }
    };
}

version! { first { Light, Dark { since: u8 } } 0 => Theme::Light, 1 => Theme::Dark { since: 7 } }
version! { second { Light, Dark { since: u8 }, #[session(appended)] Sepia(u8) }
0 => Theme::Light, 1 => Theme::Dark { since: 7 }, 2 => Theme::Sepia(3) }
version! { third { Light, Dark { since: u8 }, #[session(appended)] Sepia(u8), #[session(appended)] Custom { r: u8, g: u8 } }
2 => Theme::Sepia(3), 3 => Theme::Custom { r: 1, g: 2 } }
version! { another { Light, Dark { since: u8 }, #[session(appended)] Blue(u8) } 2 => Theme::Blue(3) }
version! { changed { Light, Dark { since: u8 }, #[session(appended)] Sepia(i8) } 2 => Theme::Sepia(3) }

fn shown(theme: &str) -> String {
    format!("{theme} {theme} [None, Some({theme})] kept")
}

const RESET: &str = "Light Light [] ";

fn of(house: &House, routes: Router, other: &Browser) -> Browser {
    let browser = house.browser(routes);
    browser.set_cookie(COOKIE, other.cookie(COOKIE).unwrap());
    browser
}

#[tokio::test]
async fn an_appended_variant_changes_nothing_of_what_was_stored_before() {
    assert_eq!(first::Theme::SHAPE, third::Theme::SHAPE);
    assert_eq!(first::Page::SHAPE, second::Page::SHAPE);
    let house = House::new();
    let old = house.browser(first::routes());
    for (set, theme) in [("/1", "Dark { since: 7 }"), ("/0", "Light")] {
        old.post(set).await;
        for new in [second::routes(), third::routes()] {
            assert_eq!(of(&house, new, &old).get("/").await.text(), shown(theme));
        }
    }
    let new = of(&house, second::routes(), &old);
    new.post("/2").await;
    assert_eq!(new.get("/").await.text(), shown("Sepia(3)"));
    let newer = of(&house, third::routes(), &old);
    assert_eq!(newer.get("/").await.text(), shown("Sepia(3)"), "it was stored before the next one was appended");
    newer.post("/3").await;
    assert_eq!(newer.get("/").await.text(), shown("Custom { r: 1, g: 2 }"));
}

#[tokio::test]
async fn an_older_program_reads_all_but_the_values_it_does_not_know() {
    let house = House::new();
    let new = house.browser(second::routes());
    new.post("/1").await;
    let old = of(&house, first::routes(), &new);
    assert_eq!(old.get("/").await.text(), shown("Dark { since: 7 }"), "the newer program has written it");
    new.post("/2").await;
    let before = house.record(&new).await.unwrap().cells;
    let events = Events::capture();
    assert_eq!(old.get("/").await.text(), RESET);
    assert_eq!(events.count("session.undecodable"), 1);
    assert_eq!(house.record(&new).await.unwrap().cells, before);
    assert_eq!(new.get("/").await.text(), shown("Sepia(3)"), "a rollback that wrote nothing lost nothing");
}

#[tokio::test]
async fn an_appended_variant_is_never_read_as_another_one() {
    let house = House::new();
    let new = house.browser(second::routes());
    new.post("/2").await;
    // In one encoding each: the same index, and a number of one byte.
    for (what, other) in [("another name", another::routes()), ("another content", changed::routes())] {
        assert_eq!(of(&house, other, &new).get("/").await.text(), RESET, "{what}");
    }
}

#[tokio::test]
async fn a_cell_carries_another_shape_only_while_an_appended_variant_is_in_it() {
    let house = House::new();
    let new = house.browser(third::routes());
    let old = house.browser(first::routes());
    old.post("/1").await;
    new.set_cookie(COOKIE, old.cookie(COOKIE).unwrap());
    let shapes = async || {
        let cells = house.record(&new).await.unwrap().cells;
        ["shop/theme", "shop/page", "shop/hidden"].map(|key| match &cells.get(key).unwrap().body.content {
            Content::Value { shape, .. } => *shape,
            other => panic!("{other:?}"),
        })
    };
    let known: [Shape; 3] = [first::Theme::SHAPE, first::Page::SHAPE, first::Theme::SHAPE];
    assert_eq!(shapes().await, known);
    new.post("/3").await;
    assert!(shapes().await.iter().zip(known).all(|(now, before)| *now != before));
    old.post("/1").await;
    assert_eq!(shapes().await, known);
}
