//! A value that no later request could read back is refused before it is stored.

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use cloakroom::{SessionData, SessionError, SessionValue, TypedSession};
use cloakroom_tests::shop::{Browser, House};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
};

/// As decimal crates do it: written as text, and read by whatever the format says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Decimal(u32);

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{:02}", self.0 / 100, self.0 % 100))
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl de::Visitor<'_> for Any {
            type Value = Decimal;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
                text.replace('.', "").parse().map(Decimal).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Written as one thing and read as another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Pair(u8, u8);

impl Serialize for Pair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(u8, u8)>::deserialize(deserializer).map(|(first, second)| Self(second, first))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
struct Line {
    #[session(shape = "decimal-1")]
    price: Decimal,
}

/// Its shape is not given by hand, though serde's two traits are implemented by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, SessionValue)]
struct Trusted(u32);

impl Serialize for Trusted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Decimal(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Trusted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Decimal::deserialize(deserializer).map(|decimal| Self(decimal.0))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
struct Named {
    #[session(shape = "pair-1")]
    pair: Pair,
    #[session(shape = "prices-1")]
    prices: HashMap<String, u32>,
    #[session(shape = "tags-1")]
    tags: HashSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Maybe {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    never: Option<u8>,
    #[serde(skip)]
    cached: u8,
}

/// Nested deeper than JSON is read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Deep(Vec<Deep>);

#[derive(Clone, Debug, Default, Serialize, Deserialize, SessionValue)]
struct Node(#[session(recursive)] Vec<Node>);

#[derive(SessionData)]
struct Till {
    #[session(owner)]
    user: Option<u64>,
    cart: Vec<Line>,
    trusted: Trusted,
    named: Named,
    #[session(opaque)]
    price: Decimal,
    #[session(opaque)]
    ratio: f64,
    #[session(opaque)]
    choice: Wrapped,
    #[session(opaque)]
    untouched: Option<Wrapped>,
    #[session(opaque)]
    deep: Deep,
    node: Node,
    #[session(opaque, validate = is_cached)]
    maybe: Option<Maybe>,
    #[session(secret)]
    hidden: Vec<Line>,
    #[session(merge = sum)]
    total: Line2,
    note: String,
}

/// `Option<Option<..>>` in disguise, as it comes with types of other crates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Wrapped {
    choice: Choice,
}
type Choice = Option<Option<u8>>;

/// A value that can be read back only while it is small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
struct Line2 {
    #[session(shape = "small-1")]
    small: Small,
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Small(u8);
impl<'de> Deserialize<'de> for Small {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u8::deserialize(deserializer)?;
        if number < 10 { Ok(Self(number)) } else { Err(de::Error::custom("too large")) }
    }
}
fn sum(_: Line2, mine: Line2, theirs: Line2) -> Line2 {
    Line2 { small: Small(mine.small.0 + theirs.small.0) }
}

fn is_cached(maybe: &Option<Maybe>) -> bool {
    maybe.as_ref().is_none_or(|maybe| maybe.cached == 1)
}

fn nested(levels: usize) -> Deep {
    (0..levels).fold(Deep::default(), |inside, _| Deep(vec![inside]))
}

fn nodes(levels: usize) -> Node {
    (0..levels).fold(Node::default(), |inside, _| Node(vec![inside]))
}

fn change(s: &mut TypedSession<Till>, what: &str) {
    match what {
        "cart" => s.cart.push(Line { price: Decimal(150) }),
        "trusted" => *s.trusted = Trusted(150),
        "pair" => s.named.pair = Pair(1, 2),
        "ratio" => *s.ratio = f64::NAN,
        "choice" => s.choice.choice = Some(None),
        "deep" => *s.deep = nested(200),
        "node" => *s.node = nodes(200),
        "maybe" => *s.maybe = Some(Maybe { never: None, cached: 1 }),
        "hidden" => s.hidden.push(Line { price: Decimal(150) }),
        _ => panic!("{what}"),
    }
}

fn till() -> Router {
    Router::new()
        .route(
            "/begin",
            post(async |mut s: TypedSession<Till>| {
                *s.user = Some(7);
                *s.note = "kept".into();
            }),
        )
        .route("/", get(async |s: TypedSession<Till>| format!("{:?} {}", s.user, s.note)))
        .route(
            "/change/{what}",
            post(async |Path(what): Path<String>, mut s: TypedSession<Till>| {
                *s.note = "lost".into();
                change(&mut s, &what);
            }),
        )
}

/// A browser that is signed in, and what the last error said.
async fn begun() -> (House, Browser, Arc<Mutex<String>>) {
    let house = House::new();
    let said = Arc::new(Mutex::new(String::new()));
    let keep = Arc::clone(&said);
    let layer = house.layer().on_error(move |error, _| {
        *keep.lock().unwrap() = error.to_string();
        error.default_response()
    });
    let browser = house.browser_of(till().layer(layer));
    browser.post("/begin").await;
    (house, browser, said)
}

#[tokio::test]
async fn a_value_that_would_not_be_read_back_is_refused_with_a_remedy() {
    for (what, codec, why) in [
        ("cart", "bincode", "`#[session(opaque)]`"),
        ("trusted", "bincode", "`#[session(opaque)]`"),
        ("pair", "bincode", "it would be read as another value"),
        ("ratio", "JSON", "`Deserialize`"),
        ("choice", "JSON", "it would be read as another value"),
        ("deep", "JSON", "error at column"),
        ("node", "bincode", "another `shape`"),
        ("maybe", "JSON", "validation refused it"),
        ("hidden", "bincode", "the reason is left out"),
    ] {
        let (house, browser, said) = begun().await;
        let field = if what == "pair" { "named" } else { what };
        let before = house.record(&browser).await.unwrap().cells;
        assert_eq!(browser.post(&format!("/change/{what}")).await.status(), 500, "{what}");
        let said = said.lock().unwrap().clone();
        let named = [&*format!("`till.{field}`"), "no later request could read it back", codec, why];
        assert!(named.iter().all(|part| said.contains(part)), "{what}: {said}");
        assert_eq!(house.record(&browser).await.unwrap().cells, before, "{what}");
        assert_eq!(browser.get("/").await.text(), "Some(7) kept", "{what}");
    }
}

#[tokio::test]
async fn a_handler_learns_from_save_what_cannot_be_read_back() {
    let save = async |mut s: TypedSession<Till>| {
        s.cart.push(Line { price: Decimal(150) });
        let error = s.save().await.unwrap_err();
        assert!(matches!(&error, SessionError::Encode { field, .. } if field == "till.cart"), "{error}");
        s.cart.clear();
        *s.price = Decimal(150);
        s.save().await.unwrap();
    };
    let house = House::new();
    let shown = get(async |s: TypedSession<Till>| format!("{:?} {:?}", s.cart, s.price));
    let browser = house.browser(Router::new().route("/save", post(save)).route("/", shown));
    assert_eq!(browser.post("/save").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "[] Decimal(150)", "as JSON it comes back");
}

#[tokio::test]
async fn hash_maps_and_sets_of_a_shape_by_hand_are_stored_and_come_back() {
    let fill = async |mut s: TypedSession<Till>| {
        s.named.prices = (0..50).map(|at| (format!("item {at}"), at)).collect();
        s.named.tags = (0..50).map(|at| format!("tag {at}")).collect();
        s.named.pair = Pair(3, 3);
    };
    let shown = get(async |s: TypedSession<Till>| format!("{} {}", s.named.prices["item 49"], s.named.tags.len()));
    let house = House::new();
    let browser = house.browser(Router::new().route("/fill", post(fill)).route("/", shown));
    for _ in 0..5 {
        assert_eq!(browser.post("/fill").await.status(), 200);
        assert_eq!(browser.get("/").await.text(), "49 50");
    }
}

#[tokio::test]
async fn a_touched_value_that_did_not_change_is_not_asked_whether_it_comes_back() {
    #[derive(SessionData)]
    #[session(name = "unread")]
    struct Unread {
        #[session(opaque, default = f64::NAN)]
        ratio: f64,
        note: String,
    }
    let touch = async |mut s: TypedSession<Unread>| {
        let _ = &mut *s.ratio;
        *s.note = "x".into();
    };
    let force = async |mut s: TypedSession<Unread>| cloakroom::Field::force(&mut s.ratio);
    let house = House::new();
    let browser = house.browser(Router::new().route("/touch", post(touch)).route("/force", post(force)));
    assert_eq!(browser.post("/touch").await.status(), 200);
    assert_eq!(browser.post("/force").await.status(), 500, "it would be written");
}

#[tokio::test]
async fn a_merged_value_that_would_not_be_read_back_is_refused() {
    let add = async |mut s: TypedSession<Till>| s.total.small.0 += 4;
    let house = House::new();
    let routes = Router::new()
        .route("/begin", post(async |mut s: TypedSession<Till>| s.total.small.0 = 1))
        .route("/add", post(add))
        .route("/", get(async |s: TypedSession<Till>| s.total.small.0.to_string()));
    let other = house.browser(routes.clone());
    let between = other.clone();
    let slow = async move |s: TypedSession<Till>| {
        between.post("/add").await;
        add(s).await;
    };
    let browser = house.browser(routes.route("/slow", post(slow)));
    browser.post("/begin").await;
    other.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(browser.post("/slow").await.status(), 500, "5 + 5 is too large to be read");
    assert_eq!(browser.get("/").await.text(), "5");
}

#[tokio::test]
async fn what_an_older_program_is_given_can_be_read_by_it() {
    mod new {
        use super::{Decimal, Line};
        #[derive(cloakroom::SessionData)]
        #[session(name = "downgrading", version = 2)]
        pub(super) struct Downgrading {
            #[session(changed(in = 2, from = Vec<Line>, up = sum, down = lines))]
            pub(super) total: u32,
        }
        fn sum(lines: Vec<Line>) -> u32 {
            lines.iter().map(|line| line.price.0).sum()
        }
        fn lines(total: &u32) -> Vec<Line> {
            if *total == 0 { Vec::new() } else { vec![Line { price: Decimal(*total) }] }
        }
    }
    let house = House::new();
    let set = async |Path(to): Path<u32>, mut s: TypedSession<new::Downgrading>| *s.total = to;
    let browser = house.browser(
        Router::new().route("/{to}", post(set)).route("/", get(async |s: TypedSession<new::Downgrading>| s.total.to_string())),
    );
    assert_eq!(browser.post("/7").await.status(), 500);
    assert_eq!(browser.get("/").await.text(), "0");
}

#[tokio::test]
async fn an_owner_that_would_be_read_as_another_one_is_refused() {
    /// Its text for people leaves out what tells one from another.
    #[derive(Clone, Debug, PartialEq)]
    struct UserId(u64);
    impl Serialize for UserId {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let shown = if serializer.is_human_readable() { self.0 % 10 } else { self.0 };
            serializer.serialize_u64(shown)
        }
    }
    impl<'de> Deserialize<'de> for UserId {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            u64::deserialize(deserializer).map(Self)
        }
    }
    #[derive(SessionData)]
    #[session(name = "owned")]
    struct Owned {
        #[session(owner, opaque)]
        user: Option<UserId>,
    }
    let house = House::new();
    let sign_in = async |Path(user): Path<u64>, mut s: TypedSession<Owned>| *s.user = Some(UserId(user));
    let browser = house.browser(
        Router::new().route("/{user}", post(sign_in)).route("/", get(async |s: TypedSession<Owned>| format!("{:?}", s.user))),
    );
    assert_eq!(browser.post("/17").await.status(), 500);
    assert_eq!(browser.post("/7").await.status(), 200);
    assert_eq!(browser.get("/").await.text(), "Some(UserId(7))");
}

/// A sign-in stores kept values as of today. One that today's type could not read back stays as it was.
#[tokio::test]
async fn a_sign_in_leaves_what_could_not_be_read_back_as_it_was_stored() {
    mod old {
        #[derive(cloakroom::SessionData)]
        #[session(name = "upgrading")]
        pub(super) struct Upgrading {
            #[session(owner)]
            pub(super) user: Option<u64>,
            pub(super) price: u32,
        }
    }
    mod new {
        use super::{Named, Pair};
        #[derive(cloakroom::SessionData)]
        #[session(name = "upgrading", version = 2)]
        pub(super) struct Upgrading {
            #[session(owner)]
            pub(super) user: Option<u64>,
            #[session(changed(in = 2, from = u32, up = line, forget))]
            pub(super) price: Named,
        }
        fn line(cents: u32) -> Named {
            Named { pair: Pair(u8::try_from(cents).unwrap_or(0), 0), ..Named::default() }
        }
    }
    let house = House::new();
    let browser = house.browser(Router::new().route("/", post(async |mut s: TypedSession<old::Upgrading>| *s.price = 150)));
    browser.post("/").await;
    let today = house.browser(
        Router::new()
            .route("/in", post(async |mut s: TypedSession<new::Upgrading>| *s.user = Some(7)))
            .route("/", get(async |s: TypedSession<new::Upgrading>| format!("{:?} {}", s.user, s.price.pair.0))),
    );
    today.set_cookie("__Host-id", browser.cookie("__Host-id").unwrap());
    assert_eq!(today.post("/in").await.status(), 200);
    assert_eq!(today.get("/").await.text(), "Some(7) 150");
    let cells = house.record(&today).await.unwrap().cells;
    assert_eq!(cells.stamp("upgrading/price@2"), 0);
}
