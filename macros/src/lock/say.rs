//! What to type, and how things are listed, in the words of a message.

use super::{Field, Shape};

/// Names, each as code.
pub(super) fn listed<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// The attribute that declares a change of type, ready to paste.
pub(super) fn change(version: u32, from: &str, to: &str) -> String {
    format!("changed(in = {version}, from = {from}, up = <fn({from}) -> {to}>, down = <fn(&{to}) -> {from}>)")
}

/// What an old version of a field's type could be called.
pub(super) fn old(field: &str, ty: &str) -> String {
    if ty.chars().all(|char| char.is_alphanumeric() || char == '_') {
        return format!("Old{ty}");
    }
    let words = field.split('_').map(|word| {
        let mut chars = word.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    });
    format!("Old{}", words.collect::<String>())
}

/// The attribute that declares a field gone, ready to paste.
pub(super) fn removal(key: &str, was: &Field, version: u32) -> String {
    removed(key, &was.now.ty, was.now.shape, was.generation(), version)
}

pub(super) fn removed(key: &str, ty: &str, shape: Shape, generation: Option<u32>, version: u32) -> String {
    let since = generation.map_or_else(String::new, |since| format!(", since = {since}"));
    let opaque = if shape == Shape::Opaque { ", opaque" } else { "" };
    // A stored name need not be one in Rust.
    if syn::parse_str::<syn::Ident>(key).is_ok() {
        return format!("removed({key}: {ty}, in = {version}{since}{opaque})");
    }
    let name: String = key.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect();
    format!("removed({name}_: {ty}, in = {version}, key = {key:?}{since}{opaque})")
}
