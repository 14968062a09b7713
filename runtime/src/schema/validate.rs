//! What a `validate` function may look like.

use std::{borrow::Borrow, fmt};

/// A `validate` function for a `V`. `Signature` is its type, which rustc can find only if it is part of the trait.
#[diagnostic::on_unimplemented(
    message = "this function cannot validate `{V}`",
    label = "expected `fn(&{V}) -> bool` or `fn(&{V}) -> Result<(), E>`",
    note = "`E` may be any type that implements `Display`",
    note = "what `{V}` borrows as will do in its place: `&str` for a `String`, `&[T]` for a `Vec<T>`"
)]
pub trait Validator<V, Signature> {
    /// The verdict, with a reason where there is one.
    #[doc(hidden)]
    fn check(&self, value: &V) -> Result<(), String>;
}

#[diagnostic::do_not_recommend]
impl<F, V, B, R> Validator<V, fn(&B) -> R> for F
where
    F: Fn(&B) -> R,
    V: Borrow<B>,
    B: ?Sized,
    R: Verdict,
{
    fn check(&self, value: &V) -> Result<(), String> {
        self(value.borrow()).verdict()
    }
}

/// What a `validate` function may return.
pub trait Verdict {
    /// The verdict, with a reason where there is one.
    #[doc(hidden)]
    fn verdict(self) -> Result<(), String>;
}

impl Verdict for bool {
    fn verdict(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("the check answered false".to_owned()) }
    }
}

impl<E: fmt::Display> Verdict for Result<(), E> {
    fn verdict(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}
