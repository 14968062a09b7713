//! Changes to the session that are not fields, each with the handle that gave it.

use super::changes::{Committer, Discard, HandleId, How};
use std::sync::Arc;

/// What commands come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Commands {
    pub(super) rotate: bool,
    /// The owner has proved again who they are.
    pub(super) reauthenticated: bool,
    /// The record shall be there, whatever is in it.
    pub(super) exist: bool,
    pub(super) persistent: Option<bool>,
    pub(super) label: Option<Option<Arc<str>>>,
}

impl Commands {
    fn is_empty(&self) -> bool {
        !self.rotate && !self.reauthenticated && !self.exist && self.persistent.is_none() && self.label.is_none()
    }

    /// Adds later ones.
    fn add(&mut self, later: &Self) {
        self.rotate |= later.rotate;
        self.reauthenticated |= later.reauthenticated;
        self.exist |= later.exist;
        self.persistent = later.persistent.or(self.persistent);
        if let Some(label) = &later.label {
            self.label = Some(label.clone());
        }
    }
}

/// The commands of one handle.
#[derive(Debug)]
struct Given {
    by: HandleId,
    how: How,
    in_commit: bool,
    commands: Commands,
}

/// The commands of a request that no commit has carried out. They go with commits as staged changes do.
#[derive(Debug, Default)]
pub(super) struct GivenCommands {
    given: Vec<Given>,
    /// What they come to; while a commit is planned, those that it takes.
    all: Commands,
}

impl GivenCommands {
    pub(super) fn get(&self) -> &Commands {
        &self.all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn give(&mut self, by: HandleId, give: impl FnOnce(&mut Commands)) {
        let is_open = |given: &Given| given.by == by && given.how == How::CheckedIn && !given.in_commit;
        let at = self.given.iter().position(is_open).unwrap_or_else(|| {
            self.given.push(Given { by, how: How::CheckedIn, in_commit: false, commands: Commands::default() });
            self.given.len() - 1
        });
        give(&mut self.given[at].commands);
        self.gather();
    }

    fn gather(&mut self) {
        self.given.retain(|given| !given.commands.is_empty());
        self.all = Commands::default();
        for given in &self.given {
            self.all.add(&given.commands);
        }
    }

    pub(super) fn begin_plan(&mut self, committer: Committer) {
        self.all = Commands::default();
        for given in &mut self.given {
            given.in_commit = committer.takes(given.by, given.how);
            if given.in_commit {
                self.all.add(&given.commands);
            }
        }
    }

    /// The commit is planned. Without one, nothing is in it.
    pub(super) fn end_plan(&mut self, planned: bool) {
        if !planned {
            self.return_from_commit();
        }
        self.gather();
    }

    pub(super) fn return_from_commit(&mut self) {
        self.given.iter_mut().for_each(|given| given.in_commit = false);
    }

    /// After the head only a label can be set: the others need a cookie. The socket goes on without what it cannot have.
    pub(super) fn keep_labels(&mut self) {
        for given in self.given.iter_mut().filter(|given| given.in_commit) {
            given.commands = Commands { label: given.commands.label.take(), ..Commands::default() };
        }
    }

    /// The commit has happened.
    pub(super) fn carried_out(&mut self) {
        self.given.retain(|given| !given.in_commit);
        self.gather();
    }

    /// A proof was for the owner that the changes beside it name. Without them it would be another owner's.
    pub(super) fn forget_proof(&mut self) {
        self.given.iter_mut().for_each(|given| given.commands.reauthenticated = false);
        self.gather();
    }

    fn change(&mut self, by: HandleId, from: How, to: How) {
        for given in self.given.iter_mut().filter(|given| given.by == by && given.how == from) {
            given.how = to;
        }
    }

    pub(super) fn begin_save(&mut self, by: HandleId) {
        self.change(by, How::CheckedIn, How::Saving);
        self.change(by, How::Held, How::Saving);
    }

    pub(super) fn end_save(&mut self, by: HandleId, failed: bool) {
        self.change(by, How::Saving, if failed { How::Held } else { How::CheckedIn });
    }

    /// A handle is dropped. Answers whether a failed save has left commands.
    pub(super) fn release(&mut self, by: HandleId) -> bool {
        let before = self.given.len();
        self.given.retain(|given| given.by != by || given.how != How::Held);
        let lost = self.given.len() != before;
        self.change(by, How::CheckedIn, How::Dropped);
        self.gather();
        lost
    }

    pub(super) fn discard(&mut self, which: Discard) {
        self.given.retain(|given| given.in_commit || !which.takes(given.how));
        self.gather();
    }

    /// Drops all of them. Answers the saves that have to hear of it, and whether there are others.
    pub(super) fn drop_all(&mut self) -> (Vec<HandleId>, bool) {
        let given = std::mem::take(&mut self.given);
        self.all = Commands::default();
        let saves = given.iter().filter(|given| given.how == How::Saving).map(|given| given.by).collect();
        (saves, given.iter().any(|given| matches!(given.how, How::Dropped | How::CheckedIn)))
    }
}
