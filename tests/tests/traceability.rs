//! Keeps `docs/traceability.md` true: every ID has a row, every row says something, every test it names exists.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

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

/// Every ID that has a row: `P1..65` stands for P1 to P65.
const IDS: &str = "
    P1..65 D1..25 R1..17 F1..16
    A4-3.1.1 A4-3.2.1..4 A4-3.3.1..4 A4-3.4.1..5 A4-3.5.1..3 A4-3.6.1..2 A4-3.7.1
    A5-3.3.1..5 A5-3.5.1..3 A5-7.1.1..3 A5-7.2.1..4 A5-7.3.1..2 A5-7.4.1..5 A5-7.5.1..3 A5-7.6.1..2 A5-9.1.1..3 A5-9.2.1..4
    A5-11.2.4..5 A5-11.3.3..4 A5-11.5.1 A5-14.2.1 A5-14.3.1..3 A5-16.2.5 A5-16.5.2..3
    SM-1..25 CS-1..9 CK-1..14 N-1..13
    CVE-2007-5380 CVE-2007-6077 CVE-2008-0252 CVE-2011-0698 CVE-2011-4136 CVE-2012-3458 CVE-2013-0263 CVE-2015-5143
    CVE-2015-5963 CVE-2015-5964 CVE-2015-8124 CVE-2015-8125 CVE-2015-8566 CVE-2016-11072 CVE-2016-3171 CVE-2016-4423
    CVE-2017-14775 CVE-2018-1000519 CVE-2018-1000539 CVE-2018-1000814 CVE-2018-11385 CVE-2018-11386 CVE-2018-12071
    CVE-2019-10641 CVE-2019-10911 CVE-2019-16782 CVE-2019-25025 CVE-2020-15105 CVE-2020-26228 CVE-2020-35681 CVE-2020-7070
    CVE-2021-21339 CVE-2021-34428 CVE-2021-41268 CVE-2022-23502 CVE-2022-24444 CVE-2022-24894 CVE-2022-31050 CVE-2022-31629
    CVE-2022-36032 CVE-2022-38054 CVE-2022-39284 CVE-2022-46170 CVE-2023-20862 CVE-2023-20866 CVE-2023-23934 CVE-2023-28708
    CVE-2023-30861 CVE-2023-40273 CVE-2023-46733 CVE-2023-47127 CVE-2023-48309 CVE-2024-28197 CVE-2024-31999 CVE-2024-35220
    CVE-2024-38513 CVE-2024-51996 CVE-2025-32441 CVE-2025-40923 CVE-2025-40924 CVE-2025-40926 CVE-2025-46336 CVE-2025-46344
    CVE-2025-47275 CVE-2025-47278 CVE-2025-48947 CVE-2025-54887 CVE-2025-61686 CVE-2025-66630 CVE-2026-24894 CVE-2026-25899
    CVE-2026-27205 CVE-2026-30224 CVE-2026-3256 CVE-2026-34454 CVE-2026-39324 CVE-2026-40303 CVE-2026-44511 CVE-2026-48058
    CVE-2026-53603 CVE-2026-56750 CVE-2026-67430 GHSA-xg6x-h9c9-2m83 GO-2024-2730 RUSTSEC-2017-0005 ZF2015-01 forem#10169
    matomo#14026 zulip#10151
";

/// IDs of more than one word.
const WORDS: &[&str] = &["quoted values", "header injection", "cookie tossing"];

fn expected() -> BTreeSet<String> {
    let listed = IDS.split_whitespace().flat_map(|id| match id.split_once("..") {
        Some((first, last)) => between(first, last),
        None => vec![id.to_owned()],
    });
    listed.chain(between("schema P1", "13")).chain(WORDS.iter().map(|id| (*id).to_owned())).collect()
}

/// From an ID to the one with another last number.
fn between(first: &str, last: &str) -> Vec<String> {
    let prefix = first.trim_end_matches(|it: char| it.is_ascii_digit());
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{first} to {last} are no numbers"));
    (number(&first[prefix.len()..])..=number(last)).map(|number| format!("{prefix}{number}")).collect()
}

/// The IDs of a row: `A5-7.5.1 (2), 7.5.3 (3)` are A5-7.5.1 and A5-7.5.3, `A4-3.6.1-2` are A4-3.6.1 and A4-3.6.2.
fn ids(row: &Row) -> Vec<String> {
    let mut text = row.id.clone();
    while let Some((before, rest)) = text.split_once(" (") {
        let (_, after) = rest.split_once(')').unwrap_or_else(|| panic!("a bracket is open: {}", row.id));
        text = format!("{before}{after}");
    }
    let family = text.split_once('-').map(|(family, _)| format!("{family}-")).unwrap_or_default();
    let whole =
        text.split(", ").map(|id| if id.starts_with(char::is_numeric) { format!("{family}{id}") } else { id.to_owned() });
    whole
        .flat_map(|id| match id.rsplit_once('-') {
            // The number of a requirement, and how far it goes.
            Some((first, last)) if first.contains('.') => between(first, last),
            _ => vec![id],
        })
        .collect()
}

#[test]
fn every_id_has_exactly_one_row_that_says_what_holds() {
    let mut seen = BTreeSet::new();
    for row in rows() {
        assert!(!row.id.is_empty() && !row.what.is_empty() && !row.test.is_empty(), "an empty cell: {row:?}");
        for id in ids(&row) {
            assert!(seen.insert(id.clone()), "more than one row for {id}");
        }
    }
    let expected = expected();
    let missing: Vec<_> = expected.difference(&seen).collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
    let unknown: Vec<_> = seen.difference(&expected).collect();
    assert!(unknown.is_empty(), "the list of this test lacks {unknown:?}");
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

/// Words beside tests say what is left, or what no test can see.
fn reason_within(words: &str) -> bool {
    ["not yet", "deliberately different: ", "judged by reading: "].iter().any(|start| words.contains(start))
}

#[test]
fn no_line_of_the_parity_list_waits() {
    for row in rows().iter().filter(|row| row.id[1..].parse::<u32>().is_ok() && row.id.starts_with(['P', 'D'])) {
        assert!(row.tests().next().is_some() || !row.words().starts_with("not yet"), "{} has no test", row.id);
    }
}
