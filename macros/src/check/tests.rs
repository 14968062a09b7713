//! Messages and the places they point at, on token streams.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

/// What the derive of session data says about this source: for each error the text it underlines and the message.
fn data(source: &str) -> Vec<(String, String)> {
    said(source, |input, errors| drop(schema(input, errors)))
}

/// The same for the derive of values.
fn values(source: &str) -> Vec<(String, String)> {
    said(source, |input, errors| drop(value(input, errors)))
}

fn said(source: &str, check: impl Fn(&DeriveInput, &mut Errors)) -> Vec<(String, String)> {
    assert!(!source.contains('\n'), "places are columns here");
    let input = syn::parse_str::<DeriveInput>(source).unwrap();
    let mut errors = Errors::default();
    check(&input, &mut errors);
    errors
        .reports()
        .map(|report| {
            let (from, to) = report.spot();
            (source.chars().skip(from).take(to - from).collect(), report.text().to_owned())
        })
        .collect()
}

/// One error, at this place, whose message and help contain these texts.
#[track_caller]
fn one(said: Vec<(String, String)>, place: &str, texts: &[&str]) {
    let [(at, message)] = &said[..] else { panic!("one error expected: {said:#?}") };
    assert_eq!(at, place, "{message}");
    for text in texts {
        assert!(message.contains(text), "`{text}` is missing in: {message}");
    }
    assert!(message.contains("  = help: "), "no help: {message}");
}

/// One error about one attribute of a field of type `u64`.
#[track_caller]
fn field(attribute: &str, place: &str, texts: &[&str]) {
    one(data(&format!("struct Shop {{ #[session({attribute})] views: u64 }}")), place, texts);
}

/// One error about a field of this type.
#[track_caller]
fn typed(ty: &str, place: &str, texts: &[&str]) {
    one(data(&format!("struct Shop {{ field: {ty} }}")), place, texts);
    one(values(&format!("struct Item {{ field: {ty} }}")), place, texts);
}

#[test]
fn a_correct_struct_has_no_errors() {
    let source = "#[session(name = \"shop\", version = 4, crate = ::a::b)] struct Shop { \
        #[session(merge = \"add\", since = 4, key = \"n\", ttl = \"7d\", validate = a::b, lossy, default = f::<A, B>(1, 2))] views: u64, \
        #[session(opaque, merge = <T as M<A, B>>::merge)] other: Cell, cell: my::Cell, r#type: Option<Vec<Option<u8>>> }";
    assert_eq!(data(source), []);
}

#[test]
fn every_error_of_a_struct_is_found_in_one_run() {
    let said = data(
        "#[session(version = 0)] struct Shop<T> { #[session(merge = \"ad\", tll = \"1s\", since = 2)] a: &'static str, __b: T }",
    );
    let places: Vec<&str> = said.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["0", "T", "tll", "&'static str", "2", "\"ad\"", "__b"]);
}

#[test]
fn only_a_struct_with_named_fields_can_be_session_data() {
    one(data("enum State { A }"), "enum", &["`State` is an enum", "struct MySession { state: State }"]);
    one(data("union Bits { a: u8 }"), "union", &["`Bits` is a union"]);
    one(data("struct Pair(u8, u8);"), "(u8, u8)", &["`Pair` is a tuple struct", "struct Pair { visits: u64 }"]);
    one(data("struct Unit;"), "Unit", &["without fields"]);
}

#[test]
fn parameters_are_refused_with_the_reason() {
    one(data("struct Shop<T> { a: u8 }"), "T", &["type parameter `T`"]);
    one(data("struct Shop<const N: usize> { a: u8 }"), "N", &["const parameter `N`"]);
    one(data("struct Shop<'a> { a: u8 }"), "'a", &["stored values must be owned", "`String` for `&str`"]);
    one(values("struct Item<'a> { a: u8 }"), "'a", &["stored values must be owned"]);
    assert_eq!(values("struct Item<T, const N: usize> { a: [T; N] }"), []);
}

#[test]
fn borrowed_types_are_refused_with_their_owned_counterpart() {
    typed("&'static str", "&'static str", &["must be owned", "use `String`"]);
    typed("Vec<&'static [u8]>", "&'static [u8]", &["use `Vec<u8>`"]);
    typed("(u8, [&'static Money; 2])", "&'static Money", &["use `Money`"]);
    typed("Cow<'_, str>", "Cow<'_, str>", &["is borrowed"]);
    typed("*const u8", "*const u8", &["is a pointer"]);
}

#[test]
fn an_instant_is_refused_by_name_unless_it_says_whose_it_is() {
    let texts = ["means nothing after a restart", "use `SystemTime`", "`self::Instant`"];
    for ty in ["Instant", "std::time::Instant", "tokio::time::Instant", "Option<Instant>"] {
        typed(ty, ty.trim_start_matches("Option<").trim_end_matches('>'), &texts);
    }
    for ty in ["self::Instant", "crate::clock::Instant", "Instants"] {
        assert_eq!(data(&format!("struct Shop {{ at: {ty} }}")), []);
    }
}

#[test]
fn the_cells_of_std_are_refused_and_a_type_that_is_only_called_so_is_not() {
    typed("RefCell<Vec<u8>>", "RefCell<Vec<u8>>", &["cannot be seen", "use `Vec<u8>`"]);
    typed("Option<std::sync::Mutex<u8>>", "std::sync::Mutex<u8>", &["use `u8`"]);
    typed("AtomicBool", "AtomicBool", &["plain number"]);
    typed("Rc<str>", "Rc<str>", &["between threads", "use `str`"]);
    for cell in ["Cell", "RwLock", "OnceCell", "OnceLock", "LazyLock"] {
        typed(&format!("{cell}<u8>"), &format!("{cell}<u8>"), &["cannot be seen"]);
    }
    assert_eq!(data("struct Sheet { cell: Cell, atomic: AtomicMass }"), []);
}

#[test]
fn an_option_of_an_option_is_refused_wherever_it_is() {
    typed("Option<Option<u8>>", "Option<Option<u8>>", &["use `Option<u8>`"]);
    typed("Vec<Option<std::option::Option<u8>>>", "Option<std::option::Option<u8>>", &["an enum"]);
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one() {
    field("mrege = \"add\"", "mrege", &["unknown attribute `mrege`", "did you mean `merge`?"]);
    field("vaildate = f", "vaildate", &["did you mean `validate`?"]);
    field("colour", "colour", &["known here: `owner`, `privilege`, `keep`, `default`, `key`"]);
    one(data("#[session(nmae = \"x\")] struct Shop {}"), "nmae", &["did you mean `name`?"]);
}

#[test]
fn a_key_of_another_place_is_sent_there() {
    field("version = 2", "version", &["it belongs on the struct that derives `SessionData`"]);
    field("recursive", "recursive", &["it belongs on a field of a type that derives `SessionValue`"]);
    one(
        values("struct Item { #[session(ttl = \"1s\")] a: u8 }"),
        "ttl",
        &["it belongs on a field of the struct that derives `SessionData`"],
    );
    one(values("enum E { #[session(shape = \"a\")] A }"), "shape", &["it belongs on the type that derives `SessionValue`"]);
}

#[test]
fn a_secret_is_said_once_and_takes_no_value() {
    let all = "secret, opaque, ttl = \"1m\", merge = \"add\", default = 1, validate = f, lossy, since = 1, key = \"n\"";
    assert_eq!(data(&format!("struct Shop {{ #[session({all})] views: u64 }}")), []);
    assert_eq!(data("#[session(secret)] struct Shop { #[session(merge = \"add\")] views: u64 }"), []);
    field("secret = true", "secret", &["expected `secret`, found `secret = ...`", "takes no value"]);
    field("secret(key)", "secret", &["found `secret(...)`"]);
    field("sercet", "sercet", &["did you mean `secret`?"]);
    one(
        data("#[session(secret)] struct Shop { #[session(secret)] a: u8, b: u8 }"),
        "secret",
        &["the whole struct is `secret`", "remove `secret` here"],
    );
    one(
        values("struct Item { #[session(secret)] a: u8 }"),
        "secret",
        &["does not belong on a field of a type", "it belongs on"],
    );
}

#[test]
fn a_value_of_the_wrong_kind_is_shown_as_it_should_be() {
    field("key = locale", "locale", &["a string in quotes, found `locale`", "write `key = \"locale\"`"]);
    field("key", "key", &["found `key` alone"]);
    field("since = \"2\"", "\"2\"", &["write `since = 2`, without quotes"]);
    field("since = 1.5", "1.5", &["a whole number, found `1.5`"]);
    field("since = 99999999999", "99999999999", &["from 1 to 4294967295"]);
    field("validate = \"a::b\"", "\"a::b\"", &["write `validate = a", "without quotes"]);
    field("validate = |v| *v > 1", "|v| *v > 1", &["the path of a function", "put the code into a function"]);
    field("opaque = true", "opaque", &["expected `opaque`, found `opaque = ...`", "takes no value"]);
    field("default", "default", &["`default` needs a value", "leave `default` out"]);
    field("default =", "=", &["expected a value after `default =`"]);
    field("default(1)", "default", &["write `default = 1`"]);
}

#[test]
fn the_form_of_the_attribute_itself_is_checked() {
    field("\"add\"", "\"add\"", &["expected the name of an attribute", "known here"]);
    field("merge: \"add\"", ":", &["expected `=` after `merge`, found `:`", "write `merge = \"add\"`"]);
    field("merge = \"add\" lossy", "lossy", &["expected a comma before `lossy`"]);
    field("lossy opaque", "opaque", &["expected a comma before `opaque`"]);
    field("changed{}", "{}", &["expected parentheses, e.g. `changed(...)`, but got braces"]);
    field("lossy,, opaque", "", &["a comma too many"]);
    one(
        data("#[session{version = 2}] struct Shop {}"),
        "session{version = 2}",
        &["but got braces", "write `#[session(version = 2)]`"],
    );
    one(data("#[session] struct Shop {}"), "session", &["`#[session(version = 2)]`"]);
    one(data("#[session = 2] struct Shop {}"), "session = 2", &["`#[session(version = 2)]`"]);
}

#[test]
fn an_attribute_given_twice_is_refused_at_the_second() {
    let said = data("struct Shop { #[session(lossy)] #[session(merge = \"add\", lossy)] a: u8 }");
    one(said, "lossy", &["`lossy` is given twice"]);
}

#[test]
fn merge_rules_are_the_six_or_a_path() {
    field("merge = \"ad\"", "\"ad\"", &["did you mean `merge = \"add\"`?"]);
    field("merge = add", "add", &["write `merge = \"add\"`", "`merge = self::add`"]);
    field("merge = \"combine\"", "\"combine\"", &["the rules are", "`merge = combine`"]);
    field("merge = |_, mine, _| mine", "|_, mine, _| mine", &["the path of a function"]);
    for rule in RULES {
        assert_eq!(data(&format!("struct Shop {{ #[session(merge = \"{rule}\")] a: u8 }}")), []);
    }
}

#[test]
fn a_duration_has_a_unit_and_is_not_zero() {
    field("ttl = 600", "600", &["a string in quotes", "\"500ms\", \"30s\", \"10m\", \"12h\" or \"7d\""]);
    field("ttl = \"10\"", "\"10\"", &["has no unit", "\"10m\""]);
    for wrong in ["10 m", "m", "", "-1s", "1.5h", "10M", "99999999999999999999s", "99999999999999999d"] {
        field(&format!("ttl = \"{wrong}\""), &format!("\"{wrong}\""), &["is not a duration"]);
    }
    field("ttl = \"0s\"", "\"0s\"", &["would expire at once"]);
    let literal = |text| LitStr::new(text, Span::call_site());
    for (text, millis) in [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("12h", 43_200_000), ("7d", 604_800_000)] {
        assert_eq!(ttl(&literal(text)).unwrap(), Duration::from_millis(millis));
    }
}

#[test]
fn keys_leave_out_what_physical_keys_need() {
    field("key = \"a/b\"", "\"a/b\"", &["cannot contain `/`", "`key = \"a_b\"`"]);
    field("key = \"a@4\"", "\"a@4\"", &["cannot contain `@`"]);
    field("key = \"~a\"", "\"~a\"", &["cannot contain `~`"]);
    field("key = \"__a\"", "\"__a\"", &["cannot begin with `__`", "`key = \"a\"`"]);
    field("key = \"\"", "\"\"", &["cannot be empty", "`key = \"views\"`"]);
    field("key = \"a b\"", "\"a b\"", &["cannot contain ' '"]);
    field("key = \"\u{e9}\"", "\"\u{e9}\"", &["cannot contain '\u{e9}'", "in ASCII, e.g. `key = \"views\"`"]);
    one(data("struct Shop { gr\u{f6}\u{df}e: u8 }"), "gr\u{f6}\u{df}e", &["in ASCII, e.g. `#[session(key = \"field\")]`"]);
    let long = "k".repeat(65);
    field(&format!("key = \"{long}\""), &format!("\"{long}\""), &["65 bytes long, and 64 are the most"]);
    assert_eq!(data(&format!("struct Shop {{ #[session(key = \"{}\")] a: u8 }}", &long[1..])), []);
    one(data("struct Shop { __a: u8 }"), "__a", &["`#[session(key = \"a\")]`"]);
    one(data("#[session(name = \"a/b\")] struct Shop {}"), "\"a/b\"", &["the schema's name", "`name = \"a_b\"`"]);
    one(data("struct Gr\u{f6}\u{df}e {}"), "Gr\u{f6}\u{df}e", &["the schema's name", "#[session(name = \"shop\")]"]);
}

#[test]
fn two_fields_with_one_key_are_named_both() {
    one(data("struct Shop { a: u8, #[session(key = \"a\")] b: u8 }"), "\"a\"", &["`b` and `a`", "under the key `a`"]);
    one(data("struct Shop { #[session(key = \"b\")] a: u8, b: u8 }"), "b", &["`b` and `a`"]);
    one(values("struct Item { a: u8, #[session(key = \"a\")] b: u8 }"), "\"a\"", &["`b` and `a`"]);
    one(values("enum E { A, #[session(key = \"A\")] B }"), "\"A\"", &["`B` and `A`"]);
}

#[test]
fn since_stays_within_the_version() {
    let said = data("#[session(version = 2)] struct Shop { #[session(since = 3)] a: u8, #[session(since = 2)] b: u8 }");
    one(said, "3", &["above the schema's version, which is 2", "#[session(version = 3)]"]);
}

#[test]
fn the_path_to_the_crate_is_absolute() {
    one(data("#[session(crate = a::b)] struct Shop {}"), "a::b", &["is not absolute", "write `crate = ::a::b`"]);
    one(data("#[session(crate = \"a\")] struct Shop {}"), "\"a\"", &["expects a path"]);
    one(values("#[session(crate = a)] struct Item {}"), "a", &["write `crate = ::a`"]);
    assert_eq!(data("#[session(crate = crate::a)] struct Shop {}"), []);
}

#[test]
fn a_type_that_contains_itself_needs_a_cut() {
    one(values("struct Node { next: Option<Box<Node>> }"), "Node", &["has no end", "#[session(recursive)]"]);
    one(values("enum Tree { Leaf, Node(Vec<Self>) }"), "Self", &["#[session(recursive)]"]);
    assert_eq!(values("struct Node { #[session(recursive)] next: Option<Box<Node>> }"), []);
    assert_eq!(values("struct Node { next: other::Node }"), []);
    one(data("struct Shop { next: Option<Box<Shop>> }"), "Shop", &["`Shop` cannot contain itself"]);
}

#[test]
fn serde_attributes_that_change_the_encoding_are_refused_at_their_name() {
    for attribute in ["skip", "skip_serializing", "skip_deserializing", "skip_serializing_if = \"f\"", "flatten"] {
        let key = attribute.split(' ').next().unwrap();
        one(values(&format!("struct Item {{ #[serde(default, {attribute})] a: u8 }}")), key, &["remove", "#[session(opaque)]"]);
    }
    for attribute in
        ["tag = \"t\"", "content = \"c\"", "untagged", "from = \"F\"", "into = \"F\"", "try_from = \"F\"", "remote = \"F\""]
    {
        let key = attribute.split(' ').next().unwrap();
        one(values(&format!("#[serde({attribute})] struct Item {{ a: u8 }}")), key, &["`#[serde(", "#[session(opaque)]"]);
    }
    for attribute in ["with", "serialize_with", "deserialize_with"] {
        one(values(&format!("struct Item {{ #[serde({attribute} = \"m\")] a: u8 }}")), attribute, &["shape = \"address-1\""]);
        assert_eq!(values(&format!("struct Item {{ #[serde({attribute} = \"m\")] #[session(shape = \"m-1\")] a: u8 }}")), []);
    }
    one(values("enum E { A, #[serde(other)] B }"), "other", &["remove `other`"]);
    assert_eq!(
        values("#[serde(rename_all = \"camelCase\")] struct Item { #[serde(rename = \"skip\", bound = \"\")] a: u8 }"),
        []
    );
}

#[test]
fn serde_attributes_that_do_nothing_in_a_positional_encoding_are_refused() {
    let nothing = "does nothing in the compact encoding";
    one(values("struct Item { #[serde(default)] a: u8 }"), "default", &[nothing, "remove `default`", "`changed(..)`"]);
    one(values("struct Item { #[serde(default = \"f\")] a: u8 }"), "default", &[nothing]);
    one(values("#[serde(default)] struct Item { a: u8 }"), "default", &[nothing, "#[session(opaque)]"]);
    one(values("struct Item { #[serde(alias = \"b\")] a: u8 }"), "alias", &[nothing, "#[session(key = \"old_name\")]"]);
    one(values("enum E { #[serde(alias = \"b\")] A }"), "alias", &[nothing]);
    one(values("struct Item { #[serde(default)] #[session(shape = \"a-1\")] a: u8 }"), "default", &[nothing]);
}

#[test]
fn appended_variants_stand_last_and_the_first_is_none() {
    assert_eq!(values("enum E { A, #[session(appended)] B(u8), #[session(appended, key = \"D\")] C { a: u8 } }"), []);
    one(
        values("enum E { A, #[session(appended)] B, C }"),
        "C",
        &["`C` stands after an appended variant", "#[session(appended)]", "move it"],
    );
    one(values("enum E { #[session(appended)] A, #[session(appended)] B }"), "appended", &["`A` is the first variant"]);
    one(
        values("#[session(shape = \"e-1\")] enum E { A, #[session(appended)] B }"),
        "appended",
        &["`appended` and a `shape` by hand exclude each other"],
    );
    one(values("struct Item { a: u8, #[session(appended)] b: u8 }"), "appended", &["a variant of an enum"]);
}

#[test]
fn shapes_by_hand_have_a_name_and_exclude_recursion() {
    one(values("#[session(shape = \"\")] struct Item { a: u8 }"), "\"\"", &["a shape needs a name"]);
    one(values("struct Item { #[session(recursive, shape = \"a\")] a: u8 }"), "recursive", &["exclude each other"]);
    one(values("struct Item(#[session(key = \"a\")] u8);"), "\"a\"", &["has no key"]);
    one(values("union Bits { a: u8 }"), "union", &["cannot be stored"]);
}

#[test]
fn a_struct_is_named_in_snake_case_unless_it_says_otherwise() {
    for (ident, name) in [
        ("Shop", "shop"),
        ("MyShop", "my_shop"),
        ("HTTPCart", "http_cart"),
        ("V2Shop", "v2_shop"),
        ("AB", "ab"),
        ("Shop2Go", "shop2_go"),
        ("x", "x"),
    ] {
        assert_eq!(snake_case(ident), name);
    }
}

/// One error about one attribute of a field of type `Money`, in version 6 of a struct that has lost two fields.
#[track_caller]
fn past(attribute: &str, place: &str, texts: &[&str]) {
    one(data(&old(attribute)), place, texts);
}

fn old(attribute: &str) -> String {
    format!(
        "#[session(version = 6, removed(coupon: String, in = 2), removed(name: HashMap<u8, String>, in = 5))] \
         struct Shop {{ #[session({attribute})] total: Money }}"
    )
}

#[test]
fn a_history_that_adds_up_has_no_errors() {
    for attribute in [
        "changed(in = 3, from = u32, up = Money::from_cents, down = Money::cents)",
        "since = 2, changed(in = 3, from = HashMap<u8, Vec<u8>>, up = <A<B, C> as D>::up, forget), changed(in = 6, from = u64, up = f, down = g,)",
        "changed(in = 3, from = u32, up = f, down = g, opaque), forget_before = 3",
        "forget_before = 3, changed(in = 6, from = fn(u8) -> u8, up = f, down = g)",
        "forget_before = 4",
        "from(name: HashMap<u8, String>, with = f)",
        "from(name: HashMap<u8, String>, coupon: String, with = f), samples = s, key = \"sum\"",
    ] {
        assert_eq!(data(&old(attribute)), [], "{attribute}");
    }
    let lists = "lock = \"x\", version = 7, removed(a: Cell, in = 3, opaque), removed(b: u8, since = 2, in = 7, key = \"c\")";
    assert_eq!(
        data(&format!("#[session({lists})] struct Shop {{ b: u8, #[session(secret, from(b: u8, with = f))] d: u8 }}")),
        []
    );
    assert_eq!(data("#[session(lock = off)] struct Shop {}"), []);
}

#[test]
fn the_model_knows_every_generation_its_key_and_which_are_in_use() {
    let generations = |attribute: &str| {
        let input = syn::parse_str::<DeriveInput>(&old(attribute)).unwrap();
        let mut errors = Errors::default();
        let schema = schema(&input, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        let field = &schema.fields[0];
        let line = |generation: &crate::model::Generation| format!("{} {} {}", generation.since, generation.key, generation.ty);
        (field.generations.iter().map(line).collect::<Vec<_>>(), field.in_use().len())
    };
    let chain = "changed(in = 3, from = u32, up = f, forget), changed(in = 5, from = u64, up = f, down = g)";
    let keys = ["1 shop/total u32", "3 shop/total@3 u64", "5 shop/total@5 Money"].map(str::to_owned).to_vec();
    assert_eq!(generations(chain), (keys.clone(), 3));
    assert_eq!(generations(&format!("{chain}, forget_before = 3")), (keys.clone(), 2));
    assert_eq!(generations(&format!("{chain}, forget_before = 5")), (keys, 1));
    let contracted = ["3 shop/total@3 u64", "5 shop/total@5 Money"].map(str::to_owned).to_vec();
    assert_eq!(generations("forget_before = 3, changed(in = 5, from = u64, up = f, down = g)"), (contracted, 2));
    assert_eq!(generations("forget_before = 5"), (vec!["5 shop/total@5 Money".to_owned()], 1));
    assert_eq!(generations("since = 2"), (vec!["2 shop/total Money".to_owned()], 1));
}

#[test]
fn changes_come_in_order_once_per_version_and_within_the_schema_s() {
    let step = |n: u32| format!("changed(in = {n}, from = u8, up = f, forget)");
    past(&format!("{}, {}", step(3), step(3)), "3", &["`total` changes twice in version 3", "keep one change"]);
    past(
        &format!("{}, {}", step(4), step(3)),
        "3",
        &["before it changed in version 4", "`changed(in = 3, ..), changed(in = 4, ..)`"],
    );
    past(&step(7), "7", &["`in = 7` is above the schema's version, which is 6", "#[session(version = 7)]"]);
    past(&step(1), "1", &["version 1, which is the first"]);
    past(&format!("since = 3, {}", step(3)), "3", &["cannot have changed in version 3: it was added in version 3"]);
}

#[test]
fn a_change_says_what_older_versions_see() {
    let at = "changed(in = 4, from = u32, up = f)";
    past(
        at,
        at,
        &[
            "Neither `down` nor `forget`",
            "up = f, down = <fn(&Money) -> u32>)`",
            "`changed(in = 4, from = u32, up = f, forget)`",
        ],
    );
    let at = "changed(in = 4, from = u32, up = f, down = g, forget)";
    past(at, at, &["`forget` gives them none", "down = g)`"]);
    past(
        "changed(up = f)",
        "changed(up = f)",
        &[
            "this change of `total` lacks `in`, the version",
            "`from`, the type",
            "write `changed(in = 2, from = u32, up = f, down",
        ],
    );
    past("changed()", "changed()", &["`up`, the function", "up = <fn(u32) -> Money>, down = <fn(&Money) -> u32>)`"]);
    past(
        "changed(in = 4, from = u32, forget)",
        "changed(in = 4, from = u32, forget)",
        &["lacks `up`", "up = <fn(u32) -> Money>, forget)`"],
    );
}

#[test]
fn what_stands_in_a_change_has_its_form() {
    past(
        "changed(in = 4, from = u32, up = |x| x, forget)",
        "|x| x",
        &["`up` expects the path of a function", "put the code into a function"],
    );
    past("changed(in = 4, from = u32, up = \"f\", forget)", "\"f\"", &["without quotes"]);
    past("changed(in = 4, from = 3, up = f, forget)", "3", &["`from` expects a type"]);
    past("changed(in = 4, from = &'static str, up = f, forget)", "&'static str", &["must be owned", "use `String`"]);
    past("changed(in = \"4\", from = u32, up = f, forget)", "\"4\"", &["write `in = 4`, without quotes"]);
    past(
        "changed(in = 4, form = u32, up = f, forget)",
        "form",
        &["unknown entry `form` in `changed(..)`", "did you mean `from`?"],
    );
    past("changed(in = 4, in = 5, from = u32, up = f, forget)", "in", &["`in` is given twice"]);
    past("changed(in = 4, from = u32, up = f, forget = true)", "forget", &["`forget` takes no value"]);
    past("changed(4, from = u32, up = f, forget)", "4", &["expected a name in `changed(..)`, found `4`"]);
    past("changed(in = 4,, from = u32, up = f, forget)", "changed", &["a comma too many in `changed(..)`"]);
    past("changed = 4", "changed", &["expected `changed(in = 2, from = u32", "found `changed = ...`"]);
}

#[test]
fn what_is_forgotten_begins_with_a_change() {
    let chain = "changed(in = 3, from = u32, up = f, forget), changed(in = 5, from = u64, up = f, down = g)";
    past(&format!("{chain}, forget_before = 4"), "4", &["`total` did not change in version 4", "`forget_before = 3`"]);
    past("forget_before = 7", "7", &["above the schema's version, which is 6"]);
    past("forget_before = 1", "1", &["nothing to forget before version 1"]);
    past("since = 4, forget_before = 4", "4", &["nothing to forget before version 4: it was added in version 4"]);
}

#[test]
fn a_removed_field_says_its_type_and_version_and_keeps_its_name() {
    let removed = |list: &str| data(&format!("#[session(version = 3, {list})] struct Shop {{ views: u64 }}"));
    one(
        removed("removed(coupon: String)"),
        "removed(coupon: String)",
        &["in which version `coupon` was removed", "`removed(coupon: String, in = 2)`"],
    );
    one(removed("removed(coupon: String, in = 4)"), "4", &["above the schema's version, which is 3"]);
    one(removed("removed(coupon: String, in = 1)"), "1", &["version 1, which is the first"]);
    one(
        removed("removed(coupon, in = 2)"),
        "coupon",
        &["`coupon` needs the type it was stored as", "`removed(coupon: String, in = 2)`"],
    );
    one(removed("removed(coupon:, in = 2)"), ":", &["needs the type", "found nothing"]);
    one(removed("removed(in = 2)"), "removed(in = 2)", &["needs the name of the field"]);
    one(removed("removed(a: u8, b: u8, in = 2)"), "b", &["names one field"]);
    one(removed("removed(a: u8, in = 2), removed(a: u16, in = 3)"), "a", &["`a` is removed twice"]);
    one(removed("removed(a: u8, in = 2, since = 2)"), "2", &["before its type changed"]);
    one(removed("removed(a: &'static str, in = 2)"), "&'static str", &["must be owned"]);
    one(removed("removed = \"a\""), "removed", &["expected `removed(coupon: String, in = 2)`"]);
    one(
        removed("removed(views: String, in = 2)"),
        "views",
        &["`views` is taken: version 2 removed a `String`", "#[session(key = \"views_2\")]", "this is a `u64`"],
    );
    one(
        removed("removed(views: u64, in = 2)"),
        "views",
        &["is taken", "or, if the field is back with the values it had, delete `removed(views: u64, ..)`"],
    );
    one(removed("removed(old: u64, in = 2, key = \"views\")"), "views", &["the name `views` is taken"]);
    one(
        data("#[session(version = 2, removed(total: u8, in = 2))] struct Shop { #[session(key = \"total\")] sum: u64 }"),
        "\"total\"",
        &["the name `total` is taken", "store `sum` under another name"],
    );
}

#[test]
fn a_field_is_computed_from_fields_that_were_removed_as_what_they_were() {
    past(
        "from(nmae: String, with = f)",
        "nmae",
        &["computed from `nmae`, which is not declared as removed", "removed(nmae: String, in = 2)"],
    );
    past(
        "from(coupon: u8, with = f)",
        "u8",
        &["`coupon` was removed as a `String`, and here it is a `u8`", "`coupon: String`"],
    );
    past("from(coupon: String)", "from(coupon: String)", &["does not say how the value is computed"]);
    past("from(with = f)", "from(with = f)", &["needs the removed field"]);
    past("from(coupon, with = f)", "coupon", &["needs the type it was stored as", "from(coupon: String, with"]);
    past("from(coupon: String, coupon: String, with = f)", "coupon", &["`coupon` is given twice"]);
    past("from(coupon: String, with = |c| c)", "|c| c", &["the path of a function"]);
}

#[test]
fn a_lock_is_a_file_or_off() {
    let lock = |value: &str| data(&format!("#[session(lock = {value})] struct Shop {{ views: u64 }}"));
    one(lock("on"), "on", &["a file in quotes, or `off`, found `on`", "`lock = off`"]);
    one(lock("\"off\""), "\"off\"", &["without quotes"]);
    one(lock("\"a/b\""), "\"a/b\"", &["a lock's name cannot contain `/`"]);
}

#[test]
fn who_is_signed_in_is_said_once_and_what_they_may_do_as_often_as_it_takes() {
    let source = "#[session(authenticated = a::is_through::<u8>)] struct Shop { #[session(owner, key = \"u\", since = 1, secret, opaque)] \
        user: Option<UserId>, #[session(privilege, ttl = \"10m\", lossy)] sudo: bool, #[session(privilege, default = 1)] level: u8, \
        #[session(keep, merge = \"max\", secret)] theme: u8 }";
    assert_eq!(data(source), []);
    one(
        data("struct Shop { #[session(owner)] user: Option<u64>, #[session(owner)] staff: Option<u64> }"),
        "owner",
        &["`user` is it already", "`#[session(privilege)]`"],
    );
    let said = data(
        "struct Shop { #[session(owner)] a: Option<u8>, #[session(owner)] b: Option<u8>, #[session(owner)] c: Option<u8> }",
    );
    assert_eq!(said.len(), 2, "{said:#?}");
}

#[test]
fn the_owner_is_the_same_at_any_time_and_in_every_version() {
    field("owner, ttl = \"10m\"", "\"10m\"", &["the owner cannot have `ttl`", "`Lifetime`", "remove `ttl` from `views`"]);
    field("owner, lossy", "lossy", &["the owner cannot have `lossy`", "remove `lossy`"]);
    field("owner, default = Some(1)", "Some(1)", &["the owner cannot have `default`", "nobody is signed in"]);
    for rule in ["\"add\"", "\"strict\"", "\"last\"", "my::merge"] {
        field(&format!("owner, merge = {rule}"), rule, &["the owner cannot have `merge`", "remove `merge`"]);
    }
    for change in ["changed(in = 3, from = u32, up = f, down = g)", "changed(in = 3, from = u32, up = f, forget)"] {
        past(&format!("owner, {change}"), change, &["the owner cannot have `changed`", "would belong to somebody else"]);
    }
    past("owner, from(coupon: String, with = f)", "f", &["the owner cannot have `from`", "remove `from` from `total`"]);
}

#[test]
fn a_field_has_one_part_in_who_is_signed_in() {
    field("owner, privilege", "privilege", &["rotates the token already", "remove `privilege`"]);
    field("owner, keep", "keep", &["what survives a change of owner", "remove `keep`"]);
    field("privilege, keep", "keep", &["cannot be kept for the next one", "remove `keep`, or `privilege`"]);
    for word in ["owner", "privilege", "keep"] {
        field(&format!("{word} = true"), word, &[&format!("`{word}` takes no value")]);
        field(&format!("{word}, {word}"), word, &["is given twice"]);
        one(data(&format!("#[session({word})] struct Shop {{ a: u8 }}")), word, &[word]);
        one(values(&format!("struct Item {{ #[session({word})] a: u8 }}")), word, &[word]);
    }
}

#[test]
fn nobody_is_authenticated_without_an_owner() {
    let shop = |value: &str, role: &str| {
        data(&format!("#[session(authenticated = {value})] struct Shop {{ #[session({role})] a: Option<u8> }}"))
    };
    one(shop("f", "privilege"), "f", &["no field says who it is", "`#[session(owner)] user: Option<UserId>`"]);
    one(shop("\"f\"", "owner"), "\"f\"", &["without quotes"]);
    one(shop("|s| true", "owner"), "|s| true", &["the path of a function"]);
    one(
        data("#[session(authenticated)] struct Shop { #[session(owner)] a: Option<u8> }"),
        "authenticated",
        &["authenticated = "],
    );
    one(data("struct Shop { #[session(owner, authenticated = f)] a: Option<u8> }"), "authenticated", &["struct"]);
}
