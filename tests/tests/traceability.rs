//! Keeps `docs/traceability.md` true: every ID has a row, every row says something, every test it names exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A row of the table: `| ID | what holds | test |`.
#[derive(Debug)]
struct Row {
    id: String,
    what: String,
    test: String,
}

impl Row {
    /// The tests it names, which are the texts in backticks.
    fn tests(&self) -> impl Iterator<Item = &str> {
        self.test.split('`').skip(1).step_by(2)
    }

    /// What it says besides the names of tests.
    fn words(&self) -> String {
        let words: String = self.test.split('`').step_by(2).collect();
        words.trim_matches([',', ';', ' ']).to_owned()
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn rows() -> Vec<Row> {
    let path = workspace().join("docs/traceability.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ID |") && !line.starts_with("|---"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [id, what, test] = cells[..] else { panic!("a row has three cells: {line}") };
            Row { id: id.to_owned(), what: what.to_owned(), test: test.to_owned() }
        })
        .collect()
}

/// Where tests are: the folder, the name its paths begin with, and whether its files are programs of their own.
const SOURCES: &[(&str, &str)] =
    &[("tests/tests", ""), ("ui-tests/tests", ""), ("runtime/src", "cloakroom"), ("macros/src", "macros")];

/// Every test of the workspace, as `binary::path::name`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut makers = Makers::new();
    // Twice, since a macro may stand in a file that is read after those that call it.
    for _ in 0..2 {
        for (folder, root) in SOURCES {
            visit(&workspace().join(folder), root, &mut makers, &mut found);
        }
    }
    found
}

/// Macros that make tests of the names they are given, with the modules they put them in.
type Makers = BTreeMap<String, BTreeSet<String>>;

fn visit(folder: &Path, module: &str, makers: &mut Makers, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder can be read").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("names are text").to_owned();
        if path.is_dir() {
            visit(&path, &join(module, &stem), makers, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let own = if ["main", "lib", "mod"].contains(&&*stem) { module.to_owned() } else { join(module, &stem) };
            scan(&fs::read_to_string(&path).expect("sources are text"), &own, makers, found);
            // The cases of trybuild are files, and known by their names.
            if module.starts_with("fail") || module.starts_with("pass") {
                found.insert(join("ui", &own));
            }
        }
    }
}

fn join(module: &str, name: &str) -> String {
    if name.is_empty() {
        module.to_owned()
    } else if module.is_empty() {
        name.to_owned()
    } else {
        format!("{module}::{name}")
    }
}

/// Adds the tests of a file that is formatted by rustfmt, so that a module ends where its indentation does.
fn scan(text: &str, module: &str, makers: &mut Makers, found: &mut BTreeSet<String>) {
    let mut modules: Vec<(usize, &str)> = Vec::new();
    let mut is_test = false;
    let (mut maker, mut made_by) = ("", None);
    // `on_engines!` lists its modules, `name: Engine`, and then the tests that each of them has.
    let (mut engines, mut on_engines) = (Vec::new(), false);
    for line in text.lines() {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        if on_engines {
            on_engines = line != "}";
            if code.contains(": ") {
                let words: Vec<&str> = identifiers(code).collect();
                engines.extend(
                    words.windows(2).filter(|pair| pair[1].starts_with(char::is_uppercase)).map(|pair| join(module, pair[0])),
                );
            } else {
                for (home, test) in engines.iter().flat_map(|home| identifiers(code).map(move |test| (home, test))) {
                    found.insert(join(home, test));
                }
            }
        } else if code.starts_with("on_engines! {") {
            on_engines = true;
            engines.clear();
        } else if let Some(name) = made_by {
            if code.starts_with(['}', ')']) {
                made_by = None;
            }
            for (home, test) in makers[name].iter().flat_map(|home| identifiers(code).map(move |test| (home, test))) {
                found.insert(join(&join(module, home), test));
            }
        } else if code.starts_with('}') && modules.last().is_some_and(|(at, _)| *at == indentation) {
            modules.pop();
        } else if let Some((_, name)) = code.strip_suffix(" {").and_then(|head| head.rsplit_once("mod ")) {
            modules.push((indentation, name));
        } else if let Some(name) = code.strip_prefix("macro_rules! ").and_then(|rest| rest.strip_suffix(" {")) {
            maker = name;
        } else if let Some((name, _)) = code.split_once('!').filter(|(name, _)| makers.contains_key(*name)) {
            made_by = Some(name);
        } else if code.contains("#[test]") || code.contains("#[tokio::test") {
            is_test = true;
        } else if let (true, Some((_, rest))) = (is_test, code.split_once("fn ")) {
            let home = modules.iter().fold(String::new(), |path, (_, inner)| join(&path, inner));
            match identifiers(rest).next() {
                Some(_) if rest.starts_with('$') => drop(makers.entry(maker.to_owned()).or_default().insert(home)),
                Some(name) => drop(found.insert(join(&join(module, &home), name))),
                None => {}
            }
            is_test = false;
        }
    }
}

fn identifiers(code: &str) -> impl Iterator<Item = &str> {
    code.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|word| !word.is_empty())
}

fn numbered(prefix: &str, count: u32) -> impl Iterator<Item = String> {
    (1..=count).map(move |number| format!("{prefix}{number}"))
}

#[test]
fn every_id_has_exactly_one_row_that_says_what_holds() {
    let rows = rows();
    let mut seen = BTreeMap::<&str, usize>::new();
    for row in &rows {
        *seen.entry(&row.id).or_default() += 1;
        assert!(!row.id.is_empty() && !row.what.is_empty() && !row.test.is_empty(), "an empty cell: {row:?}");
    }
    let twice: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "more than one row: {twice:?}");
    let expected = [("P", 65), ("D", 25), ("R", 17), ("F", 16), ("schema P", 13), ("SM-", 25), ("CS-", 9), ("CK-", 14)];
    let missing: Vec<String> =
        expected.iter().flat_map(|(prefix, count)| numbered(prefix, *count)).filter(|id| !seen.contains_key(&**id)).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

#[test]
fn every_test_that_the_table_names_exists() {
    let tests = tests();
    assert!(tests.len() > 150, "the sources were not found: {tests:?}");
    let missing: Vec<String> = rows()
        .iter()
        .flat_map(|row| row.tests().map(|name| (row.id.clone(), name.to_owned())).collect::<Vec<_>>())
        .filter(|(_, name)| !tests.contains(name))
        .map(|(id, name)| format!("{id}: {name}"))
        .collect();
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
}

#[test]
fn a_row_without_a_test_says_why() {
    for row in rows() {
        let words = row.words();
        let reason = ["not yet", "deliberately different: ", "not ours: "].iter().any(|start| words.starts_with(start));
        if row.tests().next().is_none() {
            assert!(reason, "{}: a test, `not yet`, `deliberately different: ..` or `not ours: ..`, not {words:?}", row.id);
        } else {
            assert!(
                words.is_empty() || words.chars().all(|it| ", ".contains(it)) || reason_within(&words),
                "{}: {words:?}",
                row.id
            );
        }
    }
}

/// Words beside tests say what is left.
fn reason_within(words: &str) -> bool {
    ["not yet", "deliberately different: "].iter().any(|start| words.contains(start))
}

#[test]
fn no_line_of_the_parity_list_waits() {
    for row in rows().iter().filter(|row| row.id[1..].parse::<u32>().is_ok() && row.id.starts_with(['P', 'D'])) {
        assert!(row.tests().next().is_some() || !row.words().starts_with("not yet"), "{} has no test", row.id);
    }
}
