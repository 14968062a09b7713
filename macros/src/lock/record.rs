//! What a lock shall say of a struct: what it said before, and what changed since.

use super::{Field, Form, Lock, Removed, Samples, Shape, spell};
use crate::model::{self, Generation, Schema, Storage};
use proc_macro2::TokenStream;

/// A lock with holes, and the types that fill those of [`Shape::Of`].
pub(crate) struct Record {
    pub(crate) lock: Lock,
    pub(crate) types: Vec<TokenStream>,
}

/// The lock of a struct that [`super::compare`] has nothing against.
pub(crate) fn record(old: Option<&Lock>, schema: &Schema) -> Record {
    let mut types = Vec::new();
    let mut shape = |ty: &TokenStream, storage: Storage| match storage {
        Storage::Opaque(_) => Shape::Opaque,
        Storage::Shaped => {
            types.push(ty.clone());
            Shape::Of(types.len() - 1)
        }
    };
    // What nobody has said is known from when it was first recorded; of what was there before any lock, nothing is known.
    let first = if old.is_some() { schema.version } else { 1 };
    let fields = schema.fields.iter().enumerate().map(|(index, field)| {
        let key = field.stored();
        let was = old.and_then(|old| old.fields.get(key));
        let again = old.and_then(|old| old.removed.get(key)).filter(|_| was.is_none());
        let recorded: Vec<&Form> = was.map_or_else(Vec::new, |was| kept(was, field));
        let forms = field.in_use().iter().enumerate().map(|(i, generation)| {
            let recorded = recorded.get(i);
            let shape = match recorded {
                Some(form) => form.shape,
                None => shape(&generation.ty, generation.storage),
            };
            let samples = recorded.map(|form| form.samples.kept.clone());
            let samples = samples.or_else(|| again.map(|again| again.samples.kept.clone())).unwrap_or_default();
            Form { since: since(generation, recorded, first), shape, ty: spell(&generation.ty), samples: samples.into() }
        });
        let mut past: Vec<Form> = forms.collect();
        let now = past.pop().map(|mut now| {
            now.samples = Samples { fresh: Some(index), ..now.samples };
            now
        });
        let merge = rule(&field.merge).to_owned();
        now.map(|now| (key.to_owned(), Field { merge, from: sources(field), forget_before: field.forget_before, past, now }))
    });
    let fields = fields.flatten().collect();
    let removed = schema.removed.iter().map(|removed| {
        let key = &removed.key.stored;
        let was = old.and_then(|old| old.fields.get(key));
        let recorded = old.and_then(|old| old.removed.get(key)).cloned();
        let is_read = schema.fields.iter().flat_map(sources).any(|source| source == *key);
        let known = recorded.or_else(|| was.map(|was| last(was, removed)));
        let entry = known.filter(|entry| entry.shape != Shape::Unknown || !is_read).unwrap_or_else(|| Removed {
            in_version: removed.version,
            generation: removed.key.generation,
            shape: match removed.storage {
                // Its type need not be there any more.
                Storage::Shaped if !is_read => Shape::Unknown,
                storage => shape(&removed.ty, storage),
            },
            ty: spell(&removed.ty),
            samples: Samples::default(),
        });
        (key.to_owned(), entry)
    });
    let removed = removed.collect();
    Record { lock: Lock { name: schema.name.clone(), version: schema.version, fields, removed }, types }
}

/// The recorded generations that are still in use.
fn kept<'a>(was: &'a Field, field: &model::Field) -> Vec<&'a Form> {
    let forgotten = field.forget_before.unwrap_or(0);
    was.past.iter().filter(|form| form.since >= forgotten).chain([&was.now]).collect()
}

fn since(generation: &Generation, recorded: Option<&&Form>, first: u32) -> u32 {
    match recorded {
        // Where it is not part of the key it is for readers of the file, and what the struct says is for them, too.
        Some(form) if generation.since == 1 => form.since,
        None if generation.since == 1 => first,
        _ => generation.since,
    }
}

fn last(was: &Field, removed: &model::Removed) -> Removed {
    Removed {
        in_version: removed.version,
        generation: was.generation(),
        shape: was.now.shape,
        ty: was.now.ty.clone(),
        samples: was.now.samples.clone(),
    }
}

/// The removed fields that a field is computed from. In which order is its function's affair.
pub(super) fn sources(field: &model::Field) -> Vec<String> {
    let sources = field.from.iter().flat_map(|from| &from.sources);
    let mut names: Vec<String> = sources.map(|source| source.key.stored.clone()).collect();
    names.sort_unstable();
    names
}

/// How a lock calls a merge rule. What a function is called is no part of it.
pub(super) fn rule(merge: &model::Merge) -> &'static str {
    use crate::model::{Merge, Rule};
    match merge {
        Merge::Last => "last",
        Merge::Strict => "strict",
        Merge::Rule(Rule::Add, _) => "add",
        Merge::Rule(Rule::Max, _) => "max",
        Merge::Rule(Rule::Min, _) => "min",
        Merge::Rule(Rule::Union, _) => "union",
        Merge::Function(_) => "function",
    }
}
