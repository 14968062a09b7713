//! A lock's text to what it says. Exactly what is written is read: anything else was not written by the command.

use super::{COMMAND, Field, Form, Lock, Removed, Samples, Shape, write};
use std::{collections::BTreeMap, fmt};

/// Why a lock cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// From 1; `None` where the whole text is meant.
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
    pub(crate) help: Vec<String>,
}

impl Unreadable {
    fn at(line: usize, what: impl fmt::Display) -> Self {
        Self {
            line: Some(line),
            what: what.to_string(),
            help: vec!["nothing in it is written by hand; take the file back from your version control".to_owned()],
        }
    }

    fn conflict(line: usize) -> Self {
        Self {
            line: Some(line),
            what: "two branches changed this schema, and git left the conflict to you".to_owned(),
            help: vec![
                "take one side of this file whole: `git checkout --ours <file>`".to_owned(),
                format!(
                    "then give what the other side changed a version of its own in the struct, above the one in the file, and run `{COMMAND}`"
                ),
            ],
        }
    }
}

/// Reads a lock.
pub(crate) fn read(text: &str) -> Result<Lock, Unreadable> {
    let tables = tables(text)?;
    let mut tables = tables.into_iter();
    let Some(mut top) = tables.next() else { return Err(Unreadable::at(1, "the file is empty")) };
    let mut lock =
        Lock { name: top.text("name")?, version: top.version("version")?, fields: BTreeMap::new(), removed: BTreeMap::new() };
    let sum = top.text("sum")?;
    top.finish()?;
    for mut table in tables {
        let taken = Unreadable::at(table.line, format!("the table is there twice: {}", table.place));
        match table.place.clone() {
            Place::Top => {}
            Place::Field(key) => {
                let field = Field {
                    merge: table.text("merge")?,
                    from: table.optional_list("from")?,
                    forget_before: table.optional_version("forget_before")?,
                    past: Vec::new(),
                    now: table.form()?,
                };
                if lock.fields.contains_key(&key) {
                    return Err(taken);
                }
                lock.fields.insert(key, field);
            }
            Place::Past(key) => {
                let form = table.form()?;
                let Some(field) = lock.fields.get_mut(&key) else {
                    return Err(Unreadable::at(table.line, format!("`{key}` has a past before it is there itself")));
                };
                field.past.push(form);
            }
            Place::Removed(key) => {
                let removed = Removed {
                    in_version: table.version("in")?,
                    generation: table.optional_version("generation")?,
                    shape: table.shape()?,
                    ty: table.text("type")?,
                    samples: table.samples()?,
                };
                if lock.removed.contains_key(&key) {
                    return Err(taken);
                }
                lock.removed.insert(key, removed);
            }
        }
        table.finish()?;
    }
    if write::sum_of(&lock).as_ref() != Some(&sum) {
        return Err(Unreadable {
            line: None,
            what:
                "its text does not add up to its `sum`: it was edited, or merged by something that does not know what it means"
                    .to_owned(),
            help: vec![
                "take the file back from your version control, of one branch if two were merged".to_owned(),
                format!("then record what the struct says beyond it: `{COMMAND}`"),
            ],
        });
    }
    Ok(lock)
}

/// Where a table belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Top,
    Field(String),
    Past(String),
    Removed(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("the first lines"),
            Self::Field(key) => write!(f, "`[field.{key}]`"),
            Self::Past(key) => write!(f, "`[[field.{key}.past]]`"),
            Self::Removed(key) => write!(f, "`[removed.{key}]`"),
        }
    }
}

struct Table {
    place: Place,
    line: usize,
    entries: BTreeMap<String, (usize, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Number(u32),
    List(Vec<String>),
}

impl Table {
    fn take(&mut self, name: &str) -> Result<(usize, Value), Unreadable> {
        self.entries.remove(name).ok_or_else(|| Unreadable::at(self.line, format!("`{name}` is missing in {}", self.place)))
    }

    fn text(&mut self, name: &str) -> Result<String, Unreadable> {
        match self.take(name)? {
            (_, Value::Text(text)) => Ok(text),
            (line, _) => Err(Unreadable::at(line, format!("`{name}` is a text in quotes"))),
        }
    }

    fn version(&mut self, name: &str) -> Result<u32, Unreadable> {
        match self.take(name)? {
            (_, Value::Number(number)) if number > 0 => Ok(number),
            (line, _) => Err(Unreadable::at(line, format!("`{name}` is a version, a whole number from 1"))),
        }
    }

    fn optional_version(&mut self, name: &str) -> Result<Option<u32>, Unreadable> {
        if self.entries.contains_key(name) { self.version(name).map(Some) } else { Ok(None) }
    }

    fn list(&mut self, name: &str) -> Result<Vec<String>, Unreadable> {
        match self.take(name)? {
            (_, Value::List(list)) => Ok(list),
            (line, _) => Err(Unreadable::at(line, format!("`{name}` is a list in brackets"))),
        }
    }

    fn optional_list(&mut self, name: &str) -> Result<Vec<String>, Unreadable> {
        if self.entries.contains_key(name) { self.list(name) } else { Ok(Vec::new()) }
    }

    fn samples(&mut self) -> Result<Samples, Unreadable> {
        self.list("samples").map(Samples::from)
    }

    fn shape(&mut self) -> Result<Shape, Unreadable> {
        let line = self.entries.get("shape").map_or(self.line, |(line, _)| *line);
        match self.text("shape")?.as_str() {
            "opaque" => Some(Shape::Opaque),
            "unknown" => Some(Shape::Unknown),
            hash if hash.len() == 16 => u64::from_str_radix(hash, 16).ok().map(Shape::Hash),
            _ => None,
        }
        .ok_or_else(|| Unreadable::at(line, "a `shape` is \"opaque\" or sixteen hexadecimal digits"))
    }

    fn form(&mut self) -> Result<Form, Unreadable> {
        Ok(Form { since: self.version("in")?, shape: self.shape()?, ty: self.text("type")?, samples: self.samples()? })
    }

    /// What nobody asked for was not written by us.
    fn finish(self) -> Result<(), Unreadable> {
        match self.entries.into_iter().next() {
            Some((name, (line, _))) => Err(Unreadable::at(line, format!("`{name}` means nothing in {}", self.place))),
            None => Ok(()),
        }
    }
}

fn tables(text: &str) -> Result<Vec<Table>, Unreadable> {
    let mut tables = vec![Table { place: Place::Top, line: 1, entries: BTreeMap::new() }];
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim_end();
        if ["<<<<<<<", "|||||||", "=======", ">>>>>>>"].iter().any(|mark| content.starts_with(mark)) {
            return Err(Unreadable::conflict(line));
        }
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let unknown = || Unreadable::at(line, format!("`{content}` is neither a table nor an entry"));
        if content.starts_with('[') {
            tables.push(Table { place: place(content).ok_or_else(unknown)?, line, entries: BTreeMap::new() });
        } else if let (Some(table), Some((name, rest))) = (tables.last_mut(), content.split_once(" = ")) {
            let value = value(rest).ok_or_else(unknown)?;
            if table.entries.insert(name.to_owned(), (line, value)).is_some() {
                return Err(Unreadable::at(line, format!("`{name}` is there twice in {}", table.place)));
            }
        } else {
            return Err(unknown());
        }
    }
    Ok(tables)
}

fn place(content: &str) -> Option<Place> {
    if let Some(inside) = content.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
        return key(inside.strip_prefix("field.")?.strip_suffix(".past")?).map(Place::Past);
    }
    let inside = content.strip_prefix('[')?.strip_suffix(']')?;
    match inside.split_once('.')? {
        ("field", name) => key(name).map(Place::Field),
        ("removed", name) => key(name).map(Place::Removed),
        _ => None,
    }
}

fn key(text: &str) -> Option<String> {
    if text.starts_with('"') {
        return match quoted(text)? {
            (key, "") => Some(key),
            _ => None,
        };
    }
    (!text.is_empty() && !text.contains('.')).then(|| text.to_owned())
}

fn value(text: &str) -> Option<Value> {
    if let Some(inside) = text.strip_prefix('[') {
        let mut rest = inside.strip_suffix(']')?;
        let mut list = Vec::new();
        while !rest.is_empty() {
            let (item, after) = quoted(rest)?;
            list.push(item);
            rest = if after.is_empty() { after } else { after.strip_prefix(", ")? };
        }
        return Some(Value::List(list));
    }
    match quoted(text) {
        Some((text, "")) => Some(Value::Text(text)),
        Some(_) => None,
        None => text.parse().ok().map(Value::Number),
    }
}

/// The quoted text at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(at + 2..)?)),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}
