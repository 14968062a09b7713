//! Tokens to raw attributes: every value keeps its place, and an entry that cannot be read does not hide the others.

mod lists;

use self::lists::List;
use crate::diag::{Errors, Report, suggest};
use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Lit, LitInt, LitStr, Type, parse::Parse};

/// Where an attribute stands, which decides what may be in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The struct that derives `SessionData`.
    Schema,
    /// A field of it.
    SchemaField,
    /// The type that derives `SessionValue`.
    Value,
    /// A variant of it.
    Variant,
    /// A field of it.
    ValueField,
}

impl Place {
    const ALL: [Self; 5] = [Self::Schema, Self::SchemaField, Self::Value, Self::Variant, Self::ValueField];

    /// The keys that work here.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Schema => &["name", "version", "removed", "authenticated", "lock", "secret", "crate"],
            Self::SchemaField => &[
                "owner",
                "privilege",
                "keep",
                "default",
                "key",
                "since",
                "changed",
                "from",
                "forget_before",
                "merge",
                "ttl",
                "validate",
                "secret",
                "opaque",
                "lossy",
                "samples",
            ],
            Self::Value => &["shape", "crate"],
            Self::Variant => &["key", "appended"],
            Self::ValueField => &["key", "shape", "recursive"],
        }
    }

    fn knows(self, key: &str) -> bool {
        self.keys().contains(&key)
    }

    /// An entry that could stand here.
    fn example(self) -> &'static str {
        match self {
            Self::Schema => "version = 2",
            Self::SchemaField => "merge = \"add\"",
            Self::Value => "shape = \"address-1\"",
            Self::Variant | Self::ValueField => "key = \"old_name\"",
        }
    }

    fn known(self) -> String {
        let keys = self.keys().iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        format!("known here: {keys}")
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Schema => "the struct that derives `SessionData`",
            Self::SchemaField => "a field of the struct that derives `SessionData`",
            Self::Value => "the type that derives `SessionValue`",
            Self::Variant => "a variant of an enum that derives `SessionValue`",
            Self::ValueField => "a field of a type that derives `SessionValue`",
        }
    }
}

/// The entries of all `#[session(..)]` attributes of one item; what cannot be read is reported and left out.
#[derive(Default)]
pub(crate) struct Attrs {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<Number>,
    pub(crate) removed: Vec<RawRemoved>,
    pub(crate) authenticated: Option<TokenStream>,
    pub(crate) lock: Option<RawLock>,
    pub(crate) root: Option<TokenStream>,
    pub(crate) owner: Option<Ident>,
    pub(crate) privilege: Option<Ident>,
    pub(crate) keep: Option<Ident>,
    pub(crate) default: Option<TokenStream>,
    pub(crate) key: Option<LitStr>,
    pub(crate) since: Option<Number>,
    pub(crate) changed: Vec<RawChanged>,
    pub(crate) from: Option<RawFrom>,
    pub(crate) forget_before: Option<Number>,
    pub(crate) samples: Option<TokenStream>,
    pub(crate) merge: Option<RawMerge>,
    pub(crate) ttl: Option<LitStr>,
    pub(crate) validate: Option<TokenStream>,
    pub(crate) secret: Option<Ident>,
    pub(crate) opaque: Option<Ident>,
    pub(crate) lossy: Option<Ident>,
    pub(crate) recursive: Option<Ident>,
    pub(crate) appended: Option<Ident>,
    pub(crate) shape: Option<LitStr>,
}

/// A whole number and its place.
#[derive(Clone)]
pub(crate) struct Number {
    pub(crate) value: u32,
    pub(crate) literal: LitInt,
}

/// What follows `merge =`.
pub(crate) enum RawMerge {
    Rule(LitStr),
    Function(TokenStream),
}

/// What follows `lock =`.
pub(crate) enum RawLock {
    Off,
    File(LitStr),
}

/// `removed(name: Type, in = n)`.
pub(crate) struct RawRemoved {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) version: Number,
    /// The stored name, if it was not the field's.
    pub(crate) key: Option<LitStr>,
    /// The version in which its stored type last changed.
    pub(crate) since: Option<Number>,
    pub(crate) opaque: Option<Ident>,
}

/// `changed(in = n, from = Type, up = path, down = path)`, of which anything may be missing.
pub(crate) struct RawChanged {
    /// The whole of it.
    pub(crate) at: TokenStream,
    pub(crate) version: Option<Number>,
    pub(crate) from: Option<Type>,
    pub(crate) up: Option<TokenStream>,
    pub(crate) down: Option<TokenStream>,
    pub(crate) forget: Option<Ident>,
    pub(crate) opaque: Option<Ident>,
}

/// `from(name: Type, with = path)`.
pub(crate) struct RawFrom {
    pub(crate) sources: Vec<(Ident, Type)>,
    pub(crate) with: TokenStream,
}

/// Reads the `#[session(..)]` attributes of one item.
pub(crate) fn attrs(attributes: &[Attribute], place: Place, errors: &mut Errors) -> Attrs {
    let mut attrs = Attrs::default();
    let mut seen: Vec<String> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("session")) {
        for entry in entries(attribute, place, errors) {
            let key = entry.key.to_string();
            if !place.knows(&key) {
                errors.push(unknown(&entry.key, place));
            } else if seen.contains(&key) && key != "removed" && key != "changed" {
                errors.push(Report::new(&entry.key, format!("`{key}` is given twice")).help("keep one of the two"));
            } else {
                read(&entry, &mut attrs, errors).unwrap_or_else(|report| errors.push(report));
                seen.push(key);
            }
        }
    }
    attrs
}

fn read(entry: &Entry, attrs: &mut Attrs, errors: &mut Errors) -> Result<(), Report> {
    let key = entry.key.to_string();
    match key.as_str() {
        "name" => attrs.name = Some(entry.string("shop")?),
        "version" => attrs.version = Some(entry.number(2)?),
        "removed" => attrs.removed.extend(lists::removed(&lists::parts(entry, List::Removed, errors)?, errors)),
        "authenticated" => attrs.authenticated = Some(entry.path("has_second_factor")?),
        "owner" => attrs.owner = Some(entry.flag()?),
        "privilege" => attrs.privilege = Some(entry.flag()?),
        "keep" => attrs.keep = Some(entry.flag()?),
        "lock" => attrs.lock = Some(entry.lock()?),
        "crate" => attrs.root = Some(entry.root()?),
        "default" => attrs.default = Some(entry.expression()?),
        "key" => attrs.key = Some(entry.string("old_name")?),
        "since" => attrs.since = Some(entry.number(2)?),
        "changed" => attrs.changed.extend(lists::changed(&lists::parts(entry, List::Changed, errors)?, errors)),
        "from" => attrs.from = lists::from(&lists::parts(entry, List::From, errors)?, errors),
        "forget_before" => attrs.forget_before = Some(entry.number(4)?),
        "samples" => attrs.samples = Some(entry.path("sample_carts")?),
        "merge" => attrs.merge = Some(entry.merge()?),
        "ttl" => attrs.ttl = Some(entry.string("10m").map_err(|report| report.note(DURATIONS))?),
        "validate" => attrs.validate = Some(entry.path("cart_is_sane")?),
        "secret" => attrs.secret = Some(entry.flag()?),
        "opaque" => attrs.opaque = Some(entry.flag()?),
        "lossy" => attrs.lossy = Some(entry.flag()?),
        "recursive" => attrs.recursive = Some(entry.flag()?),
        "appended" => attrs.appended = Some(entry.flag()?),
        "shape" => attrs.shape = Some(entry.string("address-1")?),
        _ => {}
    }
    Ok(())
}

fn unknown(key: &Ident, place: Place) -> Report {
    let word = key.to_string();
    let elsewhere = Place::ALL.into_iter().find(|other| other.knows(&word));
    if let Some(elsewhere) = elsewhere {
        return Report::new(key, format!("`{word}` does not belong on {}", place.describe()))
            .help(format!("it belongs on {}", elsewhere.describe()));
    }
    let report = Report::new(key, format!("unknown attribute `{word}`"));
    match suggest(&word, place.keys().iter().copied()) {
        Some(near) => report.help(format!("did you mean `{near}`?")),
        None => report.help(place.known()),
    }
}

/// One comma-separated entry of an attribute.
struct Entry {
    key: Ident,
    value: Written,
}

/// How an entry was written.
enum Written {
    Flag,
    Value(TokenStream),
    List(Group),
}

impl Entry {
    /// The wrong form: says what was found and what was expected.
    fn misshapen(&self, expected: String) -> Report {
        let key = &self.key;
        let found = match &self.value {
            Written::Flag => format!("`{key}` alone"),
            Written::Value(_) => format!("`{key} = ...`"),
            Written::List(_) => format!("`{key}(...)`"),
        };
        Report::new(key, format!("expected {expected}, found {found}")).help(format!("write {expected}"))
    }

    fn flag(&self) -> Result<Ident, Report> {
        match &self.value {
            Written::Flag => Ok(self.key.clone()),
            Written::Value(_) | Written::List(_) => {
                Err(self.misshapen(format!("`{}`", self.key)).note(format!("`{}` takes no value", self.key)))
            }
        }
    }

    fn value(&self, example: &str) -> Result<&TokenStream, Report> {
        match &self.value {
            Written::Value(tokens) => Ok(tokens),
            Written::Flag | Written::List(_) => Err(self.misshapen(format!("`{} = {example}`", self.key))),
        }
    }

    fn parse<T: Parse>(&self, tokens: &TokenStream) -> Option<T> {
        syn::parse2(tokens.clone()).ok()
    }

    fn string(&self, example: &str) -> Result<LitStr, Report> {
        let tokens = self.value(&format!("{example:?}"))?;
        self.parse(tokens).ok_or_else(|| {
            let key = &self.key;
            let suggested = match self.parse::<Ident>(tokens) {
                Some(word) => word.to_string(),
                None => example.to_owned(),
            };
            Report::new(tokens, format!("`{key}` expects a string in quotes, found `{tokens}`"))
                .help(format!("write `{key} = {suggested:?}`"))
        })
    }

    fn number(&self, example: u32) -> Result<Number, Report> {
        let tokens = self.value(&example.to_string())?;
        let key = &self.key;
        let literal = match self.parse::<Lit>(tokens) {
            Some(Lit::Int(literal)) => literal,
            Some(Lit::Str(text)) if text.value().parse::<u32>().is_ok() => {
                return Err(Report::new(tokens, format!("`{key}` expects a whole number, found a string"))
                    .help(format!("write `{key} = {}`, without quotes", text.value())));
            }
            _ => {
                return Err(Report::new(tokens, format!("`{key}` expects a whole number, found `{tokens}`"))
                    .help(format!("write e.g. `{key} = {example}`")));
            }
        };
        match literal.base10_parse::<u32>() {
            Ok(value) if literal.suffix().is_empty() && value > 0 => Ok(Number { value, literal }),
            _ => Err(Report::new(&literal, format!("`{key}` must be a plain number from 1 to {}", u32::MAX))
                .help(format!("versions start at 1; write e.g. `{key} = {example}`"))),
        }
    }

    /// Anything, as long as it is there: rustc reads it.
    fn expression(&self) -> Result<TokenStream, Report> {
        match &self.value {
            Written::Value(tokens) => Ok(tokens.clone()),
            Written::Flag => Err(Report::new(&self.key, "`default` needs a value")
                .help("write `default = <expression>`, e.g. `default = Theme::Light`")
                .help("or leave `default` out: the field then starts at `Default::default()`")),
            Written::List(group) => Err(Report::new(&self.key, "expected `default = ...`, found `default(...)`")
                .help(format!("write `default = {}`", group.stream()))),
        }
    }

    fn path(&self, example: &str) -> Result<TokenStream, Report> {
        let tokens = self.value(example)?;
        self.function(tokens, example)
    }

    fn function(&self, tokens: &TokenStream, example: &str) -> Result<TokenStream, Report> {
        if let Some(path) = self.parse::<syn::ExprPath>(tokens) {
            return Ok(path.into_token_stream());
        }
        let key = &self.key;
        Err(match self.parse::<LitStr>(tokens).and_then(|text| text.parse::<syn::ExprPath>().ok()) {
            Some(path) => Report::new(tokens, format!("`{key}` expects the path of a function, found a string"))
                .help(format!("write `{key} = {}`, without quotes", path.into_token_stream())),
            None => Report::new(tokens, format!("`{key}` expects the path of a function, found `{tokens}`"))
                .help(format!("put the code into a function and name it here: `{key} = {example}`")),
        })
    }

    fn merge(&self) -> Result<RawMerge, Report> {
        let tokens = self.value("\"add\"")?;
        if let Some(rule) = self.parse::<LitStr>(tokens) {
            return Ok(RawMerge::Rule(rule));
        }
        if let Some(word) = self.parse::<Ident>(tokens)
            && RULES.contains(&word.to_string().as_str())
        {
            return Err(Report::new(tokens, format!("the built-in rule `{word}` is written in quotes"))
                .help(format!("write `merge = \"{word}\"`"))
                .help(format!("for a function of yours with this name: `merge = self::{word}`")));
        }
        self.function(tokens, "my_merge").map(RawMerge::Function)
    }

    fn lock(&self) -> Result<RawLock, Report> {
        let tokens = self.value("\"shop\"")?;
        if self.parse::<Ident>(tokens).is_some_and(|word| word == "off") {
            return Ok(RawLock::Off);
        }
        match self.parse::<LitStr>(tokens) {
            Some(file) if file.value() == "off" => {
                Err(Report::new(&file, "`lock` expects the name of a file, or `off` without quotes")
                    .help("to do without a lock, write `lock = off`"))
            }
            Some(file) => Ok(RawLock::File(file)),
            None => {
                Err(Report::new(tokens, format!("`lock` expects the name of a file in quotes, or `off`, found `{tokens}`"))
                    .help("write e.g. `lock = \"admin_shop\"` for `session-schema/admin_shop.lock`")
                    .help("or `lock = off` to do without a lock"))
            }
        }
    }

    fn ty(&self, example: &str) -> Result<Type, Report> {
        let tokens = self.value(example)?;
        self.parse::<Type>(tokens).ok_or_else(|| {
            let key = &self.key;
            Report::new(tokens, format!("`{key}` expects a type, found `{tokens}`"))
                .help(format!("write e.g. `{key} = {example}`"))
        })
    }

    fn root(&self) -> Result<TokenStream, Report> {
        let tokens = self.value("::cloakroom")?;
        let path =
            self.parse::<syn::Path>(tokens).filter(|path| path.segments.iter().all(|segment| segment.arguments.is_empty()));
        let Some(path) = path else {
            return Err(Report::new(tokens, format!("`crate` expects a path, found `{tokens}`"))
                .help("write e.g. `crate = ::cloakroom`"));
        };
        let first = path.segments.first().map(|first| first.ident.to_string());
        match first.as_deref() {
            // Only where it stands does `$crate` mean what it means.
            Some("$crate") => return Ok(path.into_token_stream()),
            Some("crate") => return Ok(quiet(path)),
            _ if path.leading_colon.is_some() => return Ok(quiet(path)),
            _ => {}
        }
        let text = path.into_token_stream().to_string().replace(' ', "");
        Err(Report::new(tokens, format!("`crate = {text}` is not absolute, so what it means depends on where it stands"))
            .help(format!("write `crate = ::{text}`")))
    }
}

/// The user's tokens as the derive's own, at the same place: lints are quiet about what a derive writes.
pub(crate) fn quiet(tokens: impl ToTokens) -> TokenStream {
    tokens
        .into_token_stream()
        .into_iter()
        .map(|mut token| {
            if let TokenTree::Group(group) = &token {
                let mut moved = Group::new(group.delimiter(), quiet(group.stream()));
                moved.set_span(group.span());
                token = TokenTree::Group(moved);
            }
            token.set_span(token.span().resolved_at(Span::call_site()));
            token
        })
        .collect()
}

/// How a duration is written.
pub(crate) const DURATIONS: &str = "a duration is a whole number and a unit: \"500ms\", \"30s\", \"10m\", \"12h\" or \"7d\"";

/// The names of the built-in merge rules.
pub(crate) const RULES: [&str; 6] = ["last", "add", "max", "min", "union", "strict"];

/// The entries of one attribute, as far as they can be told apart.
fn entries(attribute: &Attribute, place: Place, errors: &mut Errors) -> Vec<Entry> {
    let list = match &attribute.meta {
        syn::Meta::List(list) => list,
        other => {
            errors.push(
                Report::new(other, "expected `session(...)` with something in the parentheses")
                    .help(format!("write e.g. `#[session({})]`", place.example())),
            );
            return Vec::new();
        }
    };
    if let Some(found) = match list.delimiter {
        syn::MacroDelimiter::Paren(_) => None,
        syn::MacroDelimiter::Brace(_) => Some("braces"),
        syn::MacroDelimiter::Bracket(_) => Some("brackets"),
    } {
        errors.push(
            Report::new(list, format!("expected parentheses, but got {found}"))
                .help(format!("write `#[session({})]`", list.tokens)),
        );
    }
    split(list.tokens.clone(), Angles::AfterPunctuation)
        .into_iter()
        .filter_map(|tokens| entry(tokens, place).map_err(|report| errors.push(report)).ok())
        .collect()
}

fn entry(tokens: Vec<TokenTree>, place: Place) -> Result<Entry, Report> {
    let mut rest = tokens.into_iter();
    let key = match rest.next() {
        Some(TokenTree::Ident(key)) => key,
        Some(other) => {
            return Err(Report::new(&other, format!("expected the name of an attribute, found `{other}`"))
                .help(format!("write e.g. `{}`", place.example()))
                .help(place.known()));
        }
        None => return Err(Report::at(Span::call_site(), "a comma too many in `#[session(..)]`").help("remove it")),
    };
    let value = match rest.next() {
        None => Written::Flag,
        Some(TokenTree::Punct(equals)) if equals.as_char() == '=' => {
            let value = rest.by_ref().collect::<Vec<_>>();
            if value.is_empty() {
                return Err(Report::new(&equals, format!("expected a value after `{key} =`"))
                    .help(format!("write `{key} = ...`, or remove `{key} =`")));
            }
            if let [TokenTree::Literal(_), TokenTree::Ident(next), ..] = &value[..]
                && next != "as"
            {
                return Err(missing_comma(next));
            }
            Written::Value(value.into_iter().collect())
        }
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => Written::List(group),
        Some(TokenTree::Group(group)) => {
            let found = if group.delimiter() == Delimiter::Brace { "braces" } else { "brackets" };
            return Err(Report::new(&group, format!("expected parentheses, e.g. `{key}(...)`, but got {found}"))
                .help(format!("write `{key}({})`", group.stream())));
        }
        Some(TokenTree::Punct(colon)) if colon.as_char() == ':' => {
            let value = rest.collect::<TokenStream>();
            return Err(
                Report::new(&colon, format!("expected `=` after `{key}`, found `:`")).help(format!("write `{key} = {value}`"))
            );
        }
        Some(other) => return Err(missing_comma(other)),
    };
    match rest.next() {
        None => Ok(Entry { key, value }),
        Some(extra) => Err(missing_comma(extra)),
    }
}

fn missing_comma(found: impl ToTokens) -> Report {
    let text = found.to_token_stream();
    Report::new(&text, format!("expected a comma before `{text}`"))
        .help("separate entries with commas, e.g. `#[session(merge = \"add\", since = 2)]`")
}

/// When a `<` begins generic arguments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Angles {
    /// After a `::` or an `=`; elsewhere it may compare two values.
    AfterPunctuation,
    /// Always, since no values are compared where types are named.
    Always,
}

/// Splits at the commas that are neither in a group nor between the angle brackets of a path.
fn split(tokens: TokenStream, angles: Angles) -> Vec<Vec<TokenTree>> {
    let mut entries = vec![Vec::new()];
    let mut depth = 0_usize;
    let mut in_parameters = false;
    for token in tokens {
        if let Some(current) = entries.last_mut() {
            match &token {
                TokenTree::Punct(punct) => match punct.as_char() {
                    '|' if in_parameters || opens_closure(current) => in_parameters = !in_parameters,
                    ',' if depth == 0 && !in_parameters => {
                        entries.push(Vec::new());
                        continue;
                    }
                    '<' if depth > 0 || angles == Angles::Always || opens_generics(current) => depth += 1,
                    '>' if depth > 0 && !is_arrow(current) => depth -= 1,
                    _ => {}
                },
                TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Literal(_) => {}
            }
            current.push(token);
        }
    }
    // A trailing comma is nothing, and so is an empty list.
    if entries.last().is_some_and(Vec::is_empty) {
        entries.pop();
    }
    entries
}

/// Whether a `<` after these tokens begins generic arguments, `HashMap::<K, V>`, or a qualified path, `<T as Trait<U>>::new`.
fn opens_generics(before: &[TokenTree]) -> bool {
    match before.last() {
        Some(TokenTree::Punct(punct)) => punct.as_char() != '>',
        Some(TokenTree::Ident(_) | TokenTree::Literal(_) | TokenTree::Group(_)) | None => false,
    }
}

/// Whether a `|` after these tokens begins the parameters of a closure, whose commas are its own.
fn opens_closure(before: &[TokenTree]) -> bool {
    match before.last() {
        Some(TokenTree::Punct(punct)) => punct.as_char() == '=',
        Some(TokenTree::Ident(word)) => word == "move",
        Some(TokenTree::Literal(_) | TokenTree::Group(_)) | None => false,
    }
}

fn is_arrow(before: &[TokenTree]) -> bool {
    matches!(before.last(), Some(TokenTree::Punct(punct)) if matches!(punct.as_char(), '-' | '=') && punct.spacing() == Spacing::Joint)
}
