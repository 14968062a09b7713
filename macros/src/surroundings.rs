//! What a derive knows of the compilation it is part of: which crate, which of its targets, and whether changes are being recorded.

use std::{
    collections::HashSet,
    env, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Where schema locks are, in a crate.
pub(crate) const FOLDER: &str = "session-schema";

/// Where a derive is expanded.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The crate's folder, if there is one and locks count here.
    folder: Option<PathBuf>,
    target: Target,
    pub(crate) mode: Mode,
}

/// What is being compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Target {
    /// The library or a program: their structs are what is deployed.
    #[default]
    Product,
    /// An example, a benchmark or an integration test: a struct there only happens to have the name of another.
    Beside,
    /// An example in the documentation.
    Doctest,
}

/// What is done with a schema that differs from its lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is refused.
    #[default]
    Check,
    /// It is recorded, if the struct says what changed.
    Accept,
    /// Nobody knows: this is what `SESSION_SCHEMA` was set to.
    Unknown(String),
}

impl Surroundings {
    /// What the environment says, as cargo and rustdoc set it.
    pub(crate) fn of_this_compilation() -> Self {
        let folder = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let mode = match env::var("SESSION_SCHEMA") {
            Ok(word) if word == "accept" => Mode::Accept,
            Ok(word) if !word.is_empty() => Mode::Unknown(word),
            _ => Mode::Check,
        };
        let file = proc_macro::Span::call_site().local_file();
        Self { target: target(folder.as_deref(), file.as_deref()), folder, mode }
    }

    #[cfg(test)]
    pub(crate) fn of_a_library(folder: &Path, mode: Mode) -> Self {
        Self { folder: Some(folder.to_owned()), target: Target::Product, mode }
    }

    /// Where a lock of this name is; `None` where locks do not count. Outside of the library and the programs they do if they are named.
    pub(crate) fn lock(&self, name: &str, is_named: bool) -> Option<PathBuf> {
        match self.target {
            Target::Product => {}
            Target::Beside if is_named => {}
            Target::Beside | Target::Doctest => return None,
        }
        Some(self.folder.as_ref()?.join(FOLDER).join(name))
    }
}

/// The text of a file, if it exists. It is small and read once per compilation, so nothing is kept that could grow stale in the
/// long-lived process of an editor.
pub(crate) fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this is the first struct of the crate that records itself in that file.
pub(crate) fn claim(path: &Path) -> bool {
    // A compiler is one process per crate and target; an editor's, which is not, never records anything.
    static CLAIMED: Mutex<Option<HashSet<PathBuf>>> = Mutex::new(None);
    match CLAIMED.lock() {
        Ok(mut claimed) => claimed.get_or_insert_default().insert(path.to_owned()),
        Err(_) => true,
    }
}

fn target(folder: Option<&Path>, file: Option<&Path>) -> Target {
    // rustdoc compiles the examples of one crate together, from a file of this name, or one by one, and says so.
    let bundled = file.and_then(Path::file_name).is_some_and(|name| name.to_string_lossy().starts_with("doctest_bundle"));
    if bundled || env::var_os("UNSTABLE_RUSTDOC_TEST_PATH").is_some() {
        return Target::Doctest;
    }
    // Set for integration tests and benchmarks only, though not by every editor.
    if env::var_os("CARGO_TARGET_TMPDIR").is_some() {
        return Target::Beside;
    }
    match (folder, file) {
        (Some(folder), Some(file)) if is_beside(folder, file) => Target::Beside,
        _ => Target::Product,
    }
}

/// Whether a file, named as seen from where the compiler was started, is in a folder where cargo looks for targets that nobody deploys.
fn is_beside(folder: &Path, file: &Path) -> bool {
    let file = env::current_dir().map_or_else(|_| file.to_owned(), |here| here.join(file));
    let beside = ["examples", "tests", "benches"];
    file.strip_prefix(folder).is_ok_and(|inside| beside.iter().any(|name| inside.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_deploys_is_told_by_its_folder() {
        let folder = Path::new("/crate");
        for file in ["/crate/examples/shop.rs", "/crate/tests/shop/main.rs", "/crate/benches/shop.rs"] {
            assert!(is_beside(folder, Path::new(file)), "{file}");
        }
        for file in ["/crate/src/lib.rs", "/crate/src/tests/mod.rs", "/crate/tests.rs", "/other/tests/shop.rs"] {
            assert!(!is_beside(folder, Path::new(file)), "{file}");
        }
    }
}
