//! Commits of client-side records: the record is changed in the request and sealed into its cookie.

use super::{
    access::Access,
    commit::Step,
    plan::Plan,
    reply::Reply,
    slot::{Head, Slot},
};
use crate::{
    config::Config,
    error::SessionError,
    record::{CommitOutcome, Record},
    store::CookieStore,
    token::Token,
};

/// Carries out a plan in the request itself, and seals the outcome.
pub(super) fn apply(slot: &Slot, config: &Config, store: &CookieStore, plan: Plan) -> Result<Step, SessionError> {
    let seal = |token: &Token, record: &Record| store.seal(config.cookie.name(), token, record);
    match plan {
        Plan::Nothing => return Ok(Step::Done),
        Plan::Delete(_) => {
            slot.change(Access::deleted);
            return Ok(Step::More);
        }
        Plan::Create(new) => {
            let sealed = seal(&new.token, &new.record)?;
            slot.change(|access| {
                access.created(*new, Head::Open);
                access.reply = Reply::Sealed(sealed);
            });
        }
        Plan::Commit(commit) => {
            let apply = |access: &mut Access| {
                let Some(live) = access.live() else { return Ok(()) };
                let mut record = Record::clone(&live.record);
                // Nobody else has this copy, so there is nothing to conflict with.
                let CommitOutcome::Committed { revision, rotated } = record.apply(&commit.patch) else {
                    access.end();
                    return Err(SessionError::Gone);
                };
                let sealed = seal(commit.next.as_ref().unwrap_or(&live.token), &record)?;
                access.committed(*commit, revision, rotated, slot.head());
                access.reply = Reply::Sealed(sealed);
                Ok(())
            };
            slot.with_access(apply).transpose()?;
        }
    }
    Ok(Step::Done)
}
