//! The suite for server-side stores: its list of cases and how they are run.

// This is test code that happens to be public: a broken rule is a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod commits;
pub(in crate::testing) mod fixture;
mod oracle;
mod owners;
mod races;
mod records;
mod rotation;
mod sweeping;
mod touch;

use crate::store::SessionStore;
use std::{
    any::Any,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};

/// One rule of the suite, as a test over one fresh store.
///
/// ```
/// use cloakroom::{store::MemoryStore, testing::conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// for case in conformance::cases::<MemoryStore>() {
///     println!("{}", case.name());
///     case.run(MemoryStore::new()).await;
/// }
/// # }
/// ```
pub struct Case<S> {
    name: &'static str,
    run: fn(S) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<S> Case<S> {
    /// The rule as a sentence in snake case.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case over a store that holds no record.
    ///
    /// # Panics
    /// If the store breaks the rule.
    pub async fn run(&self, store: S) {
        (self.run)(store).await;
    }
}

impl<S> fmt::Debug for Case<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({})", self.name)
    }
}

macro_rules! cases {
    ($($module:ident { $($name:ident,)+ })+) => {
        /// Every case of the suite, to run them one by one: as single tests of a test runner, or only those that fail.
        ///
        /// ```
        /// use cloakroom::{store::MemoryStore, testing::conformance};
        /// let cases = conformance::cases::<MemoryStore>();
        /// assert!(cases.iter().any(|case| case.name() == "a_commit_never_creates_a_record"));
        /// ```
        pub fn cases<S: SessionStore + Clone>() -> Vec<Case<S>> {
            vec![$($(Case { name: stringify!($name), run: |store| Box::pin($module::$name(store)) },)+)+]
        }
    };
}

cases! {
    records {
        a_record_comes_back_as_it_was_created,
        every_field_of_a_header_comes_back,
        an_unknown_key_is_absent,
        create_never_replaces_a_record,
        deleting_is_idempotent_and_frees_the_key,
        records_do_not_touch_each_other,
        on_demand_cells_come_when_named_and_commit_like_any_other,
        clones_share_their_records,
    }
    commits {
        a_commit_never_creates_a_record,
        a_commit_of_another_epoch_is_gone,
        a_commit_at_or_past_a_deadline_is_gone,
        a_request_that_loaded_in_time_commits_past_the_idle_deadline,
        a_commit_can_end_a_session,
        a_commit_writes_its_cells_and_leaves_the_others,
        a_commit_without_cells_keeps_the_revision,
        guards_that_hold_let_the_commit_through,
        a_failed_guard_writes_nothing_and_returns_the_guarded_cells,
        a_tombstone_has_a_stamp_like_a_value,
        a_wipe_keeps_the_listed_cells_and_then_puts,
        rolling_never_moves_a_deadline_back,
        resetting_sets_the_deadlines_as_given,
        label_persistence_and_proof_are_set_and_cleared,
        high_revisions_and_epochs_are_counted_right,
    }
    touch {
        a_load_with_the_secret_rolls_the_idle_deadline_and_answers_the_record_before,
        a_load_with_another_secret_changes_nothing,
        a_load_at_or_past_a_deadline_revives_nothing,
        a_load_under_a_shorter_lifetime_revives_nothing,
        a_load_never_moves_a_deadline_back,
        persistent_records_roll_by_their_own_lifetime,
        the_secret_before_a_renewal_keeps_the_session_alive_for_the_grace,
        loading_with_the_renewed_secret_supersedes_the_old_one_once,
    }
    rotation {
        a_privilege_rotation_raises_the_epoch_and_revokes_the_old_secrets,
        a_write_from_before_a_privilege_rotation_is_gone,
        a_renewal_keeps_the_epoch_and_the_old_secret,
        the_second_of_two_renewals_writes_its_cells_only,
        a_commit_that_presents_the_renewed_secret_supersedes_the_old_one_once,
        a_renewal_of_a_secret_that_nobody_presented_keeps_the_one_before,
    }
    owners {
        the_owner_index_follows_the_owner,
        an_owner_has_many_sessions,
        a_refused_commit_leaves_the_owner_index_alone,
        deleting_by_owner_takes_all_but_the_spared_session,
        a_sign_out_wipes_and_leaves_the_index_in_one_commit,
    }
    sweeping {
        a_sweep_takes_expired_records_only,
        a_sweep_keeps_to_its_limit,
        a_swept_record_leaves_the_owner_index,
        a_sweep_goes_by_the_deadline_of_now,
    }
    races {
        sixteen_writers_of_different_cells_all_survive,
        guarded_increments_add_up,
        one_of_many_creates_wins,
        a_late_commit_never_resurrects_a_deleted_record,
        a_delete_among_commits_leaves_nothing,
        one_of_many_privilege_rotations_wins,
        one_of_many_renewals_wins,
        parallel_sign_ins_of_one_owner_are_all_listed,
        a_sign_in_among_revocations_is_listed_or_gone,
    }
    oracle {
        random_histories_agree_with_the_reference,
    }
}

/// Runs every case over a store of its own and reports all that fail.
///
/// `make` is called once per case and answers an *empty* store: an in-memory one, a database in a new temporary folder, a
/// server's store under a fresh prefix. Clones of the store must share its records; a store that is not `Clone` goes into an
/// [`Arc`](std::sync::Arc). No runtime is assumed: the futures run wherever you await this one.
///
/// The suite hands in every instant. They lie around the year 2100, so that an expiry that the database itself adds as
/// garbage collection cannot interfere.
///
/// ```
/// use cloakroom::{store::MemoryStore, testing::conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// conformance::server_side(|| async { MemoryStore::new() }).await;
/// # }
/// ```
///
/// # Panics
/// If the store breaks a rule: the message names each broken rule and what was seen.
pub async fn server_side<S, F, Fut>(mut make: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = S>,
    S: SessionStore + Clone,
{
    let cases = cases();
    let mut failures = Vec::new();
    for case in &cases {
        let store = make().await;
        if let Err(message) = verdict(case.run(store)).await {
            failures.push(format!("\n- {}: {message}", case.name));
        }
    }
    assert!(
        failures.is_empty(),
        "the store breaks {} of the {} rules of a server-side store:{}",
        failures.len(),
        cases.len(),
        failures.concat()
    );
}

/// Runs a case to its end or its panic, so that one broken rule does not hide the next.
pub(super) async fn verdict(case: impl Future<Output = ()>) -> Result<(), String> {
    let mut case = pin!(case);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(context))) {
        Ok(progress) => progress.map(Ok),
        Err(panic) => Poll::Ready(Err(message(&*panic))),
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::reference::{Quirk, Reference};

    #[tokio::test]
    async fn the_reference_store_passes() {
        server_side(|| async { Reference::default() }).await;
    }

    #[tokio::test]
    async fn the_reference_store_passes_when_it_touches_at_commit() {
        server_side(|| async { Reference::touching_at_commit() }).await;
    }

    /// The broken rules of a store with that quirk.
    async fn broken_rules(quirk: Quirk) -> Vec<&'static str> {
        let mut broken = Vec::new();
        for case in cases() {
            if verdict(case.run(Reference::with(quirk))).await.is_err() {
                broken.push(case.name());
            }
        }
        broken
    }

    #[tokio::test]
    async fn every_quirk_breaks_the_rules_it_should() {
        for (quirk, rule) in [
            (Quirk::UpsertsOnCommit, "a_commit_never_creates_a_record"),
            (Quirk::UpsertsOnCommit, "a_late_commit_never_resurrects_a_deleted_record"),
            (Quirk::CreateReplaces, "create_never_replaces_a_record"),
            (Quirk::CreateReplaces, "one_of_many_creates_wins"),
            (Quirk::TouchesForAnybody, "a_load_with_another_secret_changes_nothing"),
            (Quirk::TouchesTheDead, "a_load_at_or_past_a_deadline_revives_nothing"),
            (Quirk::AnswersAfterTheTouch, "a_load_with_the_secret_rolls_the_idle_deadline_and_answers_the_record_before"),
            (Quirk::WritesOnConflict, "a_failed_guard_writes_nothing_and_returns_the_guarded_cells"),
            (Quirk::ChecksGuardsOutsideTheLock, "guarded_increments_add_up"),
            (Quirk::WritesWholeRecords, "sixteen_writers_of_different_cells_all_survive"),
            (Quirk::CommitsExpired, "a_commit_at_or_past_a_deadline_is_gone"),
            (Quirk::ChecksIdleByNow, "a_request_that_loaded_in_time_commits_past_the_idle_deadline"),
            (Quirk::ChecksBothByTheLoad, "a_request_that_loaded_in_time_commits_past_the_idle_deadline"),
            (Quirk::RollsInPlaceOfResetting, "a_commit_can_end_a_session"),
            (Quirk::SweepsTheLiving, "a_sweep_takes_expired_records_only"),
            (Quirk::SweepsWithoutLimit, "a_sweep_keeps_to_its_limit"),
            (Quirk::ForgetsOwners, "the_owner_index_follows_the_owner"),
            (Quirk::KeepsOwnersOfTheDeleted, "the_owner_index_follows_the_owner"),
            (Quirk::ForgetsOwners, "parallel_sign_ins_of_one_owner_are_all_listed"),
            (Quirk::UnlistsWhatItDidNotRevoke, "a_sign_in_among_revocations_is_listed_or_gone"),
            (Quirk::ShowsOnDemandCells, "on_demand_cells_come_when_named_and_commit_like_any_other"),
            (Quirk::IgnoresEpochs, "a_commit_of_another_epoch_is_gone"),
            (Quirk::IgnoresEpochs, "random_histories_agree_with_the_reference"),
        ] {
            let broken = broken_rules(quirk).await;
            assert!(broken.contains(&rule), "{quirk:?} should break {rule}, it breaks {broken:?}");
        }
    }

    #[tokio::test]
    async fn a_failing_suite_names_every_broken_rule() {
        let run = server_side(|| async { Reference::with(Quirk::UpsertsOnCommit) });
        let report = verdict(run).await.unwrap_err();
        assert!(report.starts_with("the store breaks "), "{report}");
        assert!(report.contains("\n- a_commit_never_creates_a_record: "), "{report}");
        assert!(report.contains("\n- a_late_commit_never_resurrects_a_deleted_record: "), "{report}");
    }

    #[test]
    fn no_rule_is_listed_twice() {
        let mut names: Vec<&str> = cases::<Reference>().iter().map(Case::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), cases::<Reference>().len());
    }
}
