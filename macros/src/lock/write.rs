//! A lock to its text, with holes where only the user's compiler knows the value.

use super::{Form, Lock, Samples, Shape, sum};
use std::fmt::Write;

/// A part of a lock's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// A shape in quotes, of the type with this number.
    Shape(usize),
    /// Samples in quotes, with commas between: those kept, and what the field with this number encodes today.
    Samples {
        kept: Vec<String>,
        field: usize,
    },
}

/// The lines before the sum. The sum is over everything but its own line and what is there for people.
fn head(lock: &Lock) -> String {
    format!("name = {}\nversion = {}\n", quoted(&lock.name), lock.version)
}

/// A lock's text: what comes before the sum, and what comes after it. Sorted, so that the order of fields in the struct is not in it.
pub(crate) fn write(lock: &Lock) -> (String, Vec<Piece>) {
    let mut body = Body::default();
    for (key, field) in &lock.fields {
        let key = bare_or_quoted(key);
        body.line(format_args!("[field.{key}]"));
        if let Some(version) = field.forget_before {
            body.line(format_args!("forget_before = {version}"));
        }
        if !field.from.is_empty() {
            body.line(format_args!("from = {}", list(&field.from)));
        }
        body.line(format_args!("in = {}", field.now.since));
        body.line(format_args!("merge = {}", quoted(&field.merge)));
        body.form(&field.now);
        for form in &field.past {
            body.line(format_args!("[[field.{key}.past]]"));
            body.line(format_args!("in = {}", form.since));
            body.form(form);
        }
    }
    for (key, removed) in &lock.removed {
        body.line(format_args!("[removed.{}]", bare_or_quoted(key)));
        if let Some(generation) = removed.generation {
            body.line(format_args!("generation = {generation}"));
        }
        body.line(format_args!("in = {}", removed.in_version));
        body.stored(&removed.samples, removed.shape, &removed.ty);
    }
    (head(lock), body.pieces)
}

/// The text of a lock without holes, but for its sum; `None` if there are any.
pub(super) fn unsummed(lock: &Lock) -> Option<String> {
    let (head, body) = write(lock);
    body.into_iter().try_fold(head, |text, piece| match piece {
        Piece::Text(more) => Some(text + &more),
        Piece::Shape(_) | Piece::Samples { .. } => None,
    })
}

/// The sum of a lock without holes.
pub(super) fn sum_of(lock: &Lock) -> Option<String> {
    unsummed(lock).map(|text| sum(&text))
}

#[derive(Default)]
struct Body {
    pieces: Vec<Piece>,
}

impl Body {
    fn text(&mut self, text: impl std::fmt::Display) {
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            // Writing to a string does not fail.
            let _ = write!(last, "{text}");
        } else {
            self.pieces.push(Piece::Text(text.to_string()));
        }
    }

    fn line(&mut self, text: impl std::fmt::Display) {
        self.text(format_args!("{text}\n"));
    }

    fn form(&mut self, form: &Form) {
        self.stored(&form.samples, form.shape, &form.ty);
    }

    fn stored(&mut self, samples: &Samples, shape: Shape, ty: &str) {
        self.text("samples = ");
        match samples.fresh {
            Some(field) => {
                self.text("[");
                self.pieces.push(Piece::Samples { kept: samples.kept.clone(), field });
                self.text("]");
            }
            None => self.text(list(&samples.kept)),
        }
        self.text("\nshape = ");
        match shape {
            Shape::Opaque => self.text("\"opaque\""),
            Shape::Unknown => self.text("\"unknown\""),
            Shape::Hash(hash) => self.text(format_args!("\"{hash:016x}\"")),
            Shape::Of(number) => self.pieces.push(Piece::Shape(number)),
        }
        self.text(format_args!("\ntype = {}\n", quoted(ty)));
    }
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A key as TOML writes it in a table's name.
fn bare_or_quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare { key.to_owned() } else { quoted(key) }
}
