//! What deriving costs the compiler: a crate of 50 structs with 10 fields each, beside the same structs with serde's two derives.
//!
//! `cargo run -p cloakroom-benches --bin compile_time`, on a machine that does nothing else: about two minutes.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

const STRUCTS: usize = 50;
const ROUNDS: usize = 5;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What the structs derive.
struct Candidate {
    name: &'static str,
    derives: &'static str,
    beside: Beside,
}

/// What there is beside the structs.
#[derive(PartialEq)]
enum Beside {
    Nothing,
    /// A function that writes and reads each struct once, as whoever derives serde's traits will have.
    Use,
    /// A schema lock for each struct.
    Locks,
}

const NONE: Candidate = Candidate { name: "no derive", derives: "", beside: Beside::Nothing };
const SERDE: Candidate =
    Candidate { name: "Serialize, Deserialize", derives: "#[derive(Serialize, Deserialize)]", beside: Beside::Nothing };
const USED: Candidate = Candidate { name: "the same, and bincode", beside: Beside::Use, ..SERDE };
const OURS: Candidate = Candidate { name: "SessionData", derives: "#[derive(SessionData)]", beside: Beside::Nothing };
const LOCKED: Candidate = Candidate { name: "SessionData, locked", beside: Beside::Locks, ..OURS };
const CANDIDATES: [Candidate; 5] = [NONE, SERDE, USED, OURS, LOCKED];

const MANIFEST: &str = r#"[package]
name = "derived"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
bincode = { version = "2", default-features = false, features = ["std", "serde"] }
cloakroom = { path = "RUNTIME", default-features = false, features = ["bincode", "memory"] }
serde = { version = "1", features = ["derive"] }
"#;

/// Every candidate has the nested types, with all derives, so that their cost cancels out.
const NESTED: &str = "#![allow(unused_imports, dead_code)]
use cloakroom::{SessionData, SessionValue};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
pub struct Item { article: u32, count: u32, note: Option<String> }

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, SessionValue)]
pub enum Theme { #[default] Light, Dark }

fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> Option<T> {
    let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard()).ok()?;
    Some(bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).ok()?.0)
}
";

const FIELDS: &str = "{
    user: Option<String>, visits: u64, name: String, ids: Vec<u32>, is_new: bool,
    cart: Vec<Item>, last: Option<Item>, theme: Theme, level: u8, balance: i64,
}";

impl Candidate {
    fn source(&self) -> String {
        let mut source = NESTED.to_owned();
        for number in 0..STRUCTS {
            source += &format!("{}\npub struct Struct{number} {FIELDS}\n", self.derives);
            if self.beside == Beside::Use {
                source += &format!("pub fn use{number}(it: &Struct{number}) -> Option<Struct{number}> {{ round_trip(it) }}\n");
            }
        }
        source
    }
}

struct Package(PathBuf);

impl Package {
    fn new() -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let folder = std::env::temp_dir().join(format!("cloakroom-compile-time-{}", std::process::id()));
        fs::create_dir_all(folder.join("src"))?;
        fs::write(folder.join("Cargo.toml"), MANIFEST.replace("RUNTIME", &root.join("runtime").display().to_string()))?;
        fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        Ok(Self(folder))
    }

    /// Seconds that cargo takes when only the source has changed.
    fn compile(&self, command: &str, candidate: &Candidate) -> Outcome<f64> {
        let (locks, aside) = (self.0.join("session-schema"), self.0.join("aside"));
        match candidate.beside {
            Beside::Locks if aside.exists() => fs::rename(aside, locks)?,
            Beside::Nothing | Beside::Use if locks.exists() => fs::rename(locks, aside)?,
            _ => {}
        }
        fs::write(self.0.join("src/lib.rs"), candidate.source())?;
        let start = Instant::now();
        self.cargo(&[command], "")?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn cargo(&self, arguments: &[&str], mode: &str) -> Outcome<()> {
        let status = Command::new("cargo")
            .args(arguments)
            .args(["--quiet", "--offline"])
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            // What was compiled before would be found again by an incremental compiler.
            .env("CARGO_INCREMENTAL", "0")
            .env("SESSION_SCHEMA", mode)
            .stdout(Stdio::null())
            .stderr(if mode.is_empty() { Stdio::inherit() } else { Stdio::null() })
            .status()?;
        if status.success() { Ok(()) } else { Err(format!("cargo {arguments:?}: {status}").into()) }
    }
}

impl Drop for Package {
    fn drop(&mut self) {
        // A folder for temporary files; whoever owns it will clear it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn main() -> Outcome<()> {
    let package = Package::new()?;
    fs::write(package.0.join("src/lib.rs"), LOCKED.source())?;
    package.cargo(&["test", "--lib"], "accept")?; // the locks
    for command in ["check", "build"] {
        package.compile(command, &NONE)?; // the dependencies
        let mut best = [f64::INFINITY; CANDIDATES.len()];
        for _ in 0..ROUNDS {
            for (best, candidate) in best.iter_mut().zip(&CANDIDATES) {
                *best = best.min(package.compile(command, candidate)?);
            }
        }
        let [none, serde, used, ours, locked] = best;
        println!("cargo {command}, the shortest of {ROUNDS}");
        for (candidate, seconds) in CANDIDATES.iter().zip(best) {
            println!("  {:24} {seconds:5.2} s", candidate.name);
        }
        for (name, ours) in [("SessionData", ours - none), ("locked", locked - none)] {
            println!(
                "  {name:12} over serde's two derives {:.2}, over their use {:.2}",
                ours / (serde - none),
                ours / (used - none)
            );
        }
    }
    Ok(())
}
