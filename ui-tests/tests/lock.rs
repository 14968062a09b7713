//! The schema lock from outside: a crate that records its structs, changes them, and is told what it forgot to say.
//!
//! After a change of words run `UPDATE_EXPECT=1 cargo test -p ui-tests --test lock`, and read the difference as in `ui.rs`.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A crate of its own, which depends on cloakroom by path.
struct Package {
    folder: tempfile::TempDir,
    /// Compiled dependencies outlive the test.
    target: PathBuf,
}

impl Package {
    fn new(name: &str, dependency: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let runtime = root.join("runtime");
        let manifest = format!(
            "[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             {dependency} = {{ package = \"cloakroom\", path = {runtime:?}, default-features = false, features = [\"bincode\", \"json\"] }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n\n[profile.dev]\ndebug = false\n"
        );
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::copy(root.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        Self { folder, target: Path::new(env!("CARGO_TARGET_TMPDIR")).join("lock") }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env_remove("SESSION_SCHEMA");
        command
    }

    fn cargo(&self, arguments: &[&str], mode: Option<&str>) -> Result<String, String> {
        let mut command = self.command(env!("CARGO"), arguments);
        command.args(["--offline", "--quiet", "--color", "never"]).env("CARGO_TARGET_DIR", &self.target);
        if let Some(mode) = mode {
            command.env("SESSION_SCHEMA", mode);
        }
        said(&command.output().unwrap())
    }

    /// Compiles it; what it says if it does not.
    fn check(&self) -> Result<String, String> {
        self.cargo(&["check", "--lib"], None)
    }

    fn accept(&self) -> Result<String, String> {
        self.cargo(&["test", "--lib"], Some("accept"))
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let name = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "core.autocrlf=false"];
        said(&self.command("git", &[&name, arguments].concat()).output().unwrap())
    }
}

fn said(output: &Output) -> Result<String, String> {
    let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// The shop of a version: `fields` in place of those that change.
fn shop(version: &str, fields: &str) -> String {
    format!(
        r#"//! ```
//! #[derive(coats::SessionData)]
//! #[session(crate = ::coats)]
//! struct Shop {{ only: u8 }}
//! assert_eq!(<Shop as coats::SessionData>::initial().only, 0);
//! ```
#![deny(warnings)]
#![allow(dead_code)]
use coats::{{SessionData, SessionValue}};
use serde::{{Deserialize, Serialize}};
use std::collections::HashMap;

#[derive(SessionData)]
#[session(crate = ::coats, version = {version})]
pub struct Shop {{
    user: Option<u64>,
    #[session(samples = some_wishes)]
    wishes: HashMap<u32, Theme>,
    {fields}
}}

#[derive(PartialEq, Serialize, Deserialize, SessionValue)]
#[session(crate = ::coats)]
enum Theme {{ Light, Dark }}

fn some_wishes() -> [HashMap<u32, Theme>; 1] {{
    [(0..20).map(|n| (n, Theme::Dark)).collect()]
}}

fn some_totals() -> Vec<u32> {{
    vec![7]
}}

mod inside {{
    /// Nothing of this is deployed.
    #[derive(coats::SessionData)]
    #[session(crate = ::coats, lock = off)]
    struct Shop {{ scratch: u8 }}

    #[derive(coats::SessionData)]
    #[session(crate = ::coats, name = "shop", lock = "admin_shop")]
    struct Admin {{ level: u8 }}
}}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
#[session(crate = ::coats)]
struct Money {{ cents: u64 }}

fn up(cents: u32) -> Result<Money, String> {{
    Ok(Money {{ cents: cents.into() }})
}}

fn first(full: String) -> Result<String, String> {{
    full.split(' ').next().map(str::to_owned).ok_or_else(|| "nobody".to_owned())
}}

fn down(money: &Money) -> u32 {{
    money.cents.try_into().unwrap_or(u32::MAX)
}}
"#
    )
}

/// A struct that happens to have the name of the product's.
const BESIDE: &str = "#[derive(coats::SessionData)]\n#[session(crate = ::coats)]\nstruct Shop { other: u8 }\n\
    fn main() { let _ = <Shop as coats::SessionData>::initial().other; }\n";

const LOCK: &str = "session-schema/shop.lock";
const TOTAL: &str = "#[session(samples = some_totals)] total: u32, #[session(default = \"Ann Lee\".to_owned())] full: String";
const SECOND: &str = "2, removed(full: String, in = 2)";
const MONEY: &str = "#[session(changed(in = 2, from = u32, up = up, down = down))] total: Money,
    #[session(from(full: String, with = first))] first: String";

#[test]
fn a_struct_is_recorded_refused_recorded_again_and_reads_what_it_once_stored() {
    let package = Package::new("walk", "coats");
    package.write("src/lib.rs", &shop("1", TOTAL));
    let refused = package.check().unwrap_err();
    assert!(refused.contains("session-schema/admin_shop.lock does not exist"), "a name that is asked for: {refused}");
    assert!(!refused.contains("/shop.lock"), "and nothing else is: {refused}");
    let recorded = package.accept().unwrap();
    assert!(recorded.contains("recorded session-schema/shop.lock; commit it with the change"), "{recorded}");
    let first = package.read(LOCK);
    assert!(first.contains("[field.total]\nin = 1\nmerge = \"last\"\nsamples = [\"00\", \"07\"]\n"), "{first}");
    let folder = package.folder.path().to_str().unwrap();
    assert!(!first.contains(folder) && !first.contains(env!("CARGO_PKG_VERSION")), "{first}");
    assert!(package.read("session-schema/admin_shop.lock").contains("[field.level]"));
    assert_eq!(fs::read_dir(package.path("session-schema")).unwrap().count(), 2, "nothing that is off, nothing of a doctest");

    // A hash map has other bytes each time, and the file stays what it is.
    package.accept().unwrap();
    assert_eq!(package.read(LOCK), first);
    package.check().unwrap();

    package.write("src/lib.rs", &shop("1", &TOTAL.replace("u32", "Money").replace("samples = some_totals", "lossy")));
    let refused = package.check().unwrap_err();
    assert!(refused.contains("`total` changed type from `u32` to `Money`"), "{refused}");
    let refused = package.accept().unwrap_err();
    assert!(
        refused.contains("`total` changed type from `u32` to `Money`"),
        "nobody can accept what nobody declared: {refused}"
    );

    package.write("src/lib.rs", &shop(SECOND, MONEY));
    let refused = package.check().unwrap_err();
    assert!(refused.contains("version 2 of `shop` is not recorded yet"), "{refused}");
    let recorded = package.accept().unwrap();
    assert!(recorded.contains("- version = 1") && recorded.contains("+ version = 2"), "{recorded}");
    let second = package.read(LOCK);
    assert!(second.contains("[[field.total.past]]\nin = 1\nsamples = [\"00\", \"07\"]\n"), "{second}");
    assert!(second.contains("[removed.full]\nin = 2\nsamples = [\"07416e6e204c6565\"]\n"), "{second}");
    package.check().unwrap();

    // Old samples go through today's code, and structs of the same name that are not deployed are nobody's business.
    package.write("tests/beside.rs", BESIDE);
    package.write("examples/beside.rs", BESIDE);
    let tested = package.cargo(&["test"], None).unwrap();
    assert!(tested.contains("test result: ok. 2 passed"), "{tested}");
    package.cargo(&["test", "--examples"], None).unwrap();
    for (function, broken, what, why) in [
        (
            "Ok(Money",
            "if cents == 7 { return Err(\"no luck\".to_owned()) }\n    Ok(Money",
            "`total` as version 1 stored it, a `u32`, 07: ",
            "no luck",
        ),
        ("full.split(' ').next()", "full.split(' ').nth(2)", "`first` from `full`, a `String`, 07416e6e204c6565: ", "nobody"),
    ] {
        package.write("src/lib.rs", &shop(SECOND, MONEY).replace(function, broken));
        let failed = package.cargo(&["test", "--lib"], None).unwrap_err();
        assert!(failed.contains(what) && failed.contains(why), "{failed}");
    }

    // The file alone is enough for the struct to be compiled again.
    package.write("src/lib.rs", &shop(SECOND, MONEY));
    package.check().unwrap();
    package.write(LOCK, &first);
    let refused = package.check().unwrap_err();
    assert!(refused.contains("version 2 of `shop` is not recorded yet"), "{refused}");
    package.write(LOCK, &second.replace("in = 2", "in = 1"));
    let refused = package.check().unwrap_err();
    assert!(refused.contains("its text does not add up to its `sum`"), "{refused}");
    let refused = package.cargo(&["check", "--lib"], Some("acept")).unwrap_err();
    assert!(refused.contains("`SESSION_SCHEMA=acept` means nothing"), "{refused}");
}

#[test]
fn two_branches_that_both_raise_the_version_conflict_in_the_lock() {
    let package = Package::new("branches", "coats");
    package.write("src/lib.rs", &shop("1", ""));
    package.write(".gitignore", "Cargo.lock\n");
    package.accept().unwrap();
    let commit = |message: &str| {
        package.git(&["add", "."]).unwrap();
        package.git(&["commit", "--quiet", "--message", message]).unwrap();
    };
    package.git(&["init", "--quiet", "--initial-branch", "trunk"]).unwrap();
    commit("one");
    for (branch, field) in [("red", "a: u8"), ("blue", "z: u8")] {
        package.git(&["checkout", "--quiet", "-b", branch, "trunk"]).unwrap();
        package.write("src/lib.rs", &shop("2", field));
        package.accept().unwrap();
        // What is to conflict is the lock, not the line of the source.
        package.git(&["checkout", "--quiet", "trunk", "--", "src/lib.rs"]).unwrap();
        commit(branch);
    }
    let conflict = package.git(&["merge", "red"]).unwrap_err();
    assert!(conflict.contains("CONFLICT (content): Merge conflict in session-schema/shop.lock"), "{conflict}");
    package.write("src/lib.rs", &shop("2", "z: u8, a: u8"));
    let refused = package.check().unwrap_err();
    assert!(refused.contains("two branches changed this schema"), "{refused}");
    assert!(refused.contains("`git checkout --ours session-schema/shop.lock`"), "{refused}");

    // What the message says, done.
    package.git(&["checkout", "--ours", LOCK]).unwrap();
    let refused = package.check().unwrap_err();
    assert!(refused.contains("`a` is new, and version 2 does not say so"), "{refused}");
    package.write("src/lib.rs", &shop("3", "z: u8, a: u8"));
    package.accept().unwrap();
    package.check().unwrap();
    assert!(package.read(LOCK).contains("[field.a]\nin = 3\n"));
}

#[test]
fn a_lock_that_is_made_late_needs_no_type_that_is_gone() {
    let package = Package::new("late", "cloakroom");
    let shop = "#![allow(dead_code)]\n#[derive(cloakroom::SessionData)]\n\
        #[session(version = 2, removed(coupon: Coupon, in = 2))]\npub struct Shop { cart: u8 }\n";
    package.write("src/lib.rs", shop);
    package.check().unwrap();
    package.accept().unwrap();
    let lock = package.read(LOCK);
    assert!(lock.ends_with("[removed.coupon]\nin = 2\nsamples = []\nshape = \"unknown\"\ntype = \"Coupon\"\n"), "{lock}");
    package.check().unwrap();
    package.accept().unwrap();
    assert_eq!(package.read(LOCK), lock);
}

/// Another compiler words and underlines things differently, and that is no failure of ours.
#[rustversion::attr(not(stable(1.95)), ignore = "the messages are blessed with the stable compiler 1.95")]
#[test]
fn what_nobody_declared_is_refused_with_words_that_help() {
    let package = Package::new("mistakes", "cloakroom");
    package.write("src/lib.rs", include_str!("lock/before.rs"));
    package.accept().unwrap();
    package.write("src/lib.rs", include_str!("lock/after.rs"));
    let refused = package.check().unwrap_err();
    expect_test::expect_file!["lock/after.stderr"].assert_eq(&refused);
}

#[test]
fn two_structs_of_one_name_are_not_recorded_in_one_file() {
    let package = Package::new("twins", "cloakroom");
    let twins = |own: &str| {
        format!(
            "#![allow(dead_code)]\nmod a {{ #[derive(cloakroom::SessionData)] pub struct Shop {{ cart: u8 }} }}\n\
             mod b {{ #[derive(cloakroom::SessionData)] {own} pub struct Shop {{ cart: u16 }} }}\n"
        )
    };
    package.write("src/lib.rs", &twins(""));
    let refused = package.accept().unwrap_err();
    assert!(refused.contains("another struct of this crate is recorded in session-schema/shop.lock"), "{refused}");
    assert!(!package.path("session-schema").exists());
    package.write("src/lib.rs", &twins("#[session(lock = off)]"));
    package.accept().unwrap();
    package.check().unwrap();
}
