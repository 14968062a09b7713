//! What a struct says about its own past: which types its fields had, which fields it lost, and what comes of their values.

use super::{check_name, check_type, text};
use crate::{
    diag::{Errors, Report},
    model::{Computed, Down, Generation, Key, Lock, Removed, Source, Step, Storage},
    syntax::{Attrs, Number, RawChanged, RawFrom, RawLock, RawRemoved},
};
use proc_macro2::Ident;
use quote::ToTokens;
use syn::Type;

/// A physical key, but for its generation.
pub(super) struct Name<'a> {
    pub(super) schema: &'a str,
    pub(super) stored: &'a str,
}

impl Name<'_> {
    fn first(&self) -> Key {
        Key { schema: self.schema.to_owned(), stored: self.stored.to_owned(), generation: None }
    }

    fn since(&self, version: u32) -> Key {
        Key { generation: Some(version), ..self.first() }
    }
}

pub(super) fn lock(raw: Option<RawLock>, errors: &mut Errors) -> Lock {
    match raw {
        None => Lock::Default,
        Some(RawLock::Off) => Lock::Off,
        Some(RawLock::File(file)) => {
            check_name(&file.value(), "a lock's name", errors, |problem| {
                Report::new(&file, problem)
                    .help("it names a file in `session-schema`, without its ending, e.g. `lock = \"admin_shop\"`")
            });
            Lock::File(file)
        }
    }
}

/// A version that something is said to have happened in.
fn check_version(word: &str, number: &Number, version: u32, errors: &mut Errors) {
    let (n, literal) = (number.value, &number.literal);
    if n > version {
        errors.push(
            Report::new(literal, format!("`{word} = {n}` is above the schema's version, which is {version}"))
                .help(format!("raise it on the struct: `#[session(version = {n})]`")),
        );
    } else if n == 1 && word == "in" {
        errors.push(
            Report::new(literal, "nothing can have changed in version 1, which is the first")
                .help("write the version that is the first with the change, and raise the struct's to it: `in = 2`"),
        );
    }
}

pub(super) fn check_since(since: Option<&Number>, version: u32, errors: &mut Errors) {
    if let Some(since) = since {
        check_version("since", since, version, errors);
    }
}

/// The fields that are gone.
pub(super) fn removed(raw: Vec<RawRemoved>, schema: &str, version: u32, errors: &mut Errors) -> Vec<Removed> {
    let mut removed: Vec<Removed> = Vec::new();
    for raw in raw {
        let RawRemoved { ident, ty, version: gone, key, since, opaque } = raw;
        check_version("in", &gone, version, errors);
        check_type(&ty, errors);
        let stored = super::stored_name(&ident, key.as_ref(), errors);
        if let Some(since) = since.as_ref().filter(|since| since.value >= gone.value) {
            errors.push(
                Report::new(
                    &since.literal,
                    format!("`{ident}` was removed in version {}, before its type changed", gone.value),
                )
                .help("`since` names the version in which its stored type last changed; leave it out if it never did"),
            );
        }
        let name = Name { schema, stored: &stored };
        let since = since.map_or(1, |since| since.value);
        let new = Removed {
            key: if since == 1 { name.first() } else { name.since(since) },
            storage: opaque.map_or(Storage::Shaped, |opaque| Storage::Opaque(opaque.span())),
            ty: ty.to_token_stream(),
            version: gone.value,
            ident,
        };
        match removed.iter().find(|other| other.key.stored == new.key.stored) {
            Some(other) => errors.push(
                Report::new(&new.ident, format!("`{}` is removed twice", other.ident))
                    .help("keep one of the two `removed(..)`"),
            ),
            None => removed.push(new),
        }
    }
    removed
}

/// A field in the place of one that is gone would read what that has left.
pub(super) fn check_reuse(
    field: &Ident,
    at: impl ToTokens,
    ty: &Type,
    name: &Name<'_>,
    removed: &[Removed],
    errors: &mut Errors,
) {
    let Some(gone) = removed.iter().find(|gone| gone.key.stored == name.stored) else { return };
    let (was, is) = (text(&gone.ty), text(ty));
    let stored = name.stored;
    let report =
        Report::new(at, format!("the name `{stored}` is taken: version {} removed a `{was}` stored under it", gone.version))
            .help(format!("store `{field}` under another name: `#[session(key = \"{stored}_2\")]`"));
    errors.push(if was == is {
        report.help(format!("or, if the field is back with the values it had, delete `removed({stored}: {was}, ..)`"))
    } else {
        report.note(format!("sessions may still hold a `{was}` there, and older versions still write one; this is a `{is}`"))
    });
}

/// The stored types of a field, oldest first.
pub(super) fn generations(
    ident: &Ident,
    ty: &Type,
    name: &Name<'_>,
    version: u32,
    attrs: &Attrs,
    errors: &mut Errors,
) -> Vec<Generation> {
    let storage = attrs.opaque.as_ref().map_or(Storage::Shaped, |opaque| Storage::Opaque(opaque.span()));
    let since = attrs.since.as_ref().map_or(1, |since| since.value);
    check_order(ident, version, attrs, errors);
    let mut types = Vec::new();
    for (index, raw) in attrs.changed.iter().enumerate() {
        // What it became is what the next change begins with.
        let to = attrs.changed.get(index + 1).map_or(Some(ty), |next| next.from.as_ref());
        types.extend(changed(raw, ident, to.unwrap_or(ty), storage, errors));
    }
    let oldest = types.first().map_or(u32::MAX, |change| change.version);
    let base = match &attrs.forget_before {
        // Its own change has been deleted already.
        Some(forget) if forget.value < oldest => Some(forget.value),
        _ => None,
    };
    let mut generations = vec![Generation {
        since: base.unwrap_or(since),
        key: base.map_or_else(|| name.first(), |base| name.since(base)),
        ty: ty.to_token_stream(),
        storage,
        step: None,
    }];
    for change in types {
        if let Some(before) = generations.last_mut() {
            (before.ty, before.storage) = (change.from, change.storage);
        }
        generations.push(Generation {
            since: change.version,
            key: name.since(change.version),
            ty: ty.to_token_stream(),
            storage,
            step: Some(change.step),
        });
    }
    generations
}

/// A `changed(..)` with everything it needs.
struct Change {
    version: u32,
    from: proc_macro2::TokenStream,
    storage: Storage,
    step: Step,
}

fn changed(raw: &RawChanged, ident: &Ident, to: &Type, storage: Storage, errors: &mut Errors) -> Option<Change> {
    let RawChanged { at, version, from, up, down, forget, opaque } = raw;
    let n = version.as_ref().map_or_else(|| "2".to_owned(), |version| version.value.to_string());
    let to = text(to);
    let was = from.as_ref().map_or_else(|| "u32".to_owned(), text);
    let name_of = |path: &Option<proc_macro2::TokenStream>, otherwise: String| path.as_ref().map_or(otherwise, text);
    let up_text = name_of(up, format!("<fn({was}) -> {to}>"));
    let down_text = name_of(down, format!("<fn(&{to}) -> {was}>"));
    let with_down = format!("changed(in = {n}, from = {was}, up = {up_text}, down = {down_text})");
    let with_forget = format!("changed(in = {n}, from = {was}, up = {up_text}, forget)");
    if let Some(from) = from {
        check_type(from, errors);
    }
    let lacks = [
        (version.is_none(), "`in`, the version that is the first with the new type"),
        (from.is_none(), "`from`, the type that was stored before"),
        (up.is_none(), "`up`, the function that makes the new value of an old one"),
    ];
    let lacks: Vec<&str> = lacks.into_iter().filter_map(|(lacks, what)| lacks.then_some(what)).collect();
    if !lacks.is_empty() {
        let report = Report::new(at, format!("this change of `{ident}` lacks {}", lacks.join(", and ")));
        errors.push(report.help(format!("write `{}`", if forget.is_some() { &with_forget } else { &with_down })));
        return None;
    }
    let down = match (down, forget) {
        (Some(down), None) => Down::Path(down.clone()),
        (None, Some(_)) => Down::Forget,
        (None, None) => {
            errors.push(
                Report::new(
                    at,
                    format!(
                        "what do older versions of the program see of a new `{ident}`? Neither `down` nor `forget` says it"
                    ),
                )
                .help(format!("give them an old value: `{with_down}`"))
                .help(format!("or let them see the field's default, and lose the new value if they write: `{with_forget}`")),
            );
            return None;
        }
        (Some(_), Some(_)) => {
            errors.push(
                Report::new(
                    at,
                    format!("`down` gives older versions of the program a value of `{ident}`, and `forget` gives them none"),
                )
                .help(format!("to give them an old value: `{with_down}`"))
                .help(format!("to let them see the field's default: `{with_forget}`")),
            );
            return None;
        }
    };
    Some(Change {
        version: version.as_ref()?.value,
        from: from.to_token_stream(),
        storage: opaque.as_ref().map_or(storage, |opaque| Storage::Opaque(opaque.span())),
        step: Step { up: up.clone()?, down },
    })
}

/// That the versions of a field's history rise, and end with the schema's.
fn check_order(ident: &Ident, version: u32, attrs: &Attrs, errors: &mut Errors) {
    let mut before: Option<&Number> = None;
    for number in attrs.changed.iter().filter_map(|changed| changed.version.as_ref()) {
        check_version("in", number, version, errors);
        let n = number.value;
        match before {
            Some(earlier) if earlier.value == n => errors.push(
                Report::new(&number.literal, format!("`{ident}` changes twice in version {n}"))
                    .help("keep one change: from the type before this version to the type after it"),
            ),
            Some(earlier) if earlier.value > n => errors.push(
                Report::new(
                    &number.literal,
                    format!("`{ident}` changed in version {n} before it changed in version {}", earlier.value),
                )
                .help(format!(
                    "write the changes in the order they happened: `changed(in = {n}, ..), changed(in = {}, ..)`",
                    earlier.value
                )),
            ),
            _ => {}
        }
        if let Some(since) = attrs.since.as_ref().filter(|since| since.value >= n && n > 1) {
            errors.push(
                Report::new(
                    &number.literal,
                    format!("`{ident}` cannot have changed in version {n}: it was added in version {}", since.value),
                )
                .help("correct one of the two; a type that changed in the version that added it needs no `changed(..)`"),
            );
        }
        before = Some(number);
    }
    let Some(forget) = &attrs.forget_before else { return };
    let n = forget.value;
    check_version("forget_before", forget, version, errors);
    let changes: Vec<u32> = attrs.changed.iter().filter_map(|changed| Some(changed.version.as_ref()?.value)).collect();
    let since = attrs.since.as_ref().map_or(1, |since| since.value);
    if n <= since {
        errors.push(
            Report::new(
                &forget.literal,
                format!("`{ident}` has nothing to forget before version {n}: it was added in version {since}"),
            )
            .help("write the version of the oldest change that every running program knows; or remove `forget_before`"),
        );
    } else if !changes.contains(&n)
        && let Some(nearest) = changes.iter().rev().find(|change| **change < n)
    {
        errors.push(
            Report::new(
                &forget.literal,
                format!("`{ident}` did not change in version {n}, so no generation of it begins there"),
            )
            .help(format!("write the version of a change: `forget_before = {nearest}`")),
        );
    }
}

/// What a field is computed from: removed fields, as they were removed.
pub(super) fn computed(raw: &RawFrom, ident: &Ident, removed: &[Removed], errors: &mut Errors) -> Computed {
    /// As many arguments as a function of somebody's own will have.
    const MOST: usize = 6;
    let mut sources = Vec::new();
    for (name, ty) in &raw.sources {
        let ty_text = text(ty);
        match removed.iter().find(|gone| gone.ident == *name) {
            Some(gone) if text(&gone.ty) == ty_text => {
                sources.push(Source { key: gone.key.clone(), ty: ty.to_token_stream(), storage: gone.storage });
            }
            Some(gone) => errors.push(
                Report::new(ty, format!("`{name}` was removed as a `{}`, and here it is a `{ty_text}`", text(&gone.ty)))
                    .help(format!("write `{name}: {}`", text(&gone.ty))),
            ),
            None => errors.push(
                Report::new(name, format!("`{ident}` is computed from `{name}`, which is not declared as removed"))
                    .help(format!("declare it on the struct: `#[session(removed({name}: {ty_text}, in = 2))]`, with the version that is the first without it"))
                    .note("a field that still exists can be read where the value is needed"),
            ),
        }
    }
    if let Some((name, _)) = raw.sources.get(MOST) {
        errors.push(
            Report::new(name, format!("a field can be computed from {MOST} removed fields at most"))
                .help("compute the others into fields of their own"),
        );
    }
    Computed { sources, with: raw.with.clone() }
}
