//! The empty database of an engine, made once per build folder and copied for every test.

use super::process::User;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A folder for one server, which its user may enter.
pub(super) fn folder(user: Option<User>) -> TempDir {
    let folder = tempfile::Builder::new().prefix("cloakroom-").tempdir().expect("a temporary folder");
    User::owns(user, folder.path());
    folder
}

/// A folder for one server, with a copy of what `make` makes in it under `data`.
///
/// `engine` names the engine's kind, and `recipe` everything that what is made depends on.
pub(super) async fn copied(
    engine: &'static str,
    recipe: String,
    user: Option<User>,
    make: impl FnOnce(&Path) + Send + 'static,
) -> TempDir {
    let copy = move || {
        let template = template(engine, &recipe, user, make).expect("a template can be stored");
        let folder = folder(user);
        copy(&template, &folder.path().join("data"), user).expect("a template can be copied");
        folder
    };
    tokio::task::spawn_blocking(copy).await.expect("copying does not panic")
}

fn template(engine: &str, recipe: &str, user: Option<User>, make: impl FnOnce(&Path)) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let home = home();
    fs::create_dir_all(&home)?;
    let template = home.join(format!("{engine}-{:016x}", hasher.finish()));
    let lock = File::create(template.with_extension("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if !template.is_dir() {
        // Made elsewhere, because the engine's user may not be able to enter the build folder.
        let workshop = folder(user);
        make(&workshop.path().join("data"));
        let unfinished = template.with_extension("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        copy(&workshop.path().join("data"), &unfinished, None)?;
        fs::rename(unfinished, &template)?;
    }
    Ok(template)
}

/// Where templates are kept: in the build folder, beside the folder of the tests' programs, so that cleaning it cleans them.
fn home() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it is");
    program.ancestors().nth(2).expect("tests do not run in the root folder").join("servers")
}

fn copy(from: &Path, to: &Path, user: Option<User>) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    User::owns(user, to);
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy(&from, &to, user)?;
        } else {
            fs::copy(from, &to)?;
            User::owns(user, &to);
        }
    }
    Ok(())
}

/// Runs a tool to its end and answers what it said.
pub(super) fn run(command: &mut Command, input: &str) -> String {
    use std::io::Write as _;
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // A tool that ends early says why on its other channel.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("a child can be waited for");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed: {}\n{out}{err}", output.status);
    format!("{out}{err}")
}

/// The contents of every file under a folder, one after the other.
pub(super) fn contents(folder: &Path) -> Vec<u8> {
    fn collect(folder: &Path, into: &mut Vec<u8>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, into);
            } else {
                // A running server may remove a file while we look.
                into.extend(fs::read(path).unwrap_or_default());
            }
        }
    }
    let mut all = Vec::new();
    collect(folder, &mut all);
    all
}
