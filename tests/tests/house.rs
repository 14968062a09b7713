//! The rules of the house that a program can check: the size of the tree, its Rust version, and what every file begins with.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An application of axum and perhaps cloakroom, with the versions of our lock file.
struct Application(tempfile::TempDir);

impl Application {
    fn new(cloakroom: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ours = cloakroom.map(|options| format!("cloakroom = {{ path = {:?}{options} }}\n", root().join("runtime")));
        let manifest = format!(
            "[package]\nname = \"application\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\naxum = \"0.8\"\n{}",
            ours.unwrap_or_default()
        );
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/lib.rs"), "").unwrap();
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        Self(folder)
    }

    fn cargo(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO")).args(arguments).arg("--offline").current_dir(self.0.path()).output().unwrap();
        assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it is compiled from, itself left out.
    fn crates(&self) -> BTreeSet<String> {
        let tree = self.cargo(&["tree", "--edges", "normal", "--prefix", "none", "--no-dedupe"]);
        let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        tree.lines().skip(1).map(name_and_version).collect()
    }
}

#[test]
fn the_tree_with_axum_has_at_most_65_crates_when_small_and_82_by_default() {
    let axum = Application::new(None).crates();
    for (options, most) in [(", default-features = false, features = [\"memory\"]", 65), ("", 82)] {
        let with = Application::new(Some(options)).crates();
        let added: Vec<_> = with.difference(&axum).collect();
        assert!(
            with.len() <= most,
            "{} crates, at most {most}; axum has {}, these are ours: {added:?}",
            with.len(),
            axum.len()
        );
    }
}

/// `1.88` and `1.88.0` as a pair of numbers.
fn version(text: &str) -> (u64, u64) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0))
}

#[test]
fn no_dependency_asks_for_a_newer_rust_than_we_promise() {
    let manifest = root().join("runtime/Cargo.toml");
    let ours = Application::new(None).cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--manifest-path",
        manifest.to_str().unwrap(),
    ]);
    let ours: Value = serde_json::from_str(&ours).unwrap();
    let ours = ours["packages"].as_array().unwrap().iter().find(|package| package["name"] == "cloakroom").unwrap();
    let features: Vec<&String> = ours["features"].as_object().unwrap().keys().collect();
    let application = Application::new(Some(&format!(", features = {features:?}")));
    let host = String::from_utf8(Command::new("rustc").args(["--print", "host-tuple"]).output().unwrap().stdout).unwrap();
    let metadata = application.cargo(&["metadata", "--format-version", "1", "--filter-platform", host.trim()]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages: HashMap<&str, &Value> =
        metadata["packages"].as_array().unwrap().iter().map(|package| (package["id"].as_str().unwrap(), package)).collect();
    let nodes: HashMap<&str, &Value> =
        metadata["resolve"]["nodes"].as_array().unwrap().iter().map(|node| (node["id"].as_str().unwrap(), node)).collect();

    let ours = packages.values().find(|package| package["name"] == "cloakroom").unwrap();
    let promise = version(ours["rust_version"].as_str().unwrap());
    let (mut pending, mut seen, mut newer) = (vec![ours["id"].as_str().unwrap()], BTreeSet::new(), Vec::new());
    while let Some(id) = pending.pop() {
        if !seen.insert(id) {
            continue;
        }
        let package = packages[id];
        if package["rust_version"].as_str().is_some_and(|asks| version(asks) > promise) {
            newer.push(format!("{} {} asks for {}", package["name"], package["version"], package["rust_version"]));
        }
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            // `null` is a normal dependency.
            if dependency["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()) {
                pending.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    assert!(seen.len() > 30, "the walk over the tree went wrong: {seen:?}");
    assert!(newer.is_empty(), "our rust-version is {promise:?}, but {newer:?}");
}

/// An event: its level, its name and its fields.
type Emitted = (String, String, BTreeSet<String>);

fn events_of_the_code() -> BTreeSet<Emitted> {
    let source = read("runtime/src/events.rs");
    let words = source.lines().filter(|line| !line.starts_with("//")).flat_map(str::split_whitespace);
    let source = words.collect::<Vec<_>>().join(" ").replace("emit!( ", "emit!(");
    let emitted = source.split(" emit!(").skip(1).map(|call| {
        let (level, rest) = call.split_once(", \"").unwrap();
        let (name, rest) = rest.split_once("\", { ").unwrap();
        let fields = rest.split_once(" }").unwrap().0.split(", ").map(|field| field.split_once(" = ").unwrap().0.to_owned());
        (level.to_owned(), name.to_owned(), fields.collect())
    });
    emitted.collect()
}

fn events_of_the_documentation() -> BTreeSet<Emitted> {
    let documentation = read("docs/operating.md");
    let table = documentation.split("\n## Events\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `session."));
    let listed = rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, level, fields, when, then] = cells[..] else { panic!("not five columns: {row}") };
        assert!([when, then].iter().all(|text| text.len() > 8), "it says nothing: {row}");
        let fields = fields.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (level.to_owned(), format!("session.{}", name.trim_end_matches('`')), fields)
    });
    listed.collect()
}

#[test]
fn every_event_stands_in_the_table_of_the_documentation_with_its_level_and_fields_and_no_other() {
    let emitted = events_of_the_code();
    assert!(emitted.len() >= 19, "the events were not found: {emitted:#?}");
    assert_eq!(emitted, events_of_the_documentation());
    let others: Vec<_> = tracing_calls().into_iter().filter(|path| !path.ends_with("runtime/src/events.rs")).collect();
    assert!(others.is_empty(), "events are emitted in events.rs alone, but also in {others:?}");
}

fn tracing_calls() -> Vec<PathBuf> {
    let mut files = Vec::new();
    rust_files(&root().join("runtime/src"), &mut files);
    // Tests of the library may listen.
    files.retain(|file| !file.strip_prefix(root()).is_ok_and(|path| path.iter().any(|part| part == "tests")));
    files.retain(|file| {
        let code = fs::read_to_string(file).unwrap();
        code.lines().any(|line| line.contains("tracing::") && !line.trim_start().starts_with("//"))
    });
    files
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            // Built, or written by a macro and kept for comparison.
            if entry.file_name() != "target" && entry.file_name() != "goldens" {
                rust_files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["macros", "runtime", "tests", "benches", "examples", "fuzz"].map(|folder| root().join(folder)) {
        if folder.exists() {
            rust_files(&folder, &mut files);
        }
    }
    assert!(files.len() > 50, "only {} files were found", files.len());
    files
}

#[test]
fn every_file_begins_with_a_sentence_that_says_what_it_is() {
    let files = all_rust_files();
    let sentence = |text: &str| {
        let opening: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let opening = opening.split(|line| line.is_empty()).next().unwrap_or_default().join(" ");
        opening.ends_with(['.', ':', '?'])
    };
    let mute: Vec<_> = files.iter().filter(|path| !sentence(&fs::read_to_string(path).unwrap())).collect();
    assert!(mute.is_empty(), "these files do not begin with `//!` and a sentence: {mute:#?}");
}

#[test]
fn the_readme_shows_the_quickstart_as_it_is() {
    let quickstart = read("examples/quickstart.rs");
    assert!(read("README.md").contains(&format!("```rust\n{quickstart}```\n")), "README.md and examples/quickstart.rs differ");
}

/// So it compiles, and its tests have run.
#[test]
fn the_rust_code_of_the_readme_is_code_of_an_example() {
    let examples: Vec<String> = ["quickstart", "shop", "anywhere"].map(|name| read(&format!("examples/{name}.rs"))).into();
    let readme = read("README.md");
    let blocks: Vec<&str> = readme.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 3, "only {} blocks were found", blocks.len());
    for block in blocks {
        assert!(examples.iter().any(|example| example.contains(block)), "in no example:\n{block}");
    }
}

#[test]
fn the_quickstart_is_short_and_has_no_unwrap() {
    let quickstart = read("examples/quickstart.rs");
    let trifling = |line: &&str| {
        let line = line.trim();
        line.is_empty() || line == "}" || ["//", "use ", "#["].iter().any(|start| line.starts_with(start))
    };
    let body: Vec<&str> = quickstart.lines().filter(|line| !trifling(line)).collect();
    assert!(body.len() <= 14, "{} lines are more than 14: {body:#?}", body.len());
    assert!(!quickstart.contains("unwrap") && !quickstart.contains("expect("));
}

#[test]
fn both_library_crates_forbid_unsafe_code() {
    for file in ["runtime/src/lib.rs", "macros/src/lib.rs"] {
        assert!(read(file).lines().any(|line| line == "#![forbid(unsafe_code)]"), "{file}");
    }
}

#[test]
fn no_code_is_unsafe_but_two_allocators_that_count_and_a_fork() {
    let is_unsafe = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        // In two pieces, or this file would be found.
        let mut words = code.flat_map(|line| line.split(|it: char| !it.is_alphanumeric() && it != '_'));
        words.any(|word| word == concat!("un", "safe"))
    };
    let found: BTreeSet<_> = all_rust_files().into_iter().filter(is_unsafe).collect();
    assert_eq!(
        found,
        ["benches/src/counter.rs", "tests/src/allocations.rs", "tests/src/bin/forked.rs"].map(|path| root().join(path)).into()
    );
}

#[test]
fn the_documentation_links_only_to_files_that_exist() {
    let mut documents = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned(), "CHANGELOG.md".to_owned()];
    documents.extend(
        fs::read_dir(root().join("docs")).unwrap().map(|entry| format!("docs/{}", entry.unwrap().file_name().display())),
    );
    for document in documents {
        for link in read(&document).split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let target = root().join(&document).parent().unwrap().join(link);
            assert!(
                link.is_empty() || link.contains("://") || target.exists(),
                "{document} links to {link}, which does not exist"
            );
        }
    }
}
