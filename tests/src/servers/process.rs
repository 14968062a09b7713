//! One server process: started, watched, stopped, paused, and never left behind.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Between two looks at something that is about to happen.
const MOMENT: Duration = Duration::from_millis(5);

/// Who a server runs as, where it is not whoever runs the tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The first of these users that there is, for servers that refuse to run as root; nobody else where the tests do not run as root.
    pub(super) fn instead_of_root(names: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |name: &str| {
            users.lines().find_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
                [it, _, uid, gid, ..] if it == name => Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? }),
                _ => None,
            })
        };
        let user = names.iter().find_map(|name| find(name));
        assert!(user.is_some(), "the server refuses to run as root, and there is no user of these names: {names:?}");
        user
    }

    /// Makes a file or folder this user's.
    pub(super) fn owns(user: Option<Self>, path: &Path) {
        if let Some(Self { uid, gid }) = user {
            chown(path, Some(uid), Some(gid)).expect("root gives files away");
        }
    }

    /// A command that this user runs.
    pub(super) fn command(user: Option<Self>, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(Self { uid, gid }) = user {
            // What the user must not read, it should not look for.
            command.uid(uid).gid(gid).env("HOME", "/");
        }
        command
    }
}

/// How to run a server.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) user: Option<User>,
    /// Asks for an orderly end.
    pub(super) stop: Signal,
    /// Ends it as fast as it can without leaving anything of the kernel's behind.
    pub(super) end: Signal,
}

impl Launch {
    pub(super) fn push(&mut self, args: impl IntoIterator<Item = impl Into<OsString>>) {
        self.args.extend(args.into_iter().map(Into::into));
    }
}

/// A server in a folder of its own, running or not.
pub struct Daemon {
    launch: Launch,
    folder: TempDir,
    running: Mutex<Option<Running>>,
}

struct Running {
    child: Child,
    paused: Vec<Pid>,
    _watchdog: Watchdog,
}

impl Daemon {
    /// A server that has been told to run; [`until`](Self::until) waits for it.
    pub(super) fn start(launch: Launch, folder: TempDir) -> Self {
        let daemon = Self { launch, folder, running: Mutex::new(None) };
        daemon.start_again();
        daemon
    }

    pub(super) fn start_again(&self) {
        let mut running = self.running();
        assert!(running.is_none(), "{} runs already", self.launch.program.display());
        let log = File::options().append(true).create(true).open(self.log()).expect("the log can be written");
        let child = User::command(self.launch.user, &self.launch.program)
            .args(&self.launch.args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file has a second handle"))
            .stderr(log)
            // What is sent to the group of the tests, such as an interrupt, is ours to handle, not the server's.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.launch.program.display()));
        let watchdog = Watchdog::over(&[pid(&child)], self.launch.end, self.folder.path());
        *running = Some(Running { child, paused: Vec::new(), _watchdog: watchdog });
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until something about the running server holds.
    pub(super) async fn until<F: Future<Output = bool> + Send>(&self, what: &str, holds: impl Fn() -> F) {
        let start = Instant::now();
        while !holds().await {
            if let Some(status) = self.ended() {
                panic!("{} ended ({status}) instead of: {what}\n{}", self.launch.program.display(), self.end_of_log());
            }
            if start.elapsed() > PATIENCE {
                panic!("{}: waited {PATIENCE:?} in vain for: {what}\n{}", self.launch.program.display(), self.end_of_log());
            }
            tokio::time::sleep(MOMENT).await;
        }
    }

    /// The process, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.running().as_ref().map(|it| it.child.id())
    }

    /// SIGKILL to every process of the server at once, as a loss of power would.
    pub(super) fn kill(&self) {
        if let Some(mut running) = self.running().take() {
            // Children that outlive the parent for a moment would notice, and tidy up, or write into a folder that is being removed.
            let family = freeze(pid(&running.child));
            for pid in family.iter().rev() {
                let _ = kill_process(*pid, Signal::KILL);
            }
            let _ = running.child.wait();
            within(PATIENCE, || family.iter().all(|pid| state(*pid).is_none()));
        }
    }

    /// An orderly end, waited for.
    pub(super) async fn stop(&self) {
        self.resume();
        if let Some(running) = &*self.running() {
            let _ = kill_process(pid(&running.child), self.launch.stop);
        }
        let start = Instant::now();
        while self.id().is_some() && self.ended().is_none() {
            assert!(start.elapsed() < PATIENCE, "{} does not stop\n{}", self.launch.program.display(), self.end_of_log());
            tokio::time::sleep(MOMENT).await;
        }
        *self.running() = None;
    }

    /// SIGSTOP to every process of the server: connections stay, answers do not come.
    pub(super) fn pause(&self) {
        if let Some(running) = &mut *self.running() {
            running.paused = freeze(pid(&running.child));
            // A stopped child does not notice that its parent is gone.
            running._watchdog = Watchdog::over(&running.paused, self.launch.end, self.folder.path());
        }
    }

    pub(super) fn resume(&self) {
        if let Some(running) = &mut *self.running()
            && !running.paused.is_empty()
        {
            for pid in running.paused.drain(..).rev() {
                let _ = kill_process(pid, Signal::CONT);
            }
            running._watchdog = Watchdog::over(&[pid(&running.child)], self.launch.end, self.folder.path());
        }
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.running().as_mut()?.child.try_wait().expect("a child can be waited for")
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        // A test that failed while it held the lock still wants its server stopped.
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn end_of_log(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.launch.end == Signal::KILL {
            return self.kill();
        }
        self.resume();
        if let Some(mut running) = self.running().take() {
            let _ = kill_process(pid(&running.child), self.launch.end);
            if !within(Duration::from_secs(5), || !matches!(running.child.try_wait(), Ok(None))) {
                let _ = running.child.kill();
                let _ = running.child.wait();
            }
        }
    }
}

/// Ends a server and removes its folder if the test cannot, because it was killed itself.
///
/// A shell that reads from a pipe of which only the test has the other end: the kernel closes it however the test ends.
struct Watchdog(Child);

impl Watchdog {
    const SCRIPT: &str = r#"
        signal=$1 folder=$2; shift 2
        read -r _
        kill "-$signal" "$@"
        kill -CONT "$@"
        tries=0
        while kill -0 "$@" && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
        kill -KILL "$@"
        rm -rf "$folder"
    "#;

    fn over(pids: &[Pid], signal: Signal, folder: &Path) -> Self {
        let child = Command::new("sh")
            .args(["-c", Self::SCRIPT, "watchdog"])
            .arg(signal.as_raw().to_string())
            .arg(folder)
            .args(pids.iter().map(|pid| pid.as_raw_nonzero().to_string()))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A runner that gives up on a test kills its whole group.
            .process_group(0)
            .spawn()
            .expect("there is a shell");
        Self(child)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Stops a process and its children where they are, the parent first, so that it makes no more of them.
fn freeze(parent: Pid) -> Vec<Pid> {
    let mut family = vec![parent];
    let stop = |pid: Pid| {
        let _ = kill_process(pid, Signal::STOP);
        within(PATIENCE, || state(pid).is_none_or(|(state, _)| state == 'T'));
    };
    stop(parent);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
            && state(child).is_some_and(|(_, its)| its == parent.as_raw_nonzero().get())
        {
            stop(child);
            family.push(child);
        }
    }
    family
}

/// The state of a process and the id of its parent; nothing for one that is dead, reaped or not.
fn state(pid: Pid) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is the program's name in parentheses, which may hold anything.
    let mut rest = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = rest.next()?.chars().next()?;
    let parent = rest.next()?.parse().ok()?;
    (!matches!(state, 'Z' | 'X')).then_some((state, parent))
}

fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}
