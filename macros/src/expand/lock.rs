//! What a schema's lock adds to an expansion: assertions, errors, and the test that reads old samples or records a change.

use super::{past, place};
use crate::{
    diag::{Errors, Report},
    lock::{self, Assertion, COMMAND, Lock, Piece, Record},
    model::{self, Field, Key, Schema, Storage},
    surroundings::{self, FOLDER, Mode, Surroundings},
};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

pub(super) fn expand(schema: &Schema, surroundings: &Surroundings, errors: &mut Errors) -> TokenStream {
    let samples = samples(schema);
    let lock = lock(schema, surroundings, errors);
    quote!(#samples #lock)
}

/// A use of every `samples = ..`, which would otherwise seem unused wherever no test is compiled.
fn samples(schema: &Schema) -> TokenStream {
    let root = &schema.root;
    let private = quote!(#root::__private);
    let each = schema.fields.iter().filter_map(|field| {
        let (path, ty) = (field.samples.as_ref()?, &field.ty);
        let values = super::at(place(path), &quote!(#private::lock::values::<#ty, _>));
        let arguments = quote_spanned!(place(path)=> (#path));
        Some(quote!(const _: fn() -> #private::std::vec::Vec<#ty> = || #values #arguments;))
    });
    each.collect()
}

fn lock(schema: &Schema, surroundings: &Surroundings, errors: &mut Errors) -> TokenStream {
    let named = matches!(schema.lock, model::Lock::File(_));
    let file = match &schema.lock {
        model::Lock::Off => return TokenStream::new(),
        model::Lock::Default => file_name(&schema.name),
        model::Lock::File(file) => file_name(&file.value()),
    };
    let Some(path) = surroundings.lock(&file, named) else { return TokenStream::new() };
    let shown = format!("{FOLDER}/{file}");
    let locked = Locked { schema, shown };
    let text = match surroundings::read(&path) {
        Ok(text) => text,
        Err(error) => {
            errors.push(Report::at(schema.ident.span(), format!("{} cannot be read: {error}", locked.shown)));
            return TokenStream::new();
        }
    };
    let accept = match &surroundings.mode {
        Mode::Check => false,
        Mode::Accept => true,
        Mode::Unknown(word) => {
            errors.push(
                Report::at(schema.ident.span(), format!("`SESSION_SCHEMA={word}` means nothing"))
                    .help(format!("to record a change: `{COMMAND}`")),
            );
            return TokenStream::new();
        }
    };
    if accept && !surroundings::claim(&path) {
        errors.push(
            Report::new(&schema.ident, format!("another struct of this crate is recorded in {}", locked.shown))
                .help(lock::OF_A_TEST)
                .help(format!("for a second one of this name: `#[session(lock = \"{}_2\")]`", schema.name)),
        );
        return TokenStream::new();
    }
    let tracked = locked.tracked(text.is_some());
    let rest = match &text {
        None if accept => locked.accepting(None, lock::record(None, schema)),
        None => {
            if named {
                errors.push(
                    Report::at(schema.ident.span(), format!("{} does not exist", locked.shown))
                        .help(format!("record the struct as it is: `{COMMAND}`")),
                );
            }
            TokenStream::new()
        }
        Some(text) => locked.locked(text, accept, errors),
    };
    quote!(#tracked #rest)
}

/// The file of a name. Names may hold characters that file systems do not like.
fn file_name(name: &str) -> String {
    let kept =
        name.chars().map(|char| if char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.') { char } else { '_' });
    kept.chain(".lock".chars()).collect()
}

struct Locked<'a> {
    schema: &'a Schema,
    /// The file's name from the crate's folder on: what people read.
    shown: String,
}

impl Locked<'_> {
    fn private(&self) -> TokenStream {
        let root = &self.schema.root;
        quote!(#root::__private)
    }

    fn path(&self) -> TokenStream {
        let private = self.private();
        let inside = format!("/{}", self.shown);
        quote!(#private::core::concat!(#private::core::env!("CARGO_MANIFEST_DIR"), #inside))
    }

    /// What makes cargo compile the struct again when the file or the mode changes.
    fn tracked(&self, exists: bool) -> TokenStream {
        let private = self.private();
        let core = quote!(#private::core);
        let path = self.path();
        // Where there is no file, nothing but the test that makes one depends on the mode.
        let (only, file) = if exists {
            (None, Some(quote!(const _: &[#core::primitive::u8] = #core::include_bytes!(#path);)))
        } else {
            (Some(quote!(#[cfg(test)])), None)
        };
        quote! {
            #file
            #only
            const _: #core::option::Option<&#core::primitive::str> = #core::option_env!("SESSION_SCHEMA");
        }
    }

    fn locked(&self, text: &str, accept: bool, errors: &mut Errors) -> TokenStream {
        let schema = self.schema;
        let recorded = match lock::read(text) {
            Ok(recorded) => recorded,
            Err(unreadable) => {
                let line = unreadable.line.map_or_else(String::new, |line| format!(", line {line}"));
                let report = Report::at(schema.ident.span(), format!("{}{line}: {}", self.shown, unreadable.what));
                errors
                    .push(unreadable.help.iter().fold(report, |report, help| report.help(help.replace("<file>", &self.shown))));
                return TokenStream::new();
            }
        };
        let verdict = lock::compare(&recorded, schema, &self.shown);
        let whole = verdict.refused.is_empty();
        verdict.refused.into_iter().for_each(|report| errors.push(report));
        let assertions = self.assertions(&verdict.assertions);
        let idle = verdict.idle.map(|report| self.if_all_hold(&verdict.assertions, report, errors));
        let test = match (whole, accept, verdict.pending.is_empty()) {
            (true, true, _) => self.accepting(Some(text), lock::record(Some(&recorded), schema)),
            (true, false, true) => self.checking(&recorded),
            (true, false, false) => self.if_all_hold(&verdict.assertions, self.unrecorded(&recorded, &verdict.pending), errors),
            (false, _, _) => TokenStream::new(),
        };
        quote!(#assertions #idle #test)
    }

    /// The struct says what changed, and the file has not heard of it.
    fn unrecorded(&self, recorded: &Lock, pending: &[String]) -> Report {
        let (version, was) = (self.schema.version, recorded.version);
        let what = if version == was { format!("a change of version {version}") } else { format!("version {version}") };
        Report::at(self.schema.version_at, format!("{what} of `{}` is not recorded yet", self.schema.name))
            .help(format!("if this is what you want, record it: `{COMMAND}`"))
            .note(format!("it {}; {} is at version {was}", pending.join(", "), self.shown))
    }

    fn refuse(&self, report: &Report) -> TokenStream {
        let private = self.private();
        report.call(&quote!(#private::lock::refuse))
    }

    fn assertions(&self, assertions: &[Assertion]) -> TokenStream {
        let each = assertions.iter().map(|assertion| {
            let (holds, otherwise) = (self.holds(assertion), self.refuse(&assertion.otherwise));
            quote!(const _: () = if !#holds { #otherwise };)
        });
        each.collect()
    }

    /// An error that is the next one only after those of the shapes: until they are what they were, there is more to be said.
    fn if_all_hold(&self, assertions: &[Assertion], report: Report, errors: &mut Errors) -> TokenStream {
        if assertions.is_empty() {
            errors.push(report);
            return TokenStream::new();
        }
        let otherwise = self.refuse(&report);
        let holds = assertions.iter().map(|assertion| self.holds(assertion));
        quote!(const _: () = if true #(&& #holds)* { #otherwise };)
    }

    fn holds(&self, Assertion { ty, shape, .. }: &Assertion) -> TokenStream {
        let coding = past::coding(&self.private(), ty, Storage::Shaped);
        quote!((#coding.shape().as_u64() == #shape))
    }

    fn test(&self, body: TokenStream) -> TokenStream {
        let private = self.private();
        let core = quote!(#private::core);
        let name = crate::check::snake_case(&self.schema.ident.to_string());
        let name = format_ident!("session_schema_of_{}", name.trim_start_matches("r#"), span = Span::mixed_site());
        quote! {
            #[cfg(test)]
            #[#core::prelude::v1::test]
            #[allow(deprecated)]
            fn #name() -> #core::result::Result<(), #private::lock::Failed> {
                #body
            }
        }
    }

    /// A test that what was recorded can be read today.
    fn checking(&self, recorded: &Lock) -> TokenStream {
        let Schema { root, ident, .. } = self.schema;
        let private = self.private();
        let shown = &self.shown;
        let of_field = self.schema.fields.iter().flat_map(|field| {
            let forms = recorded.fields.get(field.stored()).into_iter().flat_map(lock::Field::forms);
            forms.zip(field.in_use()).map(|(form, generation)| {
                let what = format!("`{}` as version {} stored it, a `{}`", field.name, form.since, form.ty);
                self.recorded(&field.name, &generation.key, &what, form.shape, &form.samples.kept)
            })
        });
        let of_sources = self.schema.fields.iter().flat_map(|field| {
            field.from.iter().flat_map(|from| &from.sources).filter_map(|source| {
                let name = &source.key.stored;
                let removed = recorded.removed.get(name)?;
                let what = format!("`{}` from `{name}`, a `{}`", field.name, removed.ty);
                Some(self.recorded(&field.name, &source.key, &what, removed.shape, &removed.samples.kept))
            })
        });
        let samples = of_field.chain(of_sources);
        self.test(quote! {
            #private::lock::check(<#ident as #root::SessionData>::__schema(), #shown, &[#(#samples),*])
        })
    }

    fn recorded(&self, field: &str, key: &Key, what: &str, shape: lock::Shape, samples: &[String]) -> TokenStream {
        let private = self.private();
        let shape = match shape {
            lock::Shape::Hash(shape) => shape,
            lock::Shape::Opaque | lock::Shape::Unknown | lock::Shape::Of(_) => 0,
        };
        quote!(#private::lock::Recorded { field: #field, key: #key, what: #what, shape: #shape, samples: &[#(#samples),*] })
    }

    /// A test that writes the file.
    fn accepting(&self, before: Option<&str>, Record { lock, types }: Record) -> TokenStream {
        let Schema { root, ident, fields, .. } = self.schema;
        let private = self.private();
        let core = quote!(#private::core);
        let (path, shown) = (self.path(), &self.shown);
        let before = match before {
            Some(text) => quote!(#core::option::Option::Some(#text)),
            None => quote!(#core::option::Option::None),
        };
        let initial = Ident::new("__initial", Span::mixed_site());
        let (head, body) = lock::write(&lock);
        let parts = body.into_iter().map(|piece| match piece {
            Piece::Text(text) => quote!(#private::lock::Part::Text(#text)),
            Piece::Shape(number) => {
                let shape = types.get(number).map(|ty| past::coding(&private, ty, Storage::Shaped));
                quote!(#private::lock::Part::Shape(#shape.shape()))
            }
            Piece::Samples { kept, field } => match fields.get(field) {
                Some(field) => self.samples(field, &kept, &initial),
                None => TokenStream::new(),
            },
        });
        let parts = parts.collect::<Vec<_>>();
        self.test(quote! {
            let #initial = <#ident as #root::SessionData>::initial();
            #private::lock::accept(#path, #shown, #before, #head, &[#(#parts),*])
        })
    }

    fn samples(&self, field: &Field, kept: &[String], initial: &Ident) -> TokenStream {
        let Field { ident, ty, samples, storage, .. } = field;
        let private = self.private();
        let core = quote!(#private::core);
        let coding = past::coding(&private, ty, *storage);
        let more = match samples {
            Some(path) => quote!(#private::lock::values::<#ty, _>(#path)),
            None => quote!(#core::iter::empty()),
        };
        quote! {
            #private::lock::Part::Samples(#private::lock::samples(
                #coding, &[#(#kept),*], #initial.#ident, #more
            )?)
        }
    }
}
