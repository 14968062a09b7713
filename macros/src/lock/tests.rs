//! Locks as text, and what is said of each change, word for word.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::{compare::compare, read::Unreadable, *};
use crate::{diag::Errors, model::Schema};
use expect_test::{Expect, expect};
use proc_macro2::TokenStream;
use std::str::FromStr;

fn schema(source: &str) -> Schema {
    let mut errors = Errors::default();
    let input = syn::parse2(TokenStream::from_str(source).unwrap()).unwrap();
    let schema = crate::check::schema(&input, &mut errors);
    assert_eq!(errors.reports().map(crate::diag::Report::text).collect::<Vec<_>>(), Vec::<&str>::new(), "{source}");
    schema
}

/// In these tests a type's shape is that of its name.
fn shape(ty: &TokenStream) -> u64 {
    u64::from_str_radix(&sum(&spell(ty)), 16).unwrap()
}

/// What the user's compiler would do with a record.
fn filled(Record { lock: mut record, types }: Record) -> Lock {
    let fill = |old: &mut Shape| {
        if let Shape::Of(number) = *old {
            *old = Shape::Hash(shape(&types[number]));
        }
    };
    for field in record.fields.values_mut() {
        if field.now.samples.fresh.take().is_some() && field.now.samples.kept.is_empty() {
            field.now.samples.kept.push("00".to_owned());
        }
        field.past.iter_mut().chain([&mut field.now]).for_each(|form| fill(&mut form.shape));
    }
    record.removed.values_mut().for_each(|removed| fill(&mut removed.shape));
    record
}

fn recorded(source: &str) -> Lock {
    filled(record(None, &schema(source)))
}

/// What a compiler would say of a struct whose lock was made from another.
fn said(before: &str, after: &str) -> String {
    said_with(before, after, &[])
}

/// As [`said`], where the types of these names have changed inside.
fn said_with(before: &str, after: &str, changed: &[&str]) -> String {
    let lock = read(&text(&recorded(before))).unwrap();
    let verdict = compare(&lock, &schema(after), "session-schema/shop.lock");
    let holds =
        |assertion: &&Assertion| shape(&assertion.ty) == assertion.shape && !changed.contains(&&spell(&assertion.ty)[..]);
    let failed: Vec<_> = verdict.assertions.iter().filter(|assertion| !holds(assertion)).collect();
    let idle = verdict.idle.as_ref().filter(|_| failed.is_empty());
    let errors = verdict.refused.iter().chain(failed.iter().map(|assertion| &assertion.otherwise)).chain(idle);
    let mut said: Vec<String> = errors.map(|report| format!("error: {}\n", report.text())).collect();
    said.extend(verdict.pending.iter().map(|pending| format!("pending: {pending}\n")));
    said.concat()
}

#[track_caller]
fn check(before: &str, after: &str, expected: Expect) {
    expected.assert_eq(&said(before, after));
}

const SHOP: &str = r#"
    #[session(version = 4, removed(coupon: String, in = 2))]
    struct Shop {
        #[session(changed(in = 4, from = u32, up = Money::from_cents, down = Money::cents))]
        total: Money,
        #[session(merge = "add", since = 2)]
        views: u64,
        #[session(key = "a.b", opaque)]
        address: foreign::Address<'static, [u8; 4]>,
    }"#;

#[test]
fn a_lock_is_sorted_text() {
    expect![[r#"
        name = "shop"
        version = 4
        sum = "1ffc9e9c0dceef1d"
        [field."a.b"]
        in = 1
        merge = "last"
        samples = ["00"]
        shape = "opaque"
        type = "foreign::Address<'static, [u8; 4]>"
        [field.total]
        in = 4
        merge = "last"
        samples = ["00"]
        shape = "b443b5f9e193436f"
        type = "Money"
        [[field.total.past]]
        in = 1
        samples = []
        shape = "4d2bdf193e8526d1"
        type = "u32"
        [field.views]
        in = 2
        merge = "add"
        samples = ["00"]
        shape = "4d35d3193e8d66f2"
        type = "u64"
        [removed.coupon]
        in = 2
        samples = []
        shape = "unknown"
        type = "String"
    "#]]
    .assert_eq(&text(&recorded(SHOP)));
}

#[test]
fn what_is_written_is_read() {
    let lock = recorded(SHOP);
    assert_eq!(read(&text(&lock)), Ok(lock.clone()));
    assert_eq!(read(&text(&lock).replace('\n', "\r\n")), Ok(lock), "as git may check it out");
}

#[test]
fn a_lock_and_the_comparison_with_it_are_stable_under_field_order_and_formatting() {
    let other = r#"
        #[session(removed(coupon : String , in = 2), version = 4, )]
        struct Shop { #[session( opaque )] #[session(key="a.b")] address: foreign :: Address < 'static , [ u8 ;4 ], >,
          #[session(since=2,merge="add")] r#views : u64,
          #[session(changed(in = 4, from = u32, up = Money :: from_cents , down = Money::cents))] total : Money }"#;
    assert_eq!(text(&recorded(SHOP)), text(&recorded(other)));
    assert_eq!(said(SHOP, other), "");
    assert_eq!(said(other, SHOP), "");
}

#[test]
fn recording_again_changes_nothing() {
    let lock = recorded(SHOP);
    assert_eq!(filled(record(Some(&lock), &schema(SHOP))), lock);
}

#[test]
fn what_was_sampled_once_stays_and_follows_its_generation_into_the_past() {
    let mut lock = recorded("struct Shop { total: u32, cart: Vec<u8>, gone: u8 }");
    lock.fields.get_mut("total").unwrap().now.samples.kept.push("fbe803".to_owned());
    let next = schema(
        "#[session(version = 2, removed(gone: u8, in = 2))] struct Shop {
            #[session(changed(in = 2, from = u32, up = a, down = b))] total: Money, cart: Vec<u8>, new: u8 }",
    );
    let next = filled(record(Some(&lock), &next));
    assert_eq!(next.fields["total"].past[0].samples.kept, ["00", "fbe803"]);
    assert_eq!(next.fields["total"].now.samples.kept, ["00"]);
    assert_eq!((next.fields["cart"].now.since, next.fields["new"].now.since, next.fields["total"].now.since), (1, 2, 2));
    assert_eq!(next.removed["gone"].samples.kept, ["00"]);
    let contracted = schema(
        "#[session(version = 2, removed(gone: u8, in = 2))] struct Shop {
            #[session(forget_before = 2)] total: Money, cart: Vec<u8>, new: u8 }",
    );
    let contracted = filled(record(Some(&next), &contracted));
    assert_eq!(contracted.fields["total"].past, []);
    assert_eq!((contracted.fields["total"].forget_before, contracted.fields["total"].now.since), (Some(2), 2));
}

#[test]
fn two_branches_that_record_different_changes_write_different_sums_on_one_line() {
    let base = "struct Shop { cart: u8 }";
    let branch = |field: &str| text(&recorded(&format!("#[session(version = 2)] struct Shop {{ cart: u8, {field}: u8 }}")));
    let (a, b, base) = (branch("a"), branch("b"), text(&recorded(base)));
    let line = |text: &str| text.lines().position(|line| line.starts_with("sum = ")).unwrap();
    assert_eq!((line(&a), line(&b)), (line(&base), line(&base)));
    assert_ne!(a.lines().nth(line(&a)), b.lines().nth(line(&b)));
}

#[test]
fn types_are_spelled_as_rustfmt_would() {
    for (loose, tidy) in [
        ("Vec < Item , >", "Vec<Item>"),
        ("& 'static  str", "&'static str"),
        ("( u8 , String , )", "(u8, String)"),
        ("( u8 , )", "(u8,)"),
        ("[ u8;4 ]", "[u8; 4]"),
        ("HashMap<String,Vec<u8 >>", "HashMap<String, Vec<u8>>"),
        ("fn ( u8 )->u8", "fn(u8) -> u8"),
        ("Box < dyn Fn ( & u8 ) -> u8+Send >", "Box<dyn Fn(&u8) -> u8 + Send>"),
        ("< T as Trait > :: Out", "<T as Trait>::Out"),
        ("a :: B < 'static , 4 >", "a::B<'static, 4>"),
        ("impl Iterator < Item=u8 >", "impl Iterator<Item = u8>"),
    ] {
        assert_eq!(spell(&TokenStream::from_str(loose).unwrap()), tidy);
        assert_eq!(spell(&TokenStream::from_str(tidy).unwrap()), tidy);
    }
}

#[test]
fn a_lock_that_nobody_wrote_is_refused_by_line() {
    let good = text(&recorded(SHOP));
    let broken = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        let Unreadable { line, what, help } = read(&good.replacen(from, to, 1)).unwrap_err();
        format!("{}: {what}\n{}", line.map_or_else(String::new, |line| line.to_string()), help.join("\n"))
    };
    let cases = [
        broken("version = 4", "version = four"),
        broken("version = 4", "version = 0"),
        broken("version = 4\n", ""),
        broken("version = 4", "<<<<<<< HEAD\nversion = 4\n=======\nversion = 5\n>>>>>>> other"),
        broken("[field.total]", "[field total]"),
        broken("[field.total]", "[field.views]"),
        broken("[[field.total.past]]", "[[field.other.past]]"),
        broken("merge = \"add\"", "merge = \"add\"\ncolour = \"red\""),
        broken("merge = \"add\"", "merge = 3"),
        broken("merge = \"add\"", "merge = \"add"),
        broken("shape = \"opaque\"", "shape = \"red\""),
        broken("samples = [\"00\"]", "samples = [00]"),
        broken("samples = [\"00\"]", "samples = [\"01\"]"),
    ];
    expect![[r#"
        2: `version = four` is neither a table nor an entry
        nothing in it is written by hand; take the file back from your version control

        2: `version` is a version, a whole number from 1
        nothing in it is written by hand; take the file back from your version control

        1: `version` is missing in the first lines
        nothing in it is written by hand; take the file back from your version control

        2: two branches changed this schema, and git left the conflict to you
        take one side of this file whole: `git checkout --ours <file>`
        then give what the other side changed a version of its own in the struct, above the one in the file, and run `SESSION_SCHEMA=accept cargo test`

        10: `[field total]` is neither a table nor an entry
        nothing in it is written by hand; take the file back from your version control

        16: `total` has a past before it is there itself
        nothing in it is written by hand; take the file back from your version control

        16: `other` has a past before it is there itself
        nothing in it is written by hand; take the file back from your version control

        24: `colour` means nothing in `[field.views]`
        nothing in it is written by hand; take the file back from your version control

        23: `merge` is a text in quotes
        nothing in it is written by hand; take the file back from your version control

        23: `merge = "add` is neither a table nor an entry
        nothing in it is written by hand; take the file back from your version control

        8: a `shape` is "opaque" or sixteen hexadecimal digits
        nothing in it is written by hand; take the file back from your version control

        7: `samples = [00]` is neither a table nor an entry
        nothing in it is written by hand; take the file back from your version control

        : its text does not add up to its `sum`: it was edited, or merged by something that does not know what it means
        take the file back from your version control, of one branch if two were merged
        then record what the struct says beyond it: `SESSION_SCHEMA=accept cargo test`"#]]
    .assert_eq(&cases.join("\n\n"));
    assert_eq!(read("").unwrap_err().line, Some(1));
}

const CART: &str = "struct Shop { cart: Vec<Item>, total: u32 }";

#[test]
fn a_new_field_needs_a_new_version_and_nothing_else() {
    let with = |version: u32, field: &str| {
        format!("#[session(version = {version})] struct Shop {{ cart: Vec<Item>, total: u32, {field} }}")
    };
    check(
        CART,
        &with(1, "theme: Theme"),
        expect![[r#"
        error: `theme` is new, and version 1 does not say so

          = help: raise the version on the struct: `#[session(version = 2)]`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(
        CART,
        &with(2, "theme: Theme"),
        expect![[r#"
        pending: adds `theme`
    "#]],
    );
    let before = with(2, "theme: Theme");
    check(
        &before,
        &with(3, "theme: Theme, #[session(since = 2)] lang: Lang"),
        expect![[r#"
        error: `lang` was not there in version 2, so not since version 2

          = help: write `since = 3`, or leave `since` out
          = note: recorded in session-schema/shop.lock (version 2)
    "#]],
    );
}

#[test]
fn a_missing_field_is_named_at_the_struct() {
    check(
        CART,
        "struct Shop { total: u32 }",
        expect![[r#"
            error: `cart` is gone, and version 1 does not say so

              = help: say so on the struct: `#[session(version = 2, removed(cart: Vec<Item>, in = 2))]`
              = help: for a struct of a test: `#[session(lock = off)]`
              = note: recorded in session-schema/shop.lock (version 1)
        "#]],
    );
    check(
        CART,
        "#[session(version = 2, removed(cart: Vec<Item>, in = 2))] struct Shop { total: u32 }",
        expect![[r#"
        pending: removes `cart`
    "#]],
    );
    let before = "#[session(version = 2)] struct Shop { cart: Vec<Item>, total: u32 }";
    check(
        before,
        "#[session(version = 2, removed(cart: Vec<Item>, in = 2))] struct Shop { total: u32 }",
        expect![[r#"
        error: `cart` was still there in version 2

          = help: write `removed(cart: Vec<Item>, in = 3)`
          = help: and raise the version on the struct: `version = 3`
          = note: recorded in session-schema/shop.lock (version 2)
    "#]],
    );
    let opaque = "#[session(version = 4)] struct Shop { #[session(opaque, changed(in = 4, from = A, up = f, forget))] address: B, total: u32 }";
    check(
        opaque,
        "#[session(version = 5)] struct Shop { total: u32 }",
        expect![[r#"
            error: `address` is gone, and version 5 does not say so

              = help: say so on the struct: `#[session(version = 5, removed(address: B, in = 5, since = 4, opaque))]`
              = help: for a struct of a test: `#[session(lock = off)]`
              = note: recorded in session-schema/shop.lock (version 4)
        "#]],
    );
    check(
        opaque,
        "#[session(version = 5, removed(address: B, in = 5, opaque))] struct Shop { total: u32 }",
        expect![[r#"
        error: the stored name of `address` has its last generation in it

          = help: write `removed(address: B, in = 5, since = 4, opaque)`
          = note: recorded in session-schema/shop.lock (version 4)
    "#]],
    );
}

#[test]
fn a_removal_names_what_is_no_name_in_rust_by_its_key() {
    let before = "struct Shop { views: u8, #[session(key = \"a.b\")] a: u8, #[session(key = \"type\")] kind: u16 }";
    check(
        before,
        "struct Shop { views: u8 }",
        expect![[r#"
            error: `a.b` is gone, and version 1 does not say so

              = help: say so on the struct: `#[session(version = 2, removed(a_b_: u8, in = 2, key = "a.b"))]`
              = help: for a struct of a test: `#[session(lock = off)]`
              = note: recorded in session-schema/shop.lock (version 1)
            error: `type` is gone, and version 1 does not say so

              = help: say so on the struct: `#[session(version = 2, removed(type_: u16, in = 2, key = "type"))]`
              = help: for a struct of a test: `#[session(lock = off)]`
              = note: recorded in session-schema/shop.lock (version 1)
        "#]],
    );
    let declared =
        "#[session(version = 2, removed(a_b_: u8, in = 2, key = \"a.b\"), removed(type_: u16, in = 2, key = \"type\"))]
        struct Shop { views: u8 }";
    check(
        before,
        declared,
        expect![[r#"
        pending: removes `a.b`
        pending: removes `type`
    "#]],
    );
}

#[test]
fn a_renamed_field_is_asked_about() {
    check(
        CART,
        "struct Shop { basket: Vec<Item>, total: u32 }",
        expect![[r#"
        error: `basket` is new and `cart` is gone: did you rename `cart`?

          = help: then keep its stored name: `#[session(key = "cart")]`
          = help: if `basket` is another field, say so on the struct: `#[session(version = 2, removed(cart: Vec<Item>, in = 2))]`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(
        CART,
        "struct Shop { carts: Basket, total: u32 }",
        expect![[r#"
        error: `carts` is new and `cart` is gone: did you rename `cart`?

          = help: then keep its stored name: `#[session(key = "cart")]`
          = help: if `carts` is another field, say so on the struct: `#[session(version = 2, removed(cart: Vec<Item>, in = 2))]`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(CART, "struct Shop { #[session(key = \"cart\")] basket: Vec<Item>, total: u32 }", expect![[""]]);
}

#[test]
fn the_only_field_renamed_or_every_field_is_asked_about_too() {
    check(
        "struct Shop { cart: Vec<u8> }",
        "struct Shop { basket: Vec<u8> }",
        expect![[r#"
            error: `basket` is new and `cart` is gone: did you rename `cart`?

              = help: then keep its stored name: `#[session(key = "cart")]`
              = help: if `basket` is another field, say so on the struct: `#[session(version = 2, removed(cart: Vec<u8>, in = 2))]`
              = help: for a struct of a test: `#[session(lock = off)]`
              = note: recorded in session-schema/shop.lock (version 1)
        "#]],
    );
    check(
        "struct Shop { a: u8, b: String }",
        "struct Shop { c: String, d: u8 }",
        expect![[r#"
        error: `d` is new and `a` is gone: did you rename `a`?

          = help: then keep its stored name: `#[session(key = "a")]`
          = help: if `d` is another field, say so on the struct: `#[session(version = 2, removed(a: u8, in = 2))]`
          = help: for a struct of a test: `#[session(lock = off)]`
          = note: recorded in session-schema/shop.lock (version 1)
        error: `c` is new and `b` is gone: did you rename `b`?

          = help: then keep its stored name: `#[session(key = "b")]`
          = help: if `c` is another field, say so on the struct: `#[session(version = 2, removed(b: String, in = 2))]`
          = help: for a struct of a test: `#[session(lock = off)]`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
}

#[test]
fn a_changed_type_is_asked_for_its_functions() {
    check(
        CART,
        "struct Shop { cart: Vec<Item>, total: Money }",
        expect![[r#"
        error: `total` changed type from `u32` to `Money`, and version 1 does not say so

          = help: stored sessions still hold a `u32`; write
                  #[session(changed(in = 2, from = u32, up = <fn(u32) -> Money>, down = <fn(&Money) -> u32>))]
          = help: or let older versions see the default:
                  #[session(changed(in = 2, from = u32, up = <fn(u32) -> Money>, forget))]
          = help: and raise the version on the struct: `version = 2`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(
        CART,
        "#[session(version = 2)] struct Shop { cart: Vec<Item>, total: Money }",
        expect![[r#"
        error: `total` changed type from `u32` to `Money`, and version 2 does not say so

          = help: stored sessions still hold a `u32`; write
                  #[session(changed(in = 2, from = u32, up = <fn(u32) -> Money>, down = <fn(&Money) -> u32>))]
          = help: or let older versions see the default:
                  #[session(changed(in = 2, from = u32, up = <fn(u32) -> Money>, forget))]
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(
        CART,
        "#[session(version = 2)] struct Shop { cart: Vec<Item>, #[session(changed(in = 2, from = u16, up = f, forget))] total: Money }",
        expect![[r#"
            error: `total` changes from `u32`, not from `u16`

              = help: write `from = u32`
              = note: recorded in session-schema/shop.lock (version 1)
            pending: changes `total` to `Money`
        "#]],
    );
    check(
        CART,
        "#[session(version = 2)] struct Shop { cart: Vec<Item>, #[session(changed(in = 2, from = u32, up = f, forget))] total: Money }",
        expect![[r#"
            pending: changes `total` to `Money`
        "#]],
    );
}

#[test]
fn a_change_of_meaning_can_be_declared_without_another_type() {
    check(
        "struct Shop { total: u32 }",
        "#[session(version = 2)] struct Shop { #[session(changed(in = 2, from = u32, up = tenfold, down = tenth))] total: u32 }",
        expect![[r#"
            pending: changes `total` to `u32`
        "#]],
    );
}

#[test]
fn a_field_that_becomes_opaque_or_stops_being_it_is_told_the_way() {
    check(
        "struct Shop { #[session(opaque)] total: u32 }",
        "struct Shop { total: u32 }",
        expect![[r#"
        error: `total` was `opaque`, and what is stored is JSON

          = help: mark it `opaque` again, or say that this changed:
                  #[session(changed(in = 2, from = u32, opaque, up = <fn(u32) -> u32>, down = <fn(&u32) -> u32>))]
          = help: and raise the version on the struct: `version = 2`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(
        CART,
        "#[session(version = 2)] struct Shop { cart: Vec<Item>, #[session(opaque)] total: u32 }",
        expect![[r#"
        error: `total` was not `opaque`, and what is stored has the compact encoding

          = help: remove `opaque`, or store it under another name, made of the old value:
                  #[session(opaque, key = "total_2", from(total: u32, with = <fn(u32) -> u32>))]
          = help: and on the struct: `removed(total: u32, in = 2)`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
}

#[test]
fn a_type_that_changed_inside_is_noticed_by_its_shape() {
    expect![[r#"
        error: what `Vec<Item>` stores changed, and version 1 of `cart` does not say so

          = help: a type inside it has other members, variants or names than stored sessions hold; keep the old one beside it, and write
                  #[session(changed(in = 2, from = Vec<OldItem>, up = <fn(Vec<OldItem>) -> Vec<Item>>, down = <fn(&Vec<Item>) -> Vec<OldItem>>))]
          = help: if only variants were added at the end of an enum, mark them `#[session(appended)]`: then nothing changed
          = help: if something was only renamed in Rust, give it its old name: `#[session(key = "old_name")]` inside that type
          = help: and raise the version on the struct: `version = 2`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]].assert_eq(&said_with(CART, CART, &["Vec<Item>"]));
    let theme = "struct Shop { theme: Theme }";
    expect![[r#"
        error: what `Theme` stores changed, and version 2 of `theme` does not say so

          = help: a type inside it has other members, variants or names than stored sessions hold; keep the old one beside it, and write
                  #[session(changed(in = 2, from = OldTheme, up = <fn(OldTheme) -> Theme>, down = <fn(&Theme) -> OldTheme>))]
          = help: if only variants were added at the end of an enum, mark them `#[session(appended)]`: then nothing changed
          = help: if something was only renamed in Rust, give it its old name: `#[session(key = "old_name")]` inside that type
          = note: recorded in session-schema/shop.lock (version 1)
    "#]].assert_eq(&said_with(theme, "#[session(version = 2)] struct Shop { theme: Theme }", &["Theme"]));
    let declared =
        "#[session(version = 2)] struct Shop { #[session(changed(in = 2, from = Theme, up = f, forget))] theme: Theme }";
    expect![[r#"
        error: `Theme` is not what `theme` was when version 1 was recorded: its shape changed

          = help: keep the old type as it was, and name it here, e.g. `from = OldTheme`
          = note: recorded in session-schema/shop.lock (version 1)
        pending: changes `theme` to `Theme`
    "#]]
    .assert_eq(&said_with(theme, declared, &["Theme"]));
}

#[test]
fn another_spelling_of_the_same_shape_is_no_change() {
    let lock = recorded("struct Shop { cart: Vec<Item> }");
    let verdict = compare(&lock, &schema("struct Shop { cart: models::Cart }"), "");
    assert!(verdict.refused.is_empty() && verdict.pending.is_empty());
    assert_eq!(verdict.assertions.len(), 1, "the compiler decides");
    assert_eq!(said("struct Shop { #[session(opaque)] a: A }", "struct Shop { #[session(opaque)] a: b::B }"), "");
}

#[test]
fn a_version_without_a_change_is_refused() {
    check(
        CART,
        &format!("#[session(version = 2)] {CART}"),
        expect![[r#"
        error: version 2 changes nothing: the last change is in version 1

          = help: write `version = 1`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(
        &format!("#[session(version = 3)] {CART}"),
        &format!("#[session(version = 2)] {CART}"),
        expect![[r#"
        error: version 2 is older than the one recorded, which is 3

          = help: write `version = 3`, or take session-schema/shop.lock back to where the struct was
          = note: recorded in session-schema/shop.lock (version 3)
    "#]],
    );
}

#[test]
fn a_removed_name_stays_taken() {
    let before = "#[session(version = 2, removed(coupon: String, in = 2))] struct Shop { total: u32 }";
    check(
        before,
        "#[session(version = 2)] struct Shop { total: u32 }",
        expect![[r#"
        error: `coupon` was removed in version 2, and the struct no longer says so

          = help: put it back, so that nobody takes the name for something else: `#[session(removed(coupon: String, in = 2))]`
          = note: recorded in session-schema/shop.lock (version 2)
    "#]],
    );
    check(
        before,
        "#[session(version = 3, removed(coupon: String, in = 3))] struct Shop { total: u32 }",
        expect![[r#"
        error: `coupon` was removed otherwise, in version 2

          = help: write `removed(coupon: String, in = 2)`
          = note: recorded in session-schema/shop.lock (version 2)
    "#]],
    );
    check(
        before,
        "#[session(version = 3)] struct Shop { total: u32, coupon: u32 }",
        expect![[r#"
            error: `coupon` was a `String` before version 2 removed it, and is a `u32` now

              = help: sessions may still hold the old value; store this one under another name: `#[session(key = "coupon_2")]`
              = help: and leave on the struct: `removed(coupon: String, in = 2)`
              = note: recorded in session-schema/shop.lock (version 2)
        "#]],
    );
    check(
        before,
        "#[session(version = 3)] struct Shop { total: u32, coupon: String }",
        expect![[r#"
        pending: adds `coupon` again
    "#]],
    );
    check(
        before,
        "#[session(version = 2)] struct Shop { total: u32, coupon: String }",
        expect![[r#"
        error: `coupon` is new, and version 2 does not say so

          = help: raise the version on the struct: `#[session(version = 3)]`
          = note: recorded in session-schema/shop.lock (version 2)
    "#]],
    );
}

#[test]
fn a_removed_name_keeps_the_generation_that_it_had() {
    let before = "#[session(version = 4, removed(coupon: String, in = 4, since = 3))] struct Shop { total: u32 }";
    check(
        before,
        "#[session(version = 5, removed(coupon: String, in = 4))] struct Shop { total: u32, new: u8 }",
        expect![[r#"
            error: `coupon` was removed otherwise, in version 4

              = help: write `removed(coupon: String, in = 4, since = 3)`
              = note: recorded in session-schema/shop.lock (version 4)
            pending: adds `new`
        "#]],
    );
    check(
        "#[session(version = 4, removed(coupon: String, in = 4))] struct Shop { total: u32 }",
        "#[session(version = 5, removed(coupon: String, in = 4, since = 3))] struct Shop { total: u32, new: u8 }",
        expect![[r#"
            error: `coupon` was removed otherwise, in version 4

              = help: write `removed(coupon: String, in = 4)`
              = note: recorded in session-schema/shop.lock (version 4)
            pending: adds `new`
        "#]],
    );
}

#[test]
fn a_removed_name_whose_type_had_changed_is_not_free_again() {
    check(
        "#[session(version = 4, removed(coupon: String, in = 4, since = 3))] struct Shop { total: u32 }",
        "#[session(version = 5)] struct Shop { total: u32, coupon: String }",
        expect![[r#"
            error: `coupon` was removed in version 4, after its type had changed

              = help: sessions may still hold the old value; store this one under another name: `#[session(key = "coupon_2")]`
              = help: and leave on the struct: `removed(coupon: String, in = 4, since = 3)`
              = note: recorded in session-schema/shop.lock (version 4)
        "#]],
    );
    check(
        "#[session(version = 2, removed(coupon: String, in = 2))] struct Shop { total: u32 }",
        "#[session(version = 3)] struct Shop { total: u32, #[session(changed(in = 3, from = u8, up = f, down = g))] coupon: String }",
        expect![[r#"
            error: `coupon` was removed in version 2, after its type had changed

              = help: sessions may still hold the old value; store this one under another name: `#[session(key = "coupon_2")]`
              = help: and leave on the struct: `removed(coupon: String, in = 2)`
              = note: recorded in session-schema/shop.lock (version 2)
        "#]],
    );
}

#[test]
fn what_is_forgotten_ends_before_the_version_that_is_named() {
    let mut lock = recorded(
        "#[session(version = 6)] struct Shop { #[session(
            changed(in = 4, from = u8, up = a, down = b), changed(in = 6, from = u32, up = c, down = d))] total: Money }",
    );
    let past = &mut lock.fields.get_mut("total").unwrap().past;
    for (form, sample) in past.iter_mut().zip(["01", "04"]) {
        form.samples.kept = vec![sample.to_owned()];
    }
    let contracted = schema(
        "#[session(version = 6)] struct Shop {
            #[session(forget_before = 4, changed(in = 6, from = u32, up = c, down = d))] total: Money }",
    );
    let contracted = filled(record(Some(&lock), &contracted));
    let past = &contracted.fields["total"].past;
    let kept = past.iter().map(|form| (form.since, &form.ty[..], &form.samples.kept[0][..])).collect::<Vec<_>>();
    assert_eq!(kept, [(4, "u32", "04")]);
}

#[test]
fn a_removed_name_whose_shape_is_known_is_free_for_every_type_of_that_shape() {
    let before = "#[session(version = 2, removed(coupon: String, in = 2))] struct Shop { total: u32 }";
    let lock = filled(record(Some(&recorded("struct Shop { total: u32, coupon: String }")), &schema(before)));
    let again = schema("#[session(version = 3)] struct Shop { total: u32, coupon: models::Text }");
    let verdict = compare(&lock, &again, "");
    assert!(verdict.refused.is_empty());
    assert!(verdict.assertions.iter().any(|assertion| spell(&assertion.ty) == "models::Text"), "the compiler decides");
}

const CHANGED: &str = "#[session(version = 4)] struct Shop {
    #[session(changed(in = 2, from = u8, up = a, forget), changed(in = 4, from = u32, up = b, down = c))] total: Money }";

#[test]
fn history_ends_where_the_struct_says_so_and_nowhere_else() {
    let total = |attribute: &str| format!("#[session(version = 4)] struct Shop {{ #[session({attribute})] total: Money }}");
    let newer = "changed(in = 4, from = u32, up = b, down = c)";
    check(
        CHANGED,
        &total("since = 1"),
        expect![[r#"
        error: version 2 changed `total` from `u8` to `u32`, and the struct no longer says so

          = help: stored sessions may still hold a `u8`; put it back:
                  #[session(changed(in = 2, from = u8, up = <fn(u8) -> u32>, down = <fn(&u32) -> u8>), changed(in = 4, from = u32, up = <fn(u32) -> Money>, down = <fn(&Money) -> u32>))]
          = help: or, once no version before 4 has run for as long as a session can live: `#[session(forget_before = 4)]`
          = note: recorded in session-schema/shop.lock (version 4)
    "#]],
    );
    check(
        CHANGED,
        &total(newer),
        expect![[r#"
        error: version 2 changed `total` from `u8` to `u32`, and the struct no longer says so

          = help: stored sessions may still hold a `u8`; put it back:
                  #[session(changed(in = 2, from = u8, up = <fn(u8) -> u32>, down = <fn(&u32) -> u8>))]
          = help: or, once no version before 2 has run for as long as a session can live: `#[session(forget_before = 2)]`
          = note: recorded in session-schema/shop.lock (version 4)
    "#]],
    );
    check(
        CHANGED,
        &total(&format!("{newer}, forget_before = 4")),
        expect![[r#"
        pending: forgets `total` before version 4
    "#]],
    );
    check(
        CHANGED,
        &total("forget_before = 4"),
        expect![[r#"
        pending: forgets `total` before version 4
    "#]],
    );
    check(
        CHANGED,
        &total("forget_before = 3"),
        expect![[r#"
        error: `total` is stored as generation 4, and is looked for as another

          = help: write `#[session(forget_before = 4)]`: the number is part of the name that `total` is stored under
          = note: recorded in session-schema/shop.lock (version 4)
        pending: forgets `total` before version 3
    "#]],
    );
    let contracted = total("forget_before = 4");
    check(&contracted, &contracted, expect![[""]]);
    check(
        &contracted,
        &total("since = 1"),
        expect![[r#"
        error: `total` has forgotten what was before version 4, and does not say so any more

          = help: write `#[session(forget_before = 4)]`: the number is part of the name that `total` is stored under
          = note: recorded in session-schema/shop.lock (version 4)
    "#]],
    );
    check(
        &contracted,
        &total("forget_before = 3"),
        expect![[r#"
        error: `total` has forgotten what was before version 4, and does not say so any more

          = help: write `#[session(forget_before = 4)]`: the number is part of the name that `total` is stored under
          = note: recorded in session-schema/shop.lock (version 4)
    "#]],
    );
    check(
        "#[session(version = 4)] struct Shop { total: Money }",
        &contracted,
        expect![[r#"
        error: `total` has only ever been stored as one type, so there is nothing to forget

          = help: remove `forget_before`: it would have the field stored under another name, and what is stored now would be lost
          = note: recorded in session-schema/shop.lock (version 4)
        pending: forgets `total` before version 4
    "#]],
    );
}

#[test]
fn a_change_of_a_version_that_is_over_is_refused() {
    let before = "#[session(version = 3)] struct Shop { total: u32, views: u8 }";
    check(
        before,
        "#[session(version = 3)] struct Shop { #[session(changed(in = 3, from = u32, up = b, down = c))] total: Money, views: u8 }",
        expect![[r#"
            error: `changed(in = 3, ..)` of `total` is not in what version 3 recorded

              = help: a change belongs to a version of its own: write `changed(in = 4, ..)`
              = help: and raise the version on the struct: `version = 4`
              = note: recorded in session-schema/shop.lock (version 3)
        "#]],
    );
}

#[test]
fn a_merge_rule_changes_in_a_version_of_its_own() {
    let before = "struct Shop { views: u64 }";
    check(
        before,
        "struct Shop { #[session(merge = \"add\")] views: u64 }",
        expect![[r#"
        error: concurrent changes of `views` merge by `add`, and version 1 says by `last`

          = help: old and new versions will decide differently; raise the version on the struct: `#[session(version = 2)]`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
    check(
        before,
        "#[session(version = 2)] struct Shop { #[session(merge = \"add\")] views: u64 }",
        expect![[r#"
        pending: merges concurrent changes of `views` by `add`, no longer by `last`
    "#]],
    );
    let function = |path: &str| format!("struct Shop {{ #[session(merge = {path})] views: u64 }}");
    assert_eq!(said(&function("a"), &function("b::c")), "", "what it is called is no part of the schema");
}

#[test]
fn what_a_field_is_computed_from_has_the_shape_that_is_stored() {
    let before = "struct Shop { full_name: String }";
    let after = |ty: &str| {
        format!(
            "#[session(version = 2, removed(full_name: {ty}, in = 2))]
            struct Shop {{ #[session(from(full_name: {ty}, with = first))] first: String }}"
        )
    };
    check(
        before,
        &after("String"),
        expect![[r#"
        pending: removes `full_name`
        pending: adds `first`
    "#]],
    );
    // With the same words, in one of the two or inside the type.
    let opaque = "struct Shop { #[session(opaque)] full_name: String }";
    check(
        opaque,
        &after("String"),
        expect![[r#"
        error: `full_name` was `opaque`, and what is stored is JSON

          = help: say so on the struct: `removed(full_name: String, in = 2, opaque)`
          = note: recorded in session-schema/shop.lock (version 1)
        pending: removes `full_name`
        pending: adds `first`
    "#]],
    );
    check(
        before,
        &after("String").replace("in = 2", "in = 2, opaque"),
        expect![[r#"
        error: `full_name` was not `opaque`, and what is stored has the compact encoding

          = help: write `removed(full_name: String, in = 2)`
          = note: recorded in session-schema/shop.lock (version 1)
        pending: removes `full_name`
        pending: adds `first`
    "#]],
    );
    expect![[r#"
        error: `String` is not what `full_name` was when version 1 was recorded: its shape changed

          = help: keep the old type as it was, and name it here and on the struct, e.g. `full_name: OldString`
          = note: recorded in session-schema/shop.lock (version 1)
        pending: removes `full_name`
        pending: adds `first`
    "#]]
    .assert_eq(&said_with(before, &after("String"), &["String"]));
    check(
        before,
        &after("u8"),
        expect![[r#"
            error: `first` is computed from `full_name`, which is stored as `String`, not as `u8`

              = help: write `from(full_name: String, ..)`, and on the struct `removed(full_name: String, in = 2)`
              = note: recorded in session-schema/shop.lock (version 1)
            pending: removes `full_name`
            pending: adds `first`
        "#]],
    );
}

#[test]
fn a_struct_that_shares_a_field_with_another_of_its_name_is_told_how_to_stand_apart() {
    check(
        "struct Shop { user: u8, total: u32 }",
        "struct Shop { user: u8 }",
        expect![[r#"
        error: `total` is gone, and version 1 does not say so

          = help: say so on the struct: `#[session(version = 2, removed(total: u32, in = 2))]`
          = help: for a struct of a test: `#[session(lock = off)]`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
}

#[test]
fn two_structs_of_one_name_are_told_apart() {
    check(
        CART,
        "struct Shop { a: u8, b: u8 }",
        expect![[r#"
            error: `Shop` has no field in common with the `shop` that is recorded

              = help: if its fields were only renamed in Rust, let them keep their stored names: `#[session(key = "cart")]`
              = help: for a struct of a test: `#[session(lock = off)]`
              = help: for another struct use another name, or another file: `#[session(lock = "shop_2")]`
              = help: for one that starts anew: delete session-schema/shop.lock and run `SESSION_SCHEMA=accept cargo test`
              = note: recorded in session-schema/shop.lock (version 1)
        "#]],
    );
    check(
        "#[session(name = \"store\")] struct Shop { a: u8 }",
        "struct Shop { a: u8 }",
        expect![[r#"
        error: session-schema/shop.lock is the lock of `store`, and this struct is stored as `shop`

          = help: to rename the struct in Rust only: `#[session(name = "store")]`
          = help: for another struct use another file: `#[session(lock = "shop_2")]`
          = note: recorded in session-schema/shop.lock (version 1)
    "#]],
    );
}

#[test]
fn what_a_field_is_computed_from_is_recorded_and_does_not_change_unsaid() {
    let shop = |version: u32, from: &str| {
        format!(
            "#[session(version = {version}, removed(a: u8, in = 2), removed(b: u8, in = 2))] struct Shop {{ views: u8, {from} c: u8 }}"
        )
    };
    let one = "#[session(from(a: u8, with = f))]";
    assert_eq!(recorded(&shop(2, one)).fields["c"].from, ["a"]);
    check(
        &shop(2, one),
        &shop(2, ""),
        expect![[r#"
            error: `c` is no longer computed from `a`

              = help: stored sessions may hold nothing else of it; put it back: `#[session(from(a: u8, with = <fn>))]`
              = help: or, once no version before 2 has run for as long as a session can live, raise the version on the struct: `version = 3`
              = note: recorded in session-schema/shop.lock (version 2)
        "#]],
    );
    check(
        &shop(2, ""),
        &shop(2, one),
        expect![[r#"
            error: `c` is computed from `a`, and version 2 does not say so

              = help: raise the version on the struct: `#[session(version = 3)]`
              = note: recorded in session-schema/shop.lock (version 2)
        "#]],
    );
    check(
        &shop(2, one),
        &shop(3, ""),
        expect![[r#"
        pending: no longer computes `c` from `a`
    "#]],
    );
    check(
        &shop(2, ""),
        &shop(3, one),
        expect![[r#"
        pending: computes `c` from `a`
    "#]],
    );
    check(
        &shop(2, one),
        &shop(3, "#[session(from(b: u8, a: u8, with = f))]"),
        expect![[r#"
        pending: computes `c` from `a`, `b`
    "#]],
    );
    let swapped =
        said(&shop(2, "#[session(from(a: u8, b: u8, with = f))]"), &shop(2, "#[session(from(b: u8, a: u8, with = g))]"));
    assert_eq!(swapped, "", "in which order the function takes them is its own affair");
}

#[test]
fn a_removed_type_that_nobody_recorded_is_needed_only_to_compute_from_it() {
    let shop = |version: u32, code: &str| {
        schema(&format!(
            "#[session(version = {version}, removed(coupon: Coupon, in = 2), removed(notes: Notes, in = 2, opaque), removed(name: Name, in = 2))]
            struct Shop {{ #[session(from(name: Name, with = f))] first: String, {code} }}"
        ))
    };
    let Record { lock, types } = record(None, &shop(2, ""));
    assert_eq!(types.iter().map(spell).collect::<Vec<_>>(), ["String", "Name"]);
    assert_eq!((lock.removed["coupon"].shape, lock.removed["notes"].shape), (Shape::Unknown, Shape::Opaque));
    assert_eq!(lock.removed["coupon"].ty, "Coupon");
    let lock = filled(record(None, &shop(2, "")));
    assert_eq!(read(&text(&lock)), Ok(lock.clone()));
    let Record { lock, types } = record(Some(&lock), &shop(3, "#[session(from(coupon: Coupon, with = f))] code: u8"));
    assert_eq!(types.iter().map(spell).collect::<Vec<_>>(), ["u8", "Coupon"]);
    assert!(matches!(lock.removed["coupon"].shape, Shape::Of(1)));
}

#[test]
fn words_for_people_are_no_part_of_the_sum() {
    let text = text(&recorded(SHOP));
    assert!(!text.contains('#'), "{text}");
    assert_eq!(read(&format!("# Whatever a release says to people\n{text}")), Ok(recorded(SHOP)));
}

#[test]
fn what_is_no_part_of_what_is_stored_needs_no_version() {
    let before = "struct Shop { cart: Vec<Item>, token: u8 }";
    let after = r#"pub(crate) struct Shop {
        /// Words.
        #[session(default = vec![], ttl = "10m", validate = sane, lossy, samples = some)]
        pub cart: Vec<Item>,
        #[session(secret)]
        token: u8,
    }"#;
    assert_eq!(said(before, after), "");
}

/// What docs/evolving-a-session.md says the compiler says.
#[test]
fn the_messages_of_the_guide_are_those_that_are_said_along_its_walk() {
    let shop = |version: &str, fields: &str| {
        format!("#[session(version = {version})] struct Shop {{ user: Option<String>, {fields} }}")
    };
    let totals = |attribute: &str| shop("7", &format!("{attribute} total: Money"));
    let changed = "#[session(changed(in = 3, from = u32, up = up, down = down))]";
    let first = |attribute: &str| shop("7, removed(full_name: String, in = 6)", &format!("{attribute} first_name: String"));
    let basket = shop("4", "#[session(key = \"cart\")] basket: Vec<Item>");
    let coupon = "coupon: Option<String>, total: u32";
    let mut known = vec![
        said(&shop("1", "total: u32"), &shop("1", "total: u32, theme: Theme")),
        said(&shop("2", "cart: Vec<Item>"), &shop("2", "basket: Vec<Item>")),
        said(&shop("2", "total: u32"), &shop("2", "total: Money")),
        said_with(&basket, &basket, &["Vec<Item>"]),
        said(&shop("6", coupon), &shop("6", "total: u32")),
        said(&totals(changed), &totals("")),
        said(&totals("#[session(forget_before = 3)]"), &totals("")),
        said(&first("#[session(from(full_name: String, with = first_name))]"), &first("")),
    ];
    // What needs no lock to be noticed.
    let mistaken = |source: &str| {
        let mut errors = Errors::default();
        crate::check::schema(&syn::parse_str(source).unwrap(), &mut errors);
        errors.reports().map(|report| format!("error: {}\n", report.text())).collect::<String>()
    };
    known.push(mistaken(&shop("3", "#[session(changed(in = 3, from = u32, up = Money::from_cents))] total: Money")));
    known.push(mistaken(&shop("6", "#[session(from(full_name: String, with = first_name))] first_name: String")));
    known.push(mistaken(&shop("8, removed(coupon: Option<String>, in = 7)", "coupon: u64")));
    let conflict = read("<<<<<<< HEAD").unwrap_err();
    known.push(format!("error: {}\n= help: {}\n", conflict.what, conflict.help.join("\n= help: ")));
    let file = |path: &str| std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    known.extend(
        ["a_new_field_without_a_default", "a_downgrade_of_another_type"]
            .map(|case| file(&format!("ui-tests/tests/fail/{case}.stderr"))),
    );
    // Of a struct with another name, and one change more.
    known.push(
        file("ui-tests/tests/lock/after.stderr").replace("not_recorded", "shop").replace(", changes `total` to `Money`", ""),
    );

    let words = |line: &str| {
        let line =
            line.trim().replace("error[E0080]: evaluation panicked: ", "error: ").replace("<file>", "session-schema/shop.lock");
        line.replace("session-schema/shop.lock, line 3: ", "").trim_start_matches(['|', ' ']).to_owned()
    };
    let tidied: Vec<Vec<String>> = known.iter().map(|text| text.lines().map(words).collect()).collect();
    let guide = file("docs/evolving-a-session.md");
    let blocks: Vec<&str> = guide.split("```text\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 12, "only {} messages were found", blocks.len());
    for block in blocks {
        let said = |text: &Vec<String>| block.lines().map(words).all(|line| text.contains(&line));
        assert!(tidied.iter().any(said), "nobody says:\n{block}");
    }
}
