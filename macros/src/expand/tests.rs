//! Whole expansions: goldens, their hygiene, and random attributes.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use expect_test::{ExpectFile, expect_file};
use std::{collections::HashSet, fmt::Write, hash::BuildHasher, str::FromStr};
use syn::visit::Visit;

const SHOP: &str = r#"
    #[session(name = "shop", version = 4)]
    pub struct Shop {
        /// How often.
        #[session(merge = "add")]
        pub views: u64,
        #[session(key = "locale", default = Lang::En, validate = sane, ttl = "10m", lossy, since = 2)]
        pub(crate) language: Lang,
        #[cfg(all())]
        #[deprecated(note = "gone soon")]
        #[allow(unused)]
        #[session(opaque, secret, merge = my::merge)]
        address: Address,
        #[session(merge = "strict")]
        r#type: Option<String>,
    }"#;

const PAST: &str = r#"
    #[session(name = "past", version = 6, removed(coupon: String, in = 2), removed(name: String, in = 5), removed(notes: Notes, in = 6, since = 4, opaque))]
    struct Past {
        #[session(changed(in = 3, from = u8, up = level, forget))]
        level: Level,
        #[session(merge = "max", changed(in = 2, from = u16, up = u32::from, down = narrow), changed(in = 4, from = u32, up = u64::from, down = <Half as Narrow<u64>>::narrow))]
        top: u64,
        #[cfg(all())]
        #[session(secret, opaque, forget_before = 4, changed(in = 6, from = Notes, up = Text::try_from, down = Text::notes))]
        text: Text,
        #[session(key = "sum", changed(in = 5, from = u8, up = level, down = number), forget_before = 5)]
        total: Level,
        #[session(since = 5, from(name: String, with = first))]
        first: String,
        #[session(from(name: String, notes: Notes, with = both), lossy)]
        both: Option<String>,
    }"#;

const VAULT: &str = r#"
    #[session(secret)]
    struct Vault {
        token: Option<String>,
        pin: u16,
    }"#;

const MEMBER: &str = r#"
    #[session(authenticated = is_through)]
    struct Member {
        #[session(owner)]
        user: Option<UserId>,
        #[session(privilege, ttl = "10m")]
        admin: bool,
        #[session(keep)]
        theme: String,
    }"#;

const ITEM: &str = r#"
    struct Item<T: Clone, const N: usize> where T: Default {
        article: u32,
        #[session(key = "qty")]
        quantity: [T; N],
        #[session(recursive)]
        parts: Vec<Item<T, N>>,
        #[session(shape = "money-1")]
        price: Money,
    }"#;

const THEME: &str = r#"
    enum Theme {
        Light,
        #[session(key = "Dark")]
        Night { since: u8 },
        Custom(String),
        Mixed(u8, Box<u16>),
        #[session(appended)]
        Sepia { warmth: u8, tints: Vec<u8> },
    }"#;

const WRONG: &str = r#"
    pub struct Shop {
        #[session(mrege = "add")]
        pub views: u64,
        name: String,
    }"#;

fn session_data(input: TokenStream) -> TokenStream {
    super::session_data(input, &Surroundings::default())
}

fn parse(source: &str) -> TokenStream {
    TokenStream::from_str(source).unwrap()
}

fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(tokens).unwrap())
}

#[track_caller]
fn golden(source: &str, expand: fn(TokenStream) -> TokenStream, expected: ExpectFile) {
    let tokens = expand(parse(source));
    assert_eq!(strangers(source, &tokens), Vec::<String>::new());
    expected.assert_eq(&pretty(tokens));
}

#[test]
fn a_session_expands_to_its_fields_definitions_and_impls() {
    golden(SHOP, session_data, expect_file!["../../goldens/shop.rs"]);
}

#[test]
fn a_field_with_a_past_expands_to_a_table_of_its_generations() {
    golden(PAST, session_data, expect_file!["../../goldens/past.rs"]);
}

#[test]
fn a_secret_struct_expands_to_secret_fields() {
    golden(VAULT, session_data, expect_file!["../../goldens/vault.rs"]);
}

#[test]
fn a_struct_with_an_owner_says_who_it_is_and_whether_they_are_through() {
    golden(MEMBER, session_data, expect_file!["../../goldens/member.rs"]);
}

#[test]
fn a_struct_value_expands_to_its_shape() {
    golden(ITEM, session_value, expect_file!["../../goldens/item.rs"]);
}

#[test]
fn an_enum_value_expands_to_its_shape() {
    golden(THEME, session_value, expect_file!["../../goldens/theme.rs"]);
}

#[test]
fn an_error_leaves_the_fields_and_impls_in_place() {
    golden(WRONG, session_data, expect_file!["../../goldens/wrong.rs"]);
}

/// A library in a folder of its own, with this lock if there is one.
fn library<T>(lock: Option<&str>, mode: crate::surroundings::Mode, test: impl FnOnce(&Surroundings) -> T) -> T {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("cloakroom-expand-{}-{count}", std::process::id()));
    let locks = folder.join("session-schema");
    std::fs::create_dir_all(&locks).unwrap();
    if let Some(lock) = lock {
        std::fs::write(locks.join("cart.lock"), lock).unwrap();
    }
    let result = test(&Surroundings::of_a_library(&folder, mode));
    std::fs::remove_dir_all(folder).unwrap();
    result
}

const CART: &str = r#"
    struct Cart {
        #[session(samples = my::items)]
        items: Vec<Item>,
    }"#;

fn cart_lock() -> String {
    use crate::lock::{Field, Form, Lock, Shape};
    let samples = vec!["00".to_owned(), "0107".to_owned()].into();
    let now = Form { since: 1, shape: Shape::Hash(0x0123_4567_89ab_cdef), ty: "Vec<Item>".to_owned(), samples };
    let items = Field { merge: "last".to_owned(), from: Vec::new(), forget_before: None, past: Vec::new(), now };
    let fields = [("items".to_owned(), items)].into();
    crate::lock::text(&Lock { name: "cart".to_owned(), version: 1, fields, removed: [].into() })
}

#[test]
fn a_locked_struct_expands_to_assertions_and_a_test_of_its_samples() {
    let tokens = library(Some(&cart_lock()), crate::surroundings::Mode::Check, |here| super::session_data(parse(CART), here));
    assert_eq!(strangers(CART, &tokens), Vec::<String>::new());
    expect_file!["../../goldens/locked.rs"].assert_eq(&pretty(tokens));
}

#[test]
fn a_struct_that_is_recorded_expands_to_a_test_that_writes_its_lock() {
    let tokens = library(None, crate::surroundings::Mode::Accept, |here| super::session_data(parse(CART), here));
    assert_eq!(strangers(CART, &tokens), Vec::<String>::new());
    expect_file!["../../goldens/accepting.rs"].assert_eq(&pretty(tokens));
}

#[test]
fn locks_count_only_where_a_struct_is_deployed_unless_they_are_named() {
    let off = CART.replace("struct", "#[session(lock = off)] struct");
    let named = CART.replace("struct", "#[session(lock = \"other\")] struct");
    for mode in [crate::surroundings::Mode::Check, crate::surroundings::Mode::Accept] {
        library(Some("not a lock"), mode, |here| {
            assert_eq!(super::session_data(parse(&off), here).to_string(), session_data(parse(&off)).to_string());
            let other = super::session_data(parse(&named), here).to_string();
            assert!(other.contains("session-schema/other.lock") && !other.contains("cart.lock"), "{other}");
        });
    }
}

#[test]
fn another_root_is_used_everywhere() {
    let source = SHOP.replace("version = 4", "version = 4, crate = ::facade::coats");
    assert!(!session_data(parse(&source)).to_string().contains(":: cloakroom"));
    let source = format!("#[session(crate = ::facade::coats)] {THEME}");
    assert!(!session_value(parse(&source)).to_string().contains(":: cloakroom"));
}

/// The paths of an expansion that could mean something else where the user's code stands: not absolute, and not the user's own.
fn strangers(source: &str, expansion: &TokenStream) -> Vec<String> {
    struct Paths {
        own: HashSet<String>,
        strangers: Vec<String>,
    }
    impl<'ast> Visit<'ast> for Paths {
        fn visit_path(&mut self, path: &'ast syn::Path) {
            let first = path.segments[0].ident.to_string();
            let alone = path.segments.len() == 1;
            if path.leading_colon.is_none()
                && !self.own.contains(&first)
                && !(alone && (first == "Self" || first.starts_with("__")))
            {
                self.strangers.push(quote::quote!(#path).to_string());
            }
            syn::visit::visit_path(self, path);
        }
        fn visit_type_path(&mut self, ty: &'ast syn::TypePath) {
            // A type of the trait that is being implemented: a struct has none of its own.
            if ty.qself.is_some() || ty.path.segments[0].ident != "Self" {
                syn::visit::visit_type_path(self, ty);
            }
        }
        fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
            if item.leading_colon.is_none() {
                self.strangers.push(quote::quote!(#item).to_string());
            }
        }
        fn visit_attribute(&mut self, _: &'ast syn::Attribute) {
            // Built-in attributes are no paths.
        }
        fn visit_macro(&mut self, call: &'ast syn::Macro) {
            self.visit_path(&call.path);
            let arguments =
                call.parse_body_with(syn::punctuated::Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated).unwrap();
            arguments.iter().for_each(|argument| self.visit_expr(argument));
        }
        fn visit_qself(&mut self, qself: &'ast syn::QSelf) {
            if qself.position == 0 {
                self.strangers.push(quote::quote!(a type without its trait).to_string());
            }
            syn::visit::visit_qself(self, qself);
        }
    }
    let mut own = HashSet::new();
    idents(parse(source), &mut own);
    let fields = own.iter().map(|ident| format!("{ident}Fields")).collect::<Vec<_>>();
    own.extend(fields);
    let mut paths = Paths { own, strangers: Vec::new() };
    paths.visit_file(&syn::parse2(expansion.clone()).unwrap());
    paths.strangers
}

fn idents(tokens: TokenStream, found: &mut HashSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => idents(group.stream(), found),
            TokenTree::Ident(ident) => drop(found.insert(ident.to_string())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

#[test]
fn the_hygiene_check_notices_a_relative_path() {
    let found = strangers("struct A;", &parse("impl Clone for A { fn clone(&self) -> Self { <A>::new(std::mem::take(a)) } }"));
    assert_eq!(found, ["Clone", "a type without its trait", "std :: mem :: take", "a"]);
}

/// A small generator of random numbers; its seed is all there is to repeat a run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn soup(&mut self, depth: usize) -> String {
        const PIECES: &[&str] = &[
            "name",
            "version",
            "crate",
            "default",
            "key",
            "since",
            "merge",
            "ttl",
            "validate",
            "secret",
            "opaque",
            "lossy",
            "recursive",
            "shape",
            "owner",
            "removed",
            "changed",
            "from",
            "up",
            "down",
            "with",
            "forget",
            "forget_before",
            "samples",
            "lock",
            "off",
            "mrege",
            "in",
            "String",
            "HashMap<K, V>",
            "self",
            "_",
            "=",
            "=",
            "=",
            ",",
            ",",
            ",",
            ":",
            "::",
            "<",
            ">",
            "|",
            "||",
            "->",
            "=>",
            "-",
            "&",
            "'a",
            "#",
            "\"add\"",
            "\"max\"",
            "\"10m\"",
            "\"\"",
            "\"a/b\"",
            "b\"x\"",
            "'c'",
            "0",
            "1",
            "4",
            "1.5",
            "999999999999999999999",
            "1u8",
            "a::b",
            "Vec::<u8, u8>::new",
            "\u{df}",
        ];
        let mut text = String::new();
        for _ in 0..self.below(9) {
            if depth > 0 && self.below(6) == 0 {
                let (open, close) = [("(", ")"), ("[", "]"), ("{", "}")][self.below(3)];
                let inner = self.soup(depth - 1);
                write!(text, " {open}{inner}{close}").unwrap();
            } else {
                write!(text, " {}", self.pick(PIECES)).unwrap();
            }
        }
        text
    }

    /// Something that is almost a history: each part may be missing, twice, elsewhere or wrong.
    fn history(&mut self) -> String {
        let mut entries = Vec::new();
        for _ in 0..self.below(4) {
            let list = self.pick(&["changed", "changed", "changed", "removed", "from"]);
            let mut parts = Vec::new();
            for part in ["a: u8", "in = 2", "from = u8", "up = f", "down = g", "with = h"] {
                let belongs = match list {
                    "changed" => part != "a: u8" && part != "with = h",
                    "removed" => part == "a: u8" || part == "in = 2",
                    _ => part == "a: u8" || part == "with = h",
                };
                if belongs != (self.below(12) == 0) {
                    let number = self.pick(&["= 2", "= 3", "= 4", "= 0"]);
                    parts.push(part.replace("= 2", number).replace("u8", self.ty()));
                }
            }
            match self.below(6) {
                0 => parts.push(self.pick(&["forget", "opaque", "key = \"b\"", "since = 2", "b: u8"]).to_owned()),
                1 => parts.push(self.soup(1)),
                2 => drop(parts.pop().map(|_| parts.push("forget".to_owned()))),
                _ => {}
            }
            entries.push(format!("{list}({})", parts.join(", ")));
        }
        let more =
            ["version = 4", "since = 2", "forget_before = 3", "samples = s", "lock = off", "opaque", "secret", "key = \"a\""];
        entries.extend((0..self.below(3)).map(|_| self.pick(&more).to_owned()).collect::<Vec<_>>());
        entries.join(", ")
    }

    fn attribute(&mut self) -> String {
        let name = self.pick(&["session", "session", "session", "serde", "doc", "cfg"]);
        let soup = if self.below(2) == 0 { self.soup(3) } else { self.history() };
        match self.below(8) {
            0 => format!("#[{name}]"),
            1 => format!("#[{name} = \"x\"]"),
            2 => format!("#[{name}[{soup}]]"),
            3 => format!("#[{name}{{{soup}}}]"),
            4 => String::new(),
            _ => format!("#[{name}({soup})]"),
        }
    }

    fn ty(&mut self) -> &'static str {
        self.pick(&[
            "u8",
            "String",
            "Vec<Shop>",
            "Option<Option<u8>>",
            "&'static str",
            "&'a [u8]",
            "[u8; 4]",
            "(u8, Self)",
            "Cell<u8>",
            "Rc<u8>",
            "fn(u8) -> u8",
            "*const u8",
            "HashMap<K, V>",
            "<T as U>::V",
            "impl Copy",
            "dyn Copy",
            "!",
            "_",
            "m!(x)",
            "A<{ 1 }>",
            "B<-1, 'static>",
            "Box<dyn Fn(u8) -> &'a str>",
        ])
    }

    fn item(&mut self) -> String {
        let generics = self.pick(&["", "", "<T>", "<'a>", "<'a, T: Clone + 'a, const N: usize>", "<T = u8>"]);
        let mut field = |named: &str| {
            let attribute = self.attribute();
            let vis = self.pick(&["", "pub", "pub(crate)"]);
            format!("{attribute} {vis} {named} {}, ", self.ty())
        };
        let (a, b, c) = (field("a:"), field("r#type:"), field("__c:"));
        let (d, e) =
            (field("").replace("pub(crate)", "").replace("pub ", ""), field("").replace("pub(crate)", "").replace("pub ", ""));
        let own = self.attribute();
        match self.below(6) {
            0 => {
                format!("{own} enum Shop{generics} {{ {} A, {} B({d}{e}), C {{ x: u8 }} }}", self.attribute(), self.attribute())
            }
            1 => format!("{own} struct Shop{generics}({d}{e});"),
            2 => format!("{own} union Shop{generics} {{ {a}{b} }}"),
            3 => format!("{own} struct Shop{generics};"),
            _ => format!("{own} pub struct Shop{generics} {{ {a}{b}{c} }}"),
        }
    }
}

#[test]
fn random_attributes_never_panic_and_always_give_code() {
    let seed = match std::env::var("SOUP_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => std::collections::hash_map::RandomState::new().hash_one(0) | 1,
    };
    println!("repeat with SOUP_SEED={seed}");
    let mut random = Random(seed);
    let mut parsed = 0;
    for _ in 0..1_500 {
        let source = random.item();
        let Ok(tokens) = TokenStream::from_str(&source) else { panic!("the test's own mistake: {source}") };
        parsed += usize::from(syn::parse2::<DeriveInput>(tokens.clone()).is_ok());
        for expand in [session_data, session_value] {
            let output = expand(tokens.clone());
            if let Err(error) = syn::parse2::<syn::File>(output.clone()) {
                panic!("{error}\nsource: {source}\noutput: {output}");
            }
        }
    }
    assert!(parsed > 750, "only {parsed} sources were items at all");
}
