//! Compiles every file of `pass/`, and refuses every file of `fail/` word for word.
//!
//! After a change of words run `TRYBUILD=overwrite cargo test -p ui-tests` with the compiler named below and without its
//! `rust-src` component, and read the difference as a newcomer would: each message must say what to type.

#[test]
fn what_a_user_may_write_compiles() {
    trybuild::TestCases::new().pass("tests/pass/*.rs");
}

/// Another compiler words and underlines things differently, and that is no failure of ours.
#[rustversion::attr(not(stable(1.95)), ignore = "the messages are blessed with the stable compiler 1.95")]
#[test]
fn a_mistake_is_refused_with_words_that_help() {
    trybuild::TestCases::new().compile_fail("tests/fail/*.rs");
}
