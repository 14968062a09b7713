//! What the generated tests of a schema lock do: read old samples with today's code, or write the file anew.

use super::{
    codec::{CodecError, Residue},
    coding::Coding,
    def::Schema,
    untyped::Opener,
    value::{EMPTY, fnv},
};
use crate::record::{Cell, CellBody, CellKey, Cells, CodecId, Content, Payload, Shape, Timestamp};
use std::{fmt, io::Write, path::Path};

/// Why a lock's test failed. What libtest shows of an error is its `Debug`, so that is the text.
pub struct Failed(String);

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ends the compilation of whatever is not as it was recorded, at the place of the call.
///
/// # Panics
/// Always: it is called by the compiler alone.
#[track_caller]
#[expect(clippy::panic, reason = "it is how a constant says that it must not be")]
pub const fn refuse(message: &str) -> ! {
    panic!("{}", message)
}

/// One generation of a field, or a removed field that one is computed from, as a lock has it.
#[derive(Debug)]
pub struct Recorded {
    /// The name of the field that reads it.
    pub field: &'static str,
    /// The physical key.
    pub key: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Its shape; 0 where there is none.
    pub shape: u64,
    /// Encoded values.
    pub samples: &'static [&'static str],
}

/// Reads every sample as if a session held it.
///
/// # Errors
/// If one cannot be read.
pub fn check(schema: &Schema, file: &str, recorded: &[Recorded]) -> Result<(), Failed> {
    let failures: Vec<String> = recorded
        .iter()
        .flat_map(|generation| generation.samples.iter().map(move |sample| (generation, sample)))
        .filter_map(|(generation, sample)| {
            let why = read(schema, generation, sample).err()?;
            Some(format!("{}, {sample}: {why}", generation.what))
        })
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failed(format!(
        "stored sessions would no longer be read; {file} has samples of them\n\n  - {}\n\n  = help: let `up`, `validate` and the type's `Deserialize` accept what was stored",
        failures.join("\n  - ")
    )))
}

fn read(schema: &Schema, generation: &Recorded, sample: &str) -> Result<(), String> {
    let field = schema.fields.iter().find(|field| field.name() == generation.field).ok_or("there is no such field")?;
    let (codec, payload) = decoded(sample).ok_or("it is not hexadecimal; take the file back from your version control")?;
    let shape = Shape::from_u64(generation.shape);
    let body = CellBody::new(Content::Value { codec, shape, sealed: false, payload: Payload::from(&payload[..]) });
    let mut cells = Cells::default();
    cells.insert(Cell::new(CellKey::from_static(generation.key), 1, body));
    match field.stored(&Opener::new(Some(&cells), None, Timestamp::from_millis(0))) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("it falls back to its default".to_owned()),
        Err(undecodable) => Err(undecodable.cause.to_string()),
    }
}

/// A piece of the text that a lock shall have.
#[derive(Debug)]
pub enum Part {
    /// As it is.
    Text(&'static str),
    /// The shape of a type.
    Shape(Shape),
    /// The samples of a generation.
    Samples(Vec<String>),
}

/// What `samples = ..` may name.
#[diagnostic::on_unimplemented(
    message = "this function gives no samples of `{V}`",
    label = "expected a `fn() -> impl IntoIterator<Item = {V}>`, e.g. `fn() -> Vec<{V}>`"
)]
pub trait Samples<V> {
    /// The values.
    fn values(&self) -> Vec<V>;
}

#[diagnostic::do_not_recommend]
impl<F: Fn() -> S, S: IntoIterator<Item = V>, V> Samples<V> for F {
    fn values(&self) -> Vec<V> {
        self().into_iter().collect()
    }
}

/// The values of such a function. Named for every build, since a function that only a test calls would be unused in all others.
pub fn values<V, F: Samples<V>>(samples: F) -> Vec<V> {
    samples.values()
}

/// The samples of today's generation: those kept, and each value that none of them is equal to.
///
/// # Errors
/// If a value cannot be encoded.
pub fn samples<V>(
    coding: Coding<V>,
    kept: &[&str],
    default: V,
    more: impl IntoIterator<Item = V>,
) -> Result<Vec<String>, Failed> {
    let mut samples: Vec<String> = kept.iter().map(|&sample| sample.to_owned()).collect();
    for value in [default].into_iter().chain(more) {
        let why = |error: CodecError| Failed(format!("a sample cannot be recorded: {error}"));
        let codec = coding.codec.ok_or_else(|| why(CodecError::Encode("no codec is compiled in".to_owned())))?;
        let bytes = coding.encoded(&value, Residue::Left).map_err(why)?;
        // The same value may have other bytes: in another codec, or where a hash map is in it.
        let is_known = |sample: &String| {
            let Some((codec, old)) = decoded(sample) else { return false };
            let old = (coding.decode)(codec, &old).and_then(|old| coding.encoded(&old, Residue::Left));
            old.is_ok_and(|old| coding.is_same(&old, &bytes))
        };
        if !samples.iter().any(is_known) {
            samples.push(encoded(codec, &bytes));
        }
    }
    Ok(samples)
}

/// Writes a lock, if its text changes, and shows how.
///
/// # Errors
/// If the file is not what it was at compile time, or cannot be written.
pub fn accept(path: &str, file: &str, before: Option<&str>, head: &str, body: &[Part]) -> Result<(), Failed> {
    let failed = |error: std::io::Error| Failed(format!("{file} could not be written: {error}"));
    let path = Path::new(path);
    let found = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let text = text(head, body);
    if found.as_deref() == Some(&text[..]) {
        return Ok(());
    }
    if found.as_deref() != before {
        // It was written since this was compiled, perhaps by this very test: a file that was not there could not be watched, and a
        // struct can be part of a library and of a program.
        return match found {
            Some(found) if says_the_same(&found, &text) => Ok(()),
            _ => Err(Failed(format!(
                "{file} changed since this test was compiled; save the file with the struct again, and run the command again"
            ))),
        };
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    // Whoever reads the file meanwhile, such as another compiler, sees the old one or the new one.
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let written = std::fs::write(&new, &text).and_then(|()| std::fs::rename(&new, path));
    if let Err(error) = written {
        // What is left of it is of no use; that it cannot be removed either is no news.
        let _ = std::fs::remove_file(&new);
        return Err(failed(error));
    }
    let difference = difference(before.unwrap_or_default(), &text);
    // Around the test harness, which would keep it to itself. Whether it can be shown does not change what was done.
    let _ = write!(std::io::stderr(), "\nrecorded {file}; commit it with the change\n{difference}\n");
    Ok(())
}

/// Whether two locks differ in their samples at most, which need not have the same bytes each time.
fn says_the_same(one: &str, other: &str) -> bool {
    let lines = |text: &str| {
        let is_stable = |line: &&str| !line.starts_with("samples = ") && !line.starts_with("sum = ");
        text.lines().filter(is_stable).map(str::to_owned).collect::<Vec<_>>()
    };
    lines(one) == lines(other)
}

/// The first line of every lock, for whoever opens one. It is no part of the sum, so that it can be worded otherwise one day.
const HEADER: &str =
    "# How cloakroom stores this struct. Not edited by hand; a change is recorded by SESSION_SCHEMA=accept cargo test\n";

fn text(head: &str, body: &[Part]) -> String {
    let body: String = body
        .iter()
        .map(|part| match part {
            Part::Text(text) => (*text).to_owned(),
            Part::Shape(shape) => format!("\"{:016x}\"", shape.as_u64()),
            Part::Samples(samples) => samples.iter().map(|sample| format!("\"{sample}\"")).collect::<Vec<_>>().join(", "),
        })
        .collect();
    let sum = head.bytes().chain(body.bytes()).fold(EMPTY, fnv);
    format!("{HEADER}{head}sum = \"{sum:016x}\"\n{body}")
}

/// Bytes as a lock writes them: hexadecimal, after the codec's name unless that is the default.
fn encoded(codec: CodecId, bytes: &[u8]) -> String {
    let prefix = match codec {
        CodecId::BINCODE => String::new(),
        CodecId::POSTCARD => "postcard:".to_owned(),
        CodecId::JSON => "json:".to_owned(),
        other => format!("{}:", other.as_u8()),
    };
    bytes.iter().fold(prefix, |text, byte| format!("{text}{byte:02x}"))
}

fn decoded(sample: &str) -> Option<(CodecId, Vec<u8>)> {
    let (codec, hex) = match sample.split_once(':') {
        None => (CodecId::BINCODE, sample),
        Some(("postcard", hex)) => (CodecId::POSTCARD, hex),
        Some(("json", hex)) => (CodecId::JSON, hex),
        Some((other, hex)) => (CodecId::from_u8(other.parse().ok()?), hex),
    };
    let digits: Vec<u32> = hex.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    });
    Some((codec, bytes.collect::<Option<_>>()?))
}

/// The lines that went and came, each with the table it is in.
fn difference(before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    // The longest common subsequence, from every pair of places on.
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i][j] =
                if before[i] == after[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut table, mut text) = (0, 0, None, String::new());
    while i < before.len() || j < after.len() {
        let kept = i < before.len() && j < after.len() && before[i] == after[j];
        let gone = !kept && i < before.len() && (j == after.len() || common[i + 1][j] >= common[i][j + 1]);
        let (sign, line) = if gone { ('-', before[i]) } else { ('+', after[j]) };
        if kept {
            if line.starts_with('[') {
                table = Some(line);
            }
        } else {
            if let Some(table) = table.take().filter(|_| !line.starts_with('[')) {
                text.push_str(&format!("    {table}\n"));
            }
            text.push_str(&format!("  {sign} {line}\n"));
        }
        i += usize::from(kept || gone);
        j += usize::from(kept || !gone);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{SessionData, schema::Stored};

    #[test]
    fn bytes_survive_their_way_through_a_lock_with_their_codec() {
        for codec in [CodecId::BINCODE, CodecId::POSTCARD, CodecId::JSON, CodecId::from_u8(9)] {
            for bytes in [&b""[..], &[0, 255, 16], b"{}"] {
                assert_eq!(decoded(&encoded(codec, bytes)), Some((codec, bytes.to_vec())));
            }
        }
        assert_eq!(encoded(CodecId::BINCODE, &[0xfb, 0xe8, 3]), "fbe803");
        for broken in ["0", "0g", "yaml:00", "é"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }

    #[cfg(feature = "bincode")]
    #[test]
    fn a_sample_that_is_known_is_not_recorded_again() {
        let of = |kept: &[&str], more: &[u32]| samples(<u32 as Stored>::CODING, kept, 0, more.iter().copied()).unwrap();
        assert_eq!(of(&[], &[]), ["00"]);
        assert_eq!(of(&["00"], &[0, 7]), ["00", "07"]);
        assert_eq!(of(&["fbe803", "00"], &[1_000]), ["fbe803", "00"]);
    }

    #[test]
    fn a_difference_shows_the_lines_that_changed_under_their_tables() {
        let before = "version = 1\n[field.a]\nin = 1\nshape = 1\n[field.b]\nin = 1\n";
        let after = "version = 2\n[field.a]\nin = 2\nshape = 1\n[field.b]\nin = 1\n[field.c]\nin = 2\n";
        assert_eq!(
            difference(before, after),
            "  - version = 1\n  + version = 2\n    [field.a]\n  - in = 1\n  + in = 2\n  + [field.c]\n  + in = 2\n"
        );
    }

    #[test]
    fn the_sum_is_over_what_a_lock_says_to_the_compiler() {
        let text = text("name = \"shop\"\n", &[Part::Text("[field.a]\n")]);
        let sum = "name = \"shop\"\n[field.a]\n".bytes().fold(EMPTY, fnv);
        assert_eq!(text, format!("{HEADER}name = \"shop\"\nsum = \"{sum:016x}\"\n[field.a]\n"));
    }

    #[derive(SessionData)]
    struct Shop {
        #[session(validate = small)]
        total: u32,
        #[session(lossy)]
        note: String,
    }

    fn small(total: &u32) -> bool {
        *total < 100
    }

    fn outcome(field: &'static str, key: &'static str, shape: Shape, sample: &'static str) -> Option<String> {
        let samples: &'static [&'static str] = Box::leak(Box::new([sample]));
        let recorded = Recorded { field, key, what: "a `u32`", shape: shape.as_u64(), samples };
        check(Shop::__schema(), "session-schema/shop.lock", &[recorded]).err().map(|failed| format!("{failed:?}"))
    }

    #[cfg(feature = "bincode")]
    #[test]
    fn a_sample_is_read_as_a_stored_value_is_and_says_why_not() {
        let number = <u32 as crate::SessionValue>::SHAPE;
        let text = <String as crate::SessionValue>::SHAPE;
        assert_eq!(outcome("total", "shop/total", number, "07"), None);
        assert_eq!(outcome("note", "shop/note", text, "0161"), None);
        for (case, word) in [
            (outcome("total", "shop/total", text, "07"), "shape"),
            (outcome("total", "shop/total", number, "fbe803"), "validation"),
            (outcome("total", "shop/total", number, "0707"), "left over"),
            (outcome("total", "shop/total", number, "0"), "hexadecimal"),
            (outcome("note", "shop/note", number, "07"), "default"),
            (outcome("gone", "shop/gone", number, "07"), "no such field"),
        ] {
            let case = case.unwrap();
            assert!(case.contains(word) && case.contains("session-schema/shop.lock"), "{case}");
        }
    }

    #[test]
    fn a_lock_is_written_whole_once_and_not_over_another_change() {
        let folder = std::env::temp_dir().join(format!("cloakroom-lock-{}", std::process::id()));
        let path = folder.join("session-schema/shop.lock");
        let path = path.to_str().unwrap();
        let body = |shape| [Part::Text("shape = "), Part::Shape(Shape::from_u64(shape)), Part::Text("\n")];
        let write = |before: Option<&str>, shape| accept(path, "shop.lock", before, "name = \"shop\"\n", &body(shape));
        write(None, 0).unwrap();
        let first = std::fs::read_to_string(path).unwrap();
        assert!(
            first.starts_with(&format!("{HEADER}name = \"shop\"\nsum = \""))
                && first.ends_with("\nshape = \"0000000000000000\"\n"),
            "{first}"
        );
        write(None, 0).unwrap();
        std::fs::write(path, first.replace("sum = \"", "samples = []\nsum = \"0")).unwrap();
        write(None, 0).unwrap();
        std::fs::write(path, &first).unwrap();
        assert!(write(None, 1).is_err(), "the file is another one by now");
        write(Some(&first), 1).unwrap();
        assert!(std::fs::read_to_string(path).unwrap().ends_with("shape = \"0000000000000001\"\n"));
        assert_eq!(std::fs::read_dir(folder.join("session-schema")).unwrap().count(), 1, "nothing else is left");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
