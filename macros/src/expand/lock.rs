//! What a schema's lock adds to an expansion: assertions, errors, and the test that reads old samples or records a change.

use super::place;
use crate::{
    diag::{Errors, Report},
    lock::{self, Assertion, COMMAND, Lock, Piece, Record},
    model::{self, Field, Schema, Storage},
    surroundings::{FOLDER, Mode, Surroundings},
};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};

pub(super) fn expand(schema: &Schema, surroundings: &Surroundings, errors: &mut Errors) -> TokenStream {
    let named = matches!(schema.lock, model::Lock::File(_));
    let file = match &schema.lock {
        model::Lock::Off => return TokenStream::new(),
        model::Lock::Default => file_name(&schema.name),
        model::Lock::File(file) => file_name(&file.value()),
    };
    let Some(path) = surroundings.lock(&file, named) else { return TokenStream::new() };
    let shown = format!("{FOLDER}/{file}");
    let locked = Locked { schema, shown };
    let text = match surroundings.read(&path) {
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
    if accept && !surroundings.claim(&path) {
        errors.push(
            Report::new(&schema.ident, format!("another struct of this crate is recorded in {}", locked.shown))
                .help("for a struct of a test: `#[session(lock = off)]`")
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
        let idle = verdict.idle.map(|report| self.idle(&verdict.assertions, &report));
        let test = match (whole, accept, verdict.pending.is_empty()) {
            (true, true, _) => Some(self.accepting(Some((text, &recorded)), lock::record(Some(&recorded), schema))),
            (true, false, true) => Some(self.checking(&recorded)),
            (true, false, false) => {
                errors.push(self.unrecorded(&recorded, &verdict.pending));
                None
            }
            (false, _, _) => None,
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

    fn assertions(&self, assertions: &[Assertion]) -> TokenStream {
        let panic = self.private();
        let panic = quote!(#panic::core::panic);
        assertions
            .iter()
            .map(|assertion| {
                let (holds, otherwise) = (self.holds(assertion), assertion.otherwise.call(&panic));
                quote!(const _: () = if !#holds { #otherwise };)
            })
            .collect()
    }

    /// A new version must have something new: if every shape is what it was, it has not.
    fn idle(&self, assertions: &[Assertion], report: &Report) -> TokenStream {
        let panic = self.private();
        let otherwise = report.call(&quote!(#panic::core::panic));
        let holds = assertions.iter().map(|assertion| self.holds(assertion));
        quote!(const _: () = if true #(&& #holds)* { #otherwise };)
    }

    fn holds(&self, Assertion { ty, shape, .. }: &Assertion) -> TokenStream {
        let private = self.private();
        let bound = super::at(place(ty), &quote!(#private::Stored));
        quote!((<#ty as #bound>::CODING.shape().as_u64() == #shape))
    }

    fn test(&self, body: TokenStream) -> TokenStream {
        let private = self.private();
        let core = quote!(#private::core);
        let name = crate::check::snake_case(&self.schema.ident.to_string());
        let name = format_ident!("session_schema_of_{}", name.trim_start_matches("r#"), span = Span::mixed_site());
        quote! {
            #[cfg(test)]
            #[#core::prelude::v1::test]
            #[allow(deprecated, unnameable_test_items)]
            fn #name() -> #core::result::Result<(), #private::lock::Failed> {
                #body
            }
        }
    }

    /// A test that what was recorded can be read today.
    fn checking(&self, recorded: &Lock) -> TokenStream {
        let Schema { root, ident, name, .. } = self.schema;
        let private = self.private();
        let shown = &self.shown;
        let samples = self.schema.fields.iter().flat_map(|field| {
            let forms = recorded.fields.get(lock::stored_name(field)).into_iter().flat_map(lock::Field::forms);
            let forms = forms.zip(field.in_use());
            forms.map(|(form, generation)| {
                let (field, key, since, ty) = (&field.name, &generation.key, form.since, &form.ty);
                let shape = match form.shape {
                    lock::Shape::Hash(shape) => shape,
                    lock::Shape::Opaque | lock::Shape::Unknown | lock::Shape::Of(_) => 0,
                };
                let samples = &form.samples.kept;
                quote!(#private::lock::Recorded { field: #field, key: #key, since: #since, ty: #ty, shape: #shape, samples: &[#(#samples),*] })
            })
        });
        let _ = name;
        self.test(quote! {
            #private::lock::check(<#ident as #root::SessionData>::__schema(), #shown, &[#(#samples),*])
        })
    }

    /// A test that writes the file.
    fn accepting(&self, before: Option<(&str, &Lock)>, Record { lock, types }: Record) -> TokenStream {
        let Schema { root, ident, fields, .. } = self.schema;
        let private = self.private();
        let core = quote!(#private::core);
        let (path, shown) = (self.path(), &self.shown);
        let before = match before {
            Some((text, _)) => quote!(#core::option::Option::Some(#text)),
            None => quote!(#core::option::Option::None),
        };
        let initial = Ident::new("__initial", Span::mixed_site());
        let (head, body) = lock::write(&lock);
        let parts = body.into_iter().map(|piece| match piece {
            Piece::Text(text) => quote!(#private::lock::Part::Text(#text)),
            Piece::Shape(number) => {
                let ty = types.get(number);
                quote!(#private::lock::Part::Shape(#private::Probe::<#ty>::SHAPE))
            }
            Piece::Samples { kept, field } => match fields.get(field) {
                Some(field) => self.samples(field, &kept, &initial),
                None => TokenStream::new(),
            },
        });
        let parts = parts.collect::<Vec<_>>();
        self.test(quote! {
            #[allow(unused_imports)]
            use #private::{NoEq as _, NoShape as _};
            let #initial = <#ident as #root::SessionData>::initial();
            #private::lock::accept(#path, #shown, #before, #head, &[#(#parts),*])
        })
    }

    fn samples(&self, field: &Field, kept: &[String], initial: &Ident) -> TokenStream {
        let Field { ident, ty, samples, storage, .. } = field;
        let private = self.private();
        let core = quote!(#private::core);
        let coding = match storage {
            Storage::Shaped => quote!(#private::Stored),
            Storage::Opaque(_) => quote!(#private::StoredOpaque),
        };
        // A secret stays out of the repository, whatever the field's samples are.
        let secret = !matches!(field.secrecy, model::Secrecy::Plain);
        let more = match samples.as_ref().filter(|_| !secret) {
            Some(path) => {
                let call = super::at(place(path), &quote!(#private::lock::values::<#ty, _>));
                quote!(#call(#path()))
            }
            None => quote!(#core::iter::empty()),
        };
        quote! {
            #private::lock::Part::Samples(#private::lock::samples(
                <#ty as #coding>::CODING, #private::Probe::<#ty>::EQ, &[#(#kept),*], #initial.#ident, #more
            )?)
        }
    }
}
