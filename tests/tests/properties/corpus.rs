//! The corpus of the fuzz targets, replayed: every input that was worth keeping, and mutations of each.

use super::targets::{TARGETS, Target};
use cloakroom_tests::shop::Dice;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The inputs of a target in the order of their names.
fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    inputs.sort();
    inputs
}

/// Says which input it was, if the target panics.
struct Input<'a> {
    of: &'a Path,
    bytes: &'a [u8],
}

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("from {}: {}", self.of.display(), self.bytes.escape_ascii());
        }
    }
}

fn replay(target: Target, of: &Path, bytes: &[u8]) {
    let _input = Input { of, bytes };
    target(bytes);
}

#[test]
fn every_input_that_fuzzing_has_kept_holds() {
    for (name, target) in TARGETS {
        for (path, bytes) in inputs(name) {
            replay(target, &path, &bytes);
        }
    }
}

/// How often each input is mutated in one run; every run has another seed.
const MUTATIONS: usize = 8;

#[test]
fn mutations_of_the_inputs_that_fuzzing_has_kept_hold() {
    let mut dice = Dice::new("mutations of the corpus");
    for (name, target) in TARGETS {
        let inputs = inputs(name);
        for (path, bytes) in &inputs {
            for _ in 0..MUTATIONS {
                let (_, other) = &inputs[dice.below(inputs.len() as u64) as usize];
                replay(target, path, &mutated(bytes, other, &mut dice));
            }
        }
    }
}

/// One to four changes: a bit, a byte, something left out, doubled or taken from another input.
fn mutated(bytes: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        let place = |length: usize, dice: &mut Dice| dice.below(length as u64 + 1) as usize;
        let (from, to) = (place(bytes.len(), dice), place(bytes.len(), dice));
        let range = from.min(to)..from.max(to);
        match dice.below(6) {
            0 if from < bytes.len() => bytes[from] ^= 1 << dice.below(8),
            1 if from < bytes.len() => {
                bytes[from] = [0, 1, 0x7f, 0x80, 0xff, b';', b'=', b' ', b'"', b'\n'][dice.below(10) as usize]
            }
            2 => drop(bytes.drain(range)),
            3 => drop(bytes.splice(from..from, bytes[range].to_vec())),
            4 => {
                let (begin, end) = (place(other.len(), dice), place(other.len(), dice));
                drop(bytes.splice(range, other[begin.min(end)..begin.max(end)].iter().copied()));
            }
            _ => bytes.insert(from, dice.below(256) as u8),
        }
    }
    bytes
}

#[test]
fn the_corpus_is_small_and_every_target_has_one_and_a_program() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let programs: BTreeSet<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/")?.strip_suffix(".rs\"")).collect();
    assert_eq!(programs, TARGETS.iter().map(|(name, _)| *name).collect());
    for name in programs {
        let program = fs::read_to_string(fuzz().join(format!("targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("targets::{name}(bytes)")), "{name} fuzzes something else");
    }
    let corpora = fs::read_dir(fuzz().join("corpus")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(corpora.collect::<BTreeSet<_>>(), TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    let all: Vec<_> = TARGETS.iter().map(|(name, _)| inputs(name)).collect();
    assert!(all.iter().all(|inputs| !inputs.is_empty()));
    let (count, size) = all.iter().flatten().fold((0, 0), |(count, size), (_, bytes)| (count + 1, size + bytes.len()));
    assert!(count <= 300 && size <= 300_000, "{count} inputs of {size} bytes: keep fewer");
}
