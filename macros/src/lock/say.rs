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

/// What an old version of a field's type could be called: its own type under another name, in the containers that it is in.
pub(super) fn old(field: &str, ty: &str) -> String {
    if ty.chars().all(|char| char.is_alphanumeric() || char == '_') {
        return format!("Old{ty}");
    }
    let (text, own) = renamed(ty);
    if own == 1 {
        return text;
    }
    // One of several types changed, and their shapes do not say which.
    let words = field.split('_').map(|word| {
        let mut chars = word.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    });
    format!("Old{}", words.collect::<String>())
}

/// A type with `Old` before each name that is not the standard library's, and how many different names these are.
fn renamed(ty: &str) -> (String, usize) {
    let is_part = |char: char| char.is_alphanumeric() || matches!(char, '_' | ':');
    let (mut text, mut own, mut rest) = (String::new(), std::collections::BTreeSet::new(), ty);
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (path, after) = from.split_at(from.find(|char| !is_part(char)).unwrap_or(from.len()));
        text.push_str(before);
        let name = path.rsplit("::").next().unwrap_or(path);
        let is_lifetime = before.ends_with('\'');
        if is_lifetime || is_standard(name) || !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            text.push_str(path);
        } else {
            text.push_str(&format!("Old{name}"));
            own.insert(name);
        }
        rest = after;
    }
    text.push_str(rest);
    (text, own.len())
}

/// Whether a type of that name has a shape in the library itself, so that it does not change.
fn is_standard(name: &str) -> bool {
    const CONTAINERS: [&str; 15] = [
        "Option",
        "Vec",
        "VecDeque",
        "LinkedList",
        "Box",
        "HashMap",
        "HashSet",
        "BTreeMap",
        "BTreeSet",
        "Result",
        "Cow",
        "Range",
        "RangeInclusive",
        "Wrapping",
        "Saturating",
    ];
    const VALUES: [&str; 13] = [
        "String",
        "PathBuf",
        "Duration",
        "SystemTime",
        "IpAddr",
        "Ipv4Addr",
        "Ipv6Addr",
        "SocketAddr",
        "SocketAddrV4",
        "SocketAddrV6",
        "Uuid",
        "RandomState",
        "Reverse",
    ];
    // Primitives, and the words of a type's own grammar.
    name.starts_with(|first: char| first.is_lowercase())
        || name.starts_with("NonZero")
        || CONTAINERS.contains(&name)
        || VALUES.contains(&name)
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

#[cfg(test)]
mod tests {
    use super::old;

    #[test]
    fn an_old_type_has_its_containers_and_another_name_inside() {
        for (ty, expected) in [
            ("Theme", "OldTheme"),
            ("String", "OldString"),
            ("Vec<Item>", "Vec<OldItem>"),
            ("Option<cart::Item>", "Option<OldItem>"),
            ("std::collections::HashMap<String, Vec<Item>>", "std::collections::HashMap<String, Vec<OldItem>>"),
            ("[Item; 4]", "[OldItem; 4]"),
            ("(u8, Item)", "(u8, OldItem)"),
            ("BTreeMap<Item, Item>", "BTreeMap<OldItem, OldItem>"),
            ("Cow<'static, Item>", "Cow<'static, OldItem>"),
            ("BTreeMap<Name, Item>", "OldCartOfToday"),
            ("Page<Item>", "OldCartOfToday"),
        ] {
            assert_eq!(old("cart_of_today", ty), expected, "{ty}");
        }
    }
}
