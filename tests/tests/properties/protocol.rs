//! Every interleaving of one request's handles, saves and endings with its store's answers, over the real layer.
//!
//! A [`Scenario`] says what the request may do. [`explorer`] tries every order in which it can happen, every outcome of every operation
//! and every await at which a future can be dropped, within the scenario's bound on disturbances. [`ledger`] says what must hold, and
//! [`gates`] is the store in between. Nothing is modelled: the layer, the handles and the store in memory are the real ones.
//!
//! A failure prints the shortest run for each broken rule, in words, and a line to paste into [`REPLAY`], which repeats that run. How many
//! runs a scenario has is printed where output is not captured (`--success-output immediate` for `cargo nextest run`).
//!
//! A handle is named after the future that works with it: `h1` is that of the first of [`Scenario::tasks`], `h0` the handler's own.

#[path = "protocol/explorer.rs"]
mod explorer;
#[path = "protocol/gates.rs"]
mod gates;
#[path = "protocol/ledger.rs"]
mod ledger;
#[path = "protocol/request.rs"]
mod request;

use self::{
    explorer::Prune,
    ledger::End,
    request::{Scenario, Start, Verb},
};
use cloakroom::store::IdleTouch;

/// The one run to repeat: paste here what a failure prints, and run the test of that name.
const REPLAY: (&str, &[usize]) = ("", &[]);

use Verb::{Add, C, Destroy, Drop, Label, Only, Pair, Pause, Reload, Rotate, Save, SignIn, SignOut};

const OK: End = End::Status(200);
const FAILED: End = End::Status(500);

/// What most scenarios have in common.
const REQUEST: Scenario = Scenario {
    start: Start::Anonymous,
    touch: IdleTouch::AtLoad,
    handler: &[],
    tasks: &[],
    ends: &[OK, FAILED],
    disturbances: 1,
    cancels: true,
    foreign: true,
    afterwards: &[],
};

macro_rules! scenarios {
    ($($name:ident: $scenario:expr;)*) => {$(
        #[test]
        fn $name() {
            static SCENARIO: Scenario = $scenario;
            explorer::check(stringify!($name), &SCENARIO, REPLAY);
        }
    )*};
}

scenarios! {
    // One handle.
    one_save_and_any_two_disturbances: Scenario {
        tasks: &[&[Pair(1), Add(10), Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_save_in_the_handler_and_a_change_after_it: Scenario {
        handler: &[Pair(1), Save, Add(10)],
        ends: &[OK, FAILED, End::Panic],
        disturbances: 2,
        ..REQUEST
    };
    a_save_that_is_tried_again: Scenario {
        tasks: &[&[Add(10), Save, Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_save_that_is_given_up_and_tried_again: Scenario {
        tasks: &[&[Add(10), Save]],
        afterwards: &[Save, Drop],
        disturbances: 2,
        ..REQUEST
    };
    a_save_that_is_given_up_before_a_failure_or_a_panic: Scenario {
        tasks: &[&[Add(10), Save]],
        ends: &[FAILED, End::Panic],
        afterwards: &[Drop],
        disturbances: 2,
        ..REQUEST
    };
    a_strict_field_that_another_request_may_change: Scenario {
        tasks: &[&[Only(1), Add(10), Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_first_save_begins_a_session: Scenario {
        start: Start::New,
        tasks: &[&[Pair(1), Save, Add(10), Drop]],
        disturbances: 2,
        ..REQUEST
    };
    signing_in_and_going_on: Scenario {
        tasks: &[&[SignIn(7), Save, Add(10), Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_destroy_and_a_notice_after_it: Scenario {
        tasks: &[&[Pair(1), Destroy, Add(10), Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_socket_that_reloads_and_saves: Scenario {
        tasks: &[&[Reload, Add(10), Save, Pair(1), Save]],
        disturbances: 2,
        ..REQUEST
    };

    // Two handles.
    two_saves_of_different_fields: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Save, Drop]],
        ends: &[OK],
        disturbances: 2,
        ..REQUEST
    };
    two_saves_of_different_structs: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[C(2), Save, Drop]],
        ..REQUEST
    };
    two_saves_of_one_counter: Scenario {
        tasks: &[&[Add(10), Save, Drop], &[Add(100), Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    two_saves_of_the_same_two_fields: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Pair(2), Save, Drop]],
        ..REQUEST
    };
    two_saves_where_a_use_is_noted_at_the_commit: Scenario {
        touch: IdleTouch::AtCommit,
        tasks: &[&[Pair(1), Save], &[Add(10), Save, Drop]],
        ..REQUEST
    };
    one_save_where_a_use_is_noted_at_the_commit: Scenario {
        touch: IdleTouch::AtCommit,
        tasks: &[&[Pair(1), Pause, Save]],
        disturbances: 2,
        ..REQUEST
    };
    a_reader_where_a_use_is_noted_at_the_commit: Scenario {
        touch: IdleTouch::AtCommit,
        tasks: &[&[Reload, Drop], &[Reload]],
        ..REQUEST
    };
    two_saves_that_begin_a_session: Scenario {
        start: Start::New,
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Save, Drop]],
        ..REQUEST
    };
    a_save_beside_a_handle_that_is_dropped: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_save_in_a_stream_beside_a_handle_that_is_dropped: Scenario {
        touch: IdleTouch::AtCommit,
        handler: &[Pair(1)],
        tasks: &[&[Pause, Add(10), Save]],
        disturbances: 2,
        ..REQUEST
    };
    a_counter_saved_again_beside_another_save_of_it: Scenario {
        tasks: &[&[Add(10), Save, Save], &[Add(100), Save, Drop]],
        ..REQUEST
    };
    a_save_beside_a_reload: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Reload, Drop]],
        ..REQUEST
    };
    a_reload_beside_the_handlers_own_change: Scenario {
        handler: &[Pair(1)],
        tasks: &[&[Reload, Add(10), Save]],
        disturbances: 2,
        ..REQUEST
    };
    a_reload_with_a_change_beside_a_save: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Reload, Save, Drop]],
        ..REQUEST
    };
    a_save_beside_a_destroy_with_a_save: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Destroy, Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_save_beside_a_destroy_that_the_response_carries_out: Scenario {
        tasks: &[&[Add(10), Save, Drop], &[Destroy, Drop]],
        ..REQUEST
    };
    a_first_save_beside_a_destroy: Scenario {
        start: Start::New,
        tasks: &[&[Pair(1), Save, Drop], &[Destroy, Save, Drop]],
        ..REQUEST
    };
    a_reload_beside_a_destroy: Scenario {
        tasks: &[&[Reload, Add(10), Save, Drop], &[Destroy, Save, Drop]],
        ..REQUEST
    };
    a_sign_in_beside_a_save: Scenario {
        tasks: &[&[SignIn(7), Save, Drop], &[Add(10), Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_sign_in_beside_a_destroy: Scenario {
        tasks: &[&[SignIn(7), Save, Drop], &[Destroy, Save, Drop]],
        ..REQUEST
    };
    a_sign_in_beside_a_reload: Scenario {
        tasks: &[&[SignIn(7), Save, Drop], &[Reload, Add(10), Save, Drop]],
        ..REQUEST
    };
    a_sign_in_of_a_new_session_beside_a_save: Scenario {
        start: Start::New,
        tasks: &[&[SignIn(7), Save, Drop], &[Add(10), Save, Drop]],
        ..REQUEST
    };
    a_sign_out_beside_a_save: Scenario {
        start: Start::SignedIn,
        tasks: &[&[SignOut, Save, Drop], &[Add(10), Save, Drop]],
        ..REQUEST
    };
    a_handover_beside_a_save: Scenario {
        start: Start::SignedIn,
        tasks: &[&[SignIn(7), Save, Drop], &[C(2), Save, Drop]],
        ..REQUEST
    };
    a_rotation_beside_a_save: Scenario {
        tasks: &[&[Rotate, Save, Drop], &[Add(10), Save, Drop]],
        ..REQUEST
    };
    a_label_beside_a_save: Scenario {
        tasks: &[&[Label(1), Save, Drop], &[Pair(1), Save, Drop]],
        ..REQUEST
    };
    a_save_that_is_given_up_beside_another: Scenario {
        tasks: &[&[Add(10), Save, Drop], &[Pair(1), Save, Drop]],
        ends: &[FAILED, End::Panic],
        disturbances: 2,
        ..REQUEST
    };
    a_panic_beside_a_save: Scenario {
        handler: &[Pair(1)],
        tasks: &[&[Add(10), Save, Drop]],
        ends: &[End::Panic],
        disturbances: 2,
        ..REQUEST
    };

    two_saves_of_one_handle_beside_another: Scenario {
        tasks: &[&[Add(10), Save, Add(100), Save], &[Pair(1), Save, Drop]],
        ..REQUEST
    };
    two_handles_that_are_dropped: Scenario {
        handler: &[Pair(1)],
        tasks: &[&[Add(10), Drop], &[C(2), Drop]],
        ends: &[OK, FAILED, End::Panic],
        disturbances: 2,
        ..REQUEST
    };
    a_response_that_begins_a_session_beside_a_save: Scenario {
        start: Start::New,
        handler: &[Pair(1)],
        tasks: &[&[Add(10), Save]],
        ends: &[OK, FAILED, End::Panic],
        disturbances: 2,
        ..REQUEST
    };
    a_response_that_signs_in_beside_a_save: Scenario {
        handler: &[SignIn(7), Label(1)],
        tasks: &[&[Add(10), Save, Pair(1), Save]],
        disturbances: 2,
        ..REQUEST
    };
    a_response_that_destroys_beside_a_save: Scenario {
        handler: &[Destroy],
        tasks: &[&[Add(10), Save]],
        disturbances: 2,
        ..REQUEST
    };
    a_response_that_rotates_beside_a_save: Scenario {
        touch: IdleTouch::AtCommit,
        handler: &[Rotate],
        tasks: &[&[Pause, Add(10), Save]],
        disturbances: 2,
        ..REQUEST
    };
    a_destroy_where_a_use_is_noted_at_the_commit: Scenario {
        touch: IdleTouch::AtCommit,
        tasks: &[&[Pause, Destroy, Save, Drop]],
        disturbances: 2,
        ..REQUEST
    };
    a_save_that_lives_on_beside_another: Scenario {
        tasks: &[&[Add(10), Save], &[Pair(1), Save, Drop]],
        afterwards: &[Save, Drop],
        ..REQUEST
    };

    // Three handles.
    three_saves: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Save, Drop], &[C(2), Save, Drop]],
        ends: &[OK],
        foreign: false,
        ..REQUEST
    };
    two_saves_beside_a_destroy: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Save, Drop], &[Destroy, Save, Drop]],
        ends: &[OK],
        foreign: false,
        cancels: false,
        ..REQUEST
    };
    two_saves_beside_a_reload: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Save, Drop], &[Reload, Drop]],
        ends: &[OK],
        foreign: false,
        cancels: false,
        ..REQUEST
    };
    a_save_beside_a_reload_and_a_destroy: Scenario {
        tasks: &[&[Add(10), Save, Drop], &[Reload, Drop], &[Destroy, Save, Drop]],
        ends: &[OK],
        foreign: false,
        ..REQUEST
    };
    a_save_beside_a_sign_in_and_a_destroy: Scenario {
        tasks: &[&[Add(10), Save, Drop], &[SignIn(7), Save, Drop], &[Destroy, Save, Drop]],
        ends: &[OK],
        foreign: false,
        cancels: false,
        ..REQUEST
    };
    two_saves_beside_a_sign_in: Scenario {
        tasks: &[&[Pair(1), Save, Drop], &[Add(10), Save, Drop], &[SignIn(7), Save, Drop]],
        ends: &[OK],
        foreign: false,
        cancels: false,
        ..REQUEST
    };
}

/// The pruning is sound: without it more runs are made, and they come to the same ends.
#[test]
fn leaving_out_equivalent_orders_leaves_out_no_end() {
    static SCENARIO: Scenario =
        Scenario { tasks: &[&[Pair(1), Save, Drop], &[Reload, Drop]], cancels: false, ends: &[OK], ..REQUEST };
    let (some, all) = (explorer::explore(&SCENARIO, Prune::Equivalent), explorer::explore(&SCENARIO, Prune::Nothing));
    assert!(some.runs < all.runs, "{} runs, and {} without pruning", some.runs, all.runs);
    assert_eq!(some.ends, all.ends);
}
