//! Raw syntax to the model: every rule that the tokens of one type are enough for.

mod generations;
mod roles;

use self::{
    generations::{Name, check_since},
    roles::{Owner, role, stay},
};
use crate::{
    diag::{Errors, Report, suggest},
    model::{
        Copied, Field, Members, Merge, Part, Rule, Schema, Secrecy, Shape, Storage, Unreadable, Value, Variant, VariantPlace,
    },
    syntax::{Attrs, DURATIONS, Place, RULES, RawMerge, attrs},
};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use std::{collections::HashMap, time::Duration};
use syn::{
    Attribute, Data, DeriveInput, Fields, GenericArgument, GenericParam, LitStr, PathArguments, Type, TypePath, ext::IdentExt,
    spanned::Spanned,
};

/// The longest part of a physical key, in bytes.
const LONGEST_NAME: usize = 64;

/// The path to cloakroom where no `crate = ..` says otherwise.
pub(crate) fn default_root() -> TokenStream {
    quote!(::cloakroom)
}

/// The name of the struct that a handler sees.
pub(crate) fn accessors(ident: &Ident) -> Ident {
    format_ident!("{}Fields", ident.unraw(), span = ident.span())
}

/// A struct that derives `SessionData`.
pub(crate) fn schema(input: &DeriveInput, errors: &mut Errors) -> Schema {
    let own = attrs(&input.attrs, Place::Schema, errors);
    refuse_generics(input, errors);
    let version = own.version.as_ref().map_or(1, |version| version.value);
    let name = match &own.name {
        Some(literal) => {
            check_name(&literal.value(), "the schema's name", errors, |problem| {
                let name = literal.value();
                Report::new(literal, problem).help(format!("{} `name = {:?}`", instead(&name), tame(&name, &input.ident)))
            });
            literal.value()
        }
        None => {
            let name = snake_case(&input.ident.unraw().to_string());
            check_name(&name, "the schema's name", errors, |problem| {
                Report::new(&input.ident, problem).help("name it yourself: `#[session(name = \"shop\")]`")
            });
            name
        }
    };
    let removed = generations::removed(own.removed, &name, version, errors);
    let mut fields: Vec<Field> = Vec::new();
    let mut taken: HashMap<String, Ident> = HashMap::new();
    let mut owner = Owner::default();
    for raw in session_fields(input, errors) {
        let Some(ident) = &raw.ident else { continue };
        let attrs = attrs(&raw.attrs, Place::SchemaField, errors);
        check_type(&raw.ty, errors);
        if let Some(own) = find_own(&raw.ty, &input.ident) {
            errors.push(
                Report::new(own, format!("`{}` cannot contain itself", input.ident))
                    .help("move the part that repeats into a struct of its own, which derives `SessionValue`"),
            );
        }
        check_since(attrs.since.as_ref(), version, errors);
        let stored = stored_name(ident, attrs.key.as_ref(), errors);
        if let Some(other) = taken.get(&stored) {
            let report = format!("`{ident}` and `{other}` are both stored under the key `{stored}`");
            let report = match &attrs.key {
                Some(literal) => Report::new(literal, report),
                None => Report::new(ident, report),
            };
            errors.push(report.help(format!("give one of them another key, e.g. `#[session(key = \"{}_2\")]`", stored)));
        } else {
            taken.insert(stored.clone(), ident.clone());
        }
        let full = Name { schema: &name, stored: &stored };
        let at = attrs.key.as_ref().map_or_else(|| ident.to_token_stream(), ToTokens::to_token_stream);
        generations::check_reuse(ident, at, &raw.ty, &full, &removed, errors);
        if let (Some(samples), Some(secret)) = (&attrs.samples, attrs.secret.as_ref().or(own.secret.as_ref())) {
            errors.push(
                Report::new(samples, format!("samples are kept in a file of the repository, and `{ident}` is `{secret}`"))
                    .help("remove `samples`: of a secret field only the default is kept"),
            );
        }
        fields.push(Field {
            ident: ident.clone(),
            name: ident.unraw().to_string(),
            vis: raw.vis.to_token_stream(),
            ty: raw.ty.to_token_stream(),
            copied: copied(&raw.attrs),
            role: role(ident, &attrs, &mut owner, errors),
            stay: stay(&attrs, errors),
            since: attrs.since.as_ref().map_or(1, |since| since.value),
            generations: generations::generations(ident, &raw.ty, &full, version, &attrs, errors),
            forget_before: attrs.forget_before.as_ref().map(|forget| forget.value),
            from: attrs.from.as_ref().map(|from| generations::computed(from, ident, &removed, errors)),
            merge: merge(&attrs, errors),
            samples: attrs.samples,
            ttl: attrs.ttl.as_ref().and_then(|literal| ttl(literal).map_err(|report| errors.push(report)).ok()),
            secrecy: secrecy(own.secret.as_ref(), attrs.secret.as_ref(), errors),
            storage: attrs.opaque.map_or(Storage::Shaped, |opaque| Storage::Opaque(opaque.span())),
            default: attrs.default,
            validate: attrs.validate,
            unreadable: attrs.lossy.map_or(Unreadable::ResetsSchema, |_| Unreadable::ResetsField),
        });
    }
    owner.check_authenticated(own.authenticated.as_ref(), errors);
    Schema {
        root: own.root.unwrap_or_else(default_root),
        authenticated: own.authenticated,
        vis: input.vis.to_token_stream(),
        ident: input.ident.clone(),
        accessors: accessors(&input.ident),
        name,
        version,
        version_at: own.version.map_or_else(|| input.ident.span(), |version| version.literal.span()),
        secret: own.secret.map(|secret| secret.span()),
        fields,
        removed,
        lock: generations::lock(own.lock, errors),
    }
}

/// A type that derives `SessionValue`.
pub(crate) fn value(input: &DeriveInput, errors: &mut Errors) -> Value {
    let own = attrs(&input.attrs, Place::Value, errors);
    refuse_lifetimes(input, errors);
    let named = own.shape.as_ref().map(|shape| {
        check_shape(shape, errors);
        shape.value()
    });
    check_serde(&input.attrs, named.is_some(), errors);
    let members = |fields: &Fields, errors: &mut Errors| members(fields, &input.ident, named.is_some(), errors);
    let listed = match &input.data {
        Data::Struct(data) => Shape::Struct(members(&data.fields, errors)),
        Data::Enum(data) => {
            let mut taken = HashMap::new();
            let mut variants: Vec<Variant> = Vec::new();
            for variant in &data.variants {
                let attrs = attrs(&variant.attrs, Place::Variant, errors);
                check_serde(&variant.attrs, named.is_some(), errors);
                let name = member_name(&variant.ident, &attrs, &mut taken, errors);
                let place = variant_place(&variant.ident, &attrs, variants.last(), named.is_some(), errors);
                variants.push(Variant { name, members: members(&variant.fields, errors), place });
            }
            Shape::Enum(variants)
        }
        Data::Union(data) => {
            errors.push(
                Report::new(data.union_token, "a union cannot be stored in a session")
                    .help("use an enum: serde cannot know which member of a union is meant"),
            );
            Shape::Struct(Members::Unit)
        }
    };
    Value {
        root: own.root.unwrap_or_else(default_root),
        ident: input.ident.clone(),
        generics: input.generics.clone(),
        shape: named.map_or(listed, Shape::Named),
    }
}

/// Whether a variant is part of the enum's shape. Those that are not come last: codecs count variants.
fn variant_place(
    ident: &Ident,
    attrs: &Attrs,
    before: Option<&Variant>,
    named_by_hand: bool,
    errors: &mut Errors,
) -> VariantPlace {
    let Some(appended) = &attrs.appended else {
        if before.is_some_and(|before| before.place == VariantPlace::Appended) {
            errors.push(
                Report::new(ident, format!("`{ident}` stands after an appended variant and is not appended itself"))
                    .help("if it is new, mark it: `#[session(appended)]`")
                    .help("if it was there before, move it before the appended ones, to the place it had"),
            );
        }
        return VariantPlace::InTheShape;
    };
    if before.is_none() {
        errors.push(
            Report::new(appended, format!("`{ident}` is the first variant, so it was not appended to any"))
                .help("remove `appended`"),
        );
    }
    if named_by_hand {
        errors.push(
            Report::new(appended, "`appended` and a `shape` by hand exclude each other")
                .help("a shape named by hand does not look at the variants; remove `appended`"),
        );
    }
    VariantPlace::Appended
}

fn members(fields: &Fields, owner: &Ident, named_by_hand: bool, errors: &mut Errors) -> Members {
    let mut taken = HashMap::new();
    let mut parts = Vec::new();
    for field in fields {
        let attrs = attrs(&field.attrs, Place::ValueField, errors);
        check_serde(&field.attrs, named_by_hand || attrs.shape.is_some(), errors);
        check_type(&field.ty, errors);
        let name = match &field.ident {
            Some(ident) => member_name(ident, &attrs, &mut taken, errors),
            None => {
                if let Some(key) = &attrs.key {
                    errors.push(
                        Report::new(key, "a field without a name has no key")
                            .help("remove `key`: the order of the fields counts here"),
                    );
                }
                String::new()
            }
        };
        let part = match (&attrs.shape, &attrs.recursive) {
            (Some(shape), recursive) => {
                check_shape(shape, errors);
                if let Some(recursive) = recursive {
                    errors.push(
                        Report::new(recursive, "`recursive` and `shape` exclude each other")
                            .help("a shape named by hand does not look into the type; remove `recursive`"),
                    );
                }
                Part::Named(shape.value())
            }
            (None, Some(_)) => Part::Recursive(field.ty.to_token_stream()),
            (None, None) => {
                if let Some(own) = find_own(&field.ty, owner).filter(|_| !named_by_hand) {
                    errors.push(
                        Report::new(own, format!("`{owner}` contains itself, so its shape has no end"))
                            .help("mark the field: `#[session(recursive)]`"),
                    );
                }
                Part::Child(field.ty.to_token_stream())
            }
        };
        parts.push((name, part));
    }
    match fields {
        Fields::Unit => Members::Unit,
        Fields::Unnamed(_) => Members::Unnamed(parts.into_iter().map(|(_, part)| part).collect()),
        Fields::Named(_) => Members::Named(parts),
    }
}

fn member_name(ident: &Ident, attrs: &Attrs, taken: &mut HashMap<String, Ident>, errors: &mut Errors) -> String {
    let name = attrs.key.as_ref().map_or_else(|| ident.unraw().to_string(), LitStr::value);
    if let Some(key) = attrs.key.as_ref().filter(|key| key.value().is_empty()) {
        errors.push(Report::new(key, "a key cannot be empty").help("write the name it had before, e.g. `key = \"quantity\"`"));
    }
    match taken.get(&name) {
        Some(other) => {
            let text = format!("`{ident}` and `{other}` have the same key `{name}`");
            let report = attrs.key.as_ref().map_or_else(|| Report::new(ident, &text), |key| Report::new(key, &text));
            errors.push(report.help("give one of them another `key`"));
        }
        None => {
            taken.insert(name.clone(), ident.clone());
        }
    }
    name
}

fn check_shape(shape: &LitStr, errors: &mut Errors) {
    if shape.value().is_empty() {
        errors.push(
            Report::new(shape, "a shape needs a name")
                .help("name the type and count its versions, e.g. `shape = \"address-1\"`"),
        );
    }
}

/// The named fields; anything else is reported and has none.
fn session_fields<'a>(input: &'a DeriveInput, errors: &mut Errors) -> Vec<&'a syn::Field> {
    let (found, at): (&str, Span) = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => return fields.named.iter().collect(),
            Fields::Unnamed(fields) => ("a tuple struct", fields.span()),
            Fields::Unit => ("a struct without fields", input.ident.span()),
        },
        Data::Enum(data) => ("an enum", data.enum_token.span),
        Data::Union(data) => ("a union", data.union_token.span),
    };
    let ident = &input.ident;
    let report = Report::at(at, format!("`SessionData` needs a struct with named fields, and `{ident}` is {found}"));
    errors.push(match &input.data {
        Data::Enum(_) => report.help(format!(
            "make it a field: `struct MySession {{ state: {ident} }}`, and derive `SessionValue` on `{ident}` instead"
        )),
        Data::Struct(_) | Data::Union(_) => {
            report.help(format!("write `struct {ident} {{ visits: u64 }}`: each field is stored under its name"))
        }
    });
    Vec::new()
}

fn refuse_generics(input: &DeriveInput, errors: &mut Errors) {
    refuse_lifetimes(input, errors);
    for param in &input.generics.params {
        let (what, ident) = match param {
            GenericParam::Type(param) => ("type parameter", &param.ident),
            GenericParam::Const(param) => ("const parameter", &param.ident),
            GenericParam::Lifetime(_) => continue,
        };
        errors.push(
            Report::new(ident, format!("session data cannot have the {what} `{ident}`"))
                .help(format!("write the type itself in place of `{ident}`: stored data must mean the same in every process")),
        );
    }
}

fn refuse_lifetimes(input: &DeriveInput, errors: &mut Errors) {
    for param in input.generics.lifetimes() {
        let lifetime = &param.lifetime;
        errors.push(
            Report::new(
                lifetime,
                format!("stored values must be owned, so `{}` cannot have the lifetime `{lifetime}`", input.ident),
            )
            .help("use owned types: `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T`"),
        );
    }
}

/// A name that goes into physical keys.
fn check_name(name: &str, what: &str, errors: &mut Errors, report: impl Fn(String) -> Report) {
    let problem = if name.is_empty() {
        format!("{what} cannot be empty")
    } else if let Some(reserved) = name.chars().find(|c| matches!(c, '/' | '@' | '~')) {
        format!("{what} cannot contain `{reserved}`: `/`, `@` and `~` are reserved")
    } else if name.starts_with("__") {
        format!("{what} cannot begin with `__`: such names are reserved")
    } else if let Some(odd) = name.chars().find(|c| !c.is_ascii_graphic()) {
        format!("{what} cannot contain {odd:?}: visible ASCII characters only")
    } else if name.len() > LONGEST_NAME {
        format!("{what} is {} bytes long, and {LONGEST_NAME} are the most", name.len())
    } else {
        return;
    };
    errors.push(report(problem));
}

fn stored_name(ident: &Ident, key: Option<&LitStr>, errors: &mut Errors) -> String {
    match key {
        Some(literal) => {
            let name = literal.value();
            check_name(&name, "a key", errors, |problem| {
                Report::new(literal, problem).help(format!("{} `key = {:?}`", instead(&name), tame(&name, ident)))
            });
            name
        }
        None => {
            let name = ident.unraw().to_string();
            check_name(&name, "a key", errors, |problem| {
                let lead = if name.is_ascii() { "give the field a key:" } else { instead(&name) };
                Report::new(ident, problem).help(format!("{lead} `#[session(key = {:?})]`", tame(&name, ident)))
            });
            name
        }
    }
}

/// How the help for a refused name begins.
fn instead(name: &str) -> &'static str {
    if name.is_ascii() { "write e.g." } else { "write the name in ASCII, e.g." }
}

/// A name like this one that would be accepted. What is left of a word without its letters is no suggestion.
fn tame(name: &str, ident: &Ident) -> String {
    let kept = |name: &str| {
        let name: String = name
            .chars()
            .map(|c| if matches!(c, '/' | '@' | '~' | ' ') { '_' } else { c })
            .filter(char::is_ascii_graphic)
            .take(LONGEST_NAME)
            .collect();
        name.trim_start_matches('_').to_owned()
    };
    [name, &ident.unraw().to_string()]
        .into_iter()
        .filter(|name| name.is_ascii())
        .map(kept)
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| "field".to_owned())
}

fn secrecy(of_struct: Option<&Ident>, of_field: Option<&Ident>, errors: &mut Errors) -> Secrecy {
    match (of_struct, of_field) {
        (None, None) => Secrecy::Plain,
        (None, Some(own)) => Secrecy::OfField(own.span()),
        (Some(_), None) => Secrecy::OfStruct,
        (Some(_), Some(own)) => {
            errors.push(
                Report::new(own, "the whole struct is `secret`, and this field with it")
                    .help("remove `secret` here, or from the struct if only some of its fields are secret"),
            );
            Secrecy::OfStruct
        }
    }
}

fn merge(attrs: &Attrs, errors: &mut Errors) -> Merge {
    let literal = match &attrs.merge {
        None => return Merge::Last,
        Some(RawMerge::Function(path)) => return Merge::Function(path.clone()),
        Some(RawMerge::Rule(literal)) => literal,
    };
    let rule = literal.value();
    match rule.as_str() {
        "last" => Merge::Last,
        "strict" => Merge::Strict,
        "add" => Merge::Rule(Rule::Add, literal.span()),
        "max" => Merge::Rule(Rule::Max, literal.span()),
        "min" => Merge::Rule(Rule::Min, literal.span()),
        "union" => Merge::Rule(Rule::Union, literal.span()),
        _ => {
            let report = Report::new(literal, format!("unknown merge rule `{rule}`"));
            errors.push(if let Some(near) = suggest(&rule, RULES) {
                report.help(format!("did you mean `merge = \"{near}\"`?"))
            } else {
                let report = report.help("the rules are \"last\", \"add\", \"max\", \"min\", \"union\" and \"strict\"");
                match literal.parse::<syn::Path>() {
                    Ok(_) => report.help(format!("for a function of yours leave out the quotes: `merge = {rule}`")),
                    Err(_) => report,
                }
            });
            Merge::Last
        }
    }
}

fn ttl(literal: &LitStr) -> Result<Duration, Report> {
    let text = literal.value();
    let wrong = |what: String| Report::new(literal, what).help("write e.g. `ttl = \"10m\"`").note(DURATIONS);
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if !number.is_empty() => return Err(wrong(format!("`ttl = {text:?}` has no unit"))),
        _ => return Err(wrong(format!("`{text}` is not a duration"))),
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)) {
        Some(0) => Err(wrong(format!("`ttl = {text:?}` would expire at once"))),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(wrong(format!("`{text}` is not a duration"))),
    }
}

/// Types that no attribute can make storable: borrowed ones, cells, options of options, instants.
fn check_type(ty: &Type, errors: &mut Errors) {
    walk(ty, &mut |ty| match ty {
        Type::Reference(reference) => {
            let owned = match &*reference.elem {
                Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
                Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
                other => text(other),
            };
            errors.push(
                Report::new(ty, format!("stored values must be owned, and `{}` is borrowed", text(ty)))
                    .help(format!("use `{owned}`")),
            );
            Walk::Stop
        }
        Type::Ptr(_) => {
            errors.push(
                Report::new(ty, format!("stored values must be owned, and `{}` is a pointer", text(ty)))
                    .help("store the value itself"),
            );
            Walk::Stop
        }
        Type::Path(path) => check_path(path, errors),
        _ => Walk::On,
    });
}

fn check_path(path: &TypePath, errors: &mut Errors) -> Walk {
    let Some(last) = path.path.segments.last() else { return Walk::On };
    let name = last.ident.to_string();
    let arguments = generic_arguments(path);
    if arguments.iter().any(|argument| matches!(argument, GenericArgument::Lifetime(lifetime) if lifetime.ident != "static")) {
        errors.push(
            Report::new(path, format!("stored values must be owned, and `{}` is borrowed", text(path)))
                .help("use the owned type, or the lifetime `'static`"),
        );
        return Walk::Stop;
    }
    // A type of the user's own may be called `Cell`; the ones of std are generic, or say `Atomic`.
    let generic = ["Cell", "RefCell", "Mutex", "RwLock", "OnceCell", "OnceLock", "LazyCell", "LazyLock", "UnsafeCell"];
    let atomic = name.strip_prefix("Atomic").is_some_and(|rest| {
        ["Bool", "Ptr", "I8", "I16", "I32", "I64", "Isize", "U8", "U16", "U32", "U64", "Usize"].contains(&rest)
    });
    if atomic || (generic.contains(&name.as_str()) && !arguments.is_empty()) {
        let inside = if atomic {
            "the plain number".to_owned()
        } else {
            first_type(&arguments).map_or_else(String::new, |ty| format!("`{}`", text(ty)))
        };
        errors.push(
            Report::new(path, format!("a change inside `{}` cannot be seen, so it would not be stored", text(path)))
                .help(format!("use {inside}: a handler owns its session, no cell or lock is needed")),
        );
        return Walk::Stop;
    }
    if name == "Rc" && !arguments.is_empty() {
        let inside = first_type(&arguments).map_or_else(String::new, text);
        errors.push(
            Report::new(path, format!("`{}` cannot move between threads, and a session must", text(path)))
                .help(format!("use `{inside}`: a handler owns its session, nothing needs to be shared")),
        );
        return Walk::Stop;
    }
    // One of the user's own is allowed, but must say that it is: only the type could tell, and rustc's words do not help.
    let before = path.path.segments.iter().rev().nth(1);
    if name == "Instant" && before.is_none_or(|before| before.ident == "time") {
        errors.push(
            Report::new(path, "an `Instant` means nothing after a restart")
                .help("use `SystemTime`")
                .help("for a type of yours with this name: `self::Instant`"),
        );
        return Walk::Stop;
    }
    if name == "Option"
        && let Some(Type::Path(inner)) = first_type(&arguments)
        && inner.path.segments.last().is_some_and(|last| last.ident == "Option" && !last.arguments.is_empty())
    {
        errors.push(
            Report::new(path, format!("`{}` cannot be told apart from its inner option in every encoding", text(path)))
                .help(format!("use `{}`, or an enum with a variant for each case", text(inner))),
        );
        return Walk::Stop;
    }
    Walk::On
}

/// Whether a visited type is looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walk {
    On,
    Stop,
}

/// Visits a type and those inside it, through the groups that `macro_rules!` leaves.
fn walk<'a>(ty: &'a Type, visit: &mut dyn FnMut(&'a Type) -> Walk) {
    let ty = peel(ty);
    if visit(ty) == Walk::Stop {
        return;
    }
    match ty {
        Type::Array(array) => walk(&array.elem, visit),
        Type::Slice(slice) => walk(&slice.elem, visit),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|ty| walk(ty, visit)),
        Type::Path(path) => {
            for segment in &path.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &segment.arguments {
                    for argument in &arguments.args {
                        if let GenericArgument::Type(ty) = argument {
                            walk(ty, visit);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        other => other,
    }
}

/// The place in a type that names the type it belongs to.
fn find_own<'a>(ty: &'a Type, owner: &Ident) -> Option<&'a TypePath> {
    let mut found = None;
    walk(ty, &mut |ty| {
        if let Type::Path(path) = ty
            && path.qself.is_none()
            && let Some(only) = path.path.segments.first()
            && path.path.segments.len() == 1
            && (only.ident == *owner || only.ident == "Self")
        {
            found = found.or(Some(path));
        }
        Walk::On
    });
    found
}

fn generic_arguments(path: &TypePath) -> Vec<&GenericArgument> {
    match path.path.segments.last().map(|last| &last.arguments) {
        Some(PathArguments::AngleBracketed(arguments)) => arguments.args.iter().collect(),
        _ => Vec::new(),
    }
}

fn first_type<'a>(arguments: &[&'a GenericArgument]) -> Option<&'a Type> {
    arguments.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(peel(ty)),
        _ => None,
    })
}

/// Tokens as a person would write them.
pub(crate) fn text(tokens: impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (spaced, tight) in
        [(" :: ", "::"), (":: ", "::"), (" <", "<"), ("< ", "<"), (" >", ">"), (" ,", ","), ("& ", "&"), (" ;", ";")]
    {
        text = text.replace(spaced, tight);
    }
    text
}

/// What a serde attribute does to a value in a compact encoding.
enum Serde {
    /// It makes the encoding another than the members say. Where the shape is named by hand, so is that.
    ByHand,
    /// It makes the encoding another than the members say, and not even the same for each value.
    Breaks,
    /// It is about names, or about members that are missing, and a compact encoding has no names and leaves nothing out.
    DoesNothing,
}

fn serde_attribute(name: &str) -> Option<Serde> {
    match name {
        "with" | "serialize_with" | "deserialize_with" | "from" | "into" | "try_from" | "remote" => Some(Serde::ByHand),
        "skip"
        | "skip_serializing"
        | "skip_deserializing"
        | "skip_serializing_if"
        | "flatten"
        | "tag"
        | "content"
        | "untagged"
        | "other"
        | "getter" => Some(Serde::Breaks),
        "default" | "alias" => Some(Serde::DoesNothing),
        _ => None,
    }
}

/// Serde attributes that a compact encoding does not keep, or that do not keep to it.
fn check_serde(attributes: &[Attribute], shape_by_hand: bool, errors: &mut Errors) {
    const OPAQUE: &str =
        "or mark the field of the session struct `#[session(opaque)]`, which stores JSON, and do not derive `SessionValue`";
    let keys = attributes.iter().filter(|attribute| attribute.path().is_ident("serde")).flat_map(serde_keys);
    let known = keys.filter_map(|key| Some((serde_attribute(&key.to_string())?, key))).collect::<Vec<_>>();
    // What does nothing beside these is there for their sake.
    let breaks = known.iter().any(|(serde, _)| matches!(serde, Serde::Breaks));
    for (serde, key) in known {
        let report = || Report::new(&key, format!("`#[serde({key})]` does not work with the compact encoding of sessions"));
        let report = match serde {
            Serde::ByHand if shape_by_hand => continue,
            Serde::DoesNothing if breaks => continue,
            Serde::ByHand => report().help("name the encoding by hand beside it: `#[session(shape = \"address-1\")]`"),
            Serde::Breaks => report().help(format!("remove `{key}`")),
            Serde::DoesNothing => does_nothing(&key),
        };
        errors.push(report.help(OPAQUE));
    }
}

/// The names of the entries in a serde attribute.
fn serde_keys(attribute: &Attribute) -> Vec<Ident> {
    let Ok(list) = attribute.meta.require_list() else { return Vec::new() };
    let mut begins = true;
    let mut keys = Vec::new();
    for token in list.tokens.clone() {
        match token {
            proc_macro2::TokenTree::Ident(key) if begins => {
                keys.push(key);
                begins = false;
            }
            proc_macro2::TokenTree::Punct(punct) => begins = punct.as_char() == ',',
            _ => begins = false,
        }
    }
    keys
}

fn does_nothing(key: &Ident) -> Report {
    let report = Report::new(key, format!("`#[serde({key})]` does nothing in the compact encoding of sessions"))
        .help(format!("remove `{key}`"));
    if key == "alias" {
        report.help("where something is renamed in Rust, `#[session(key = \"old_name\")]` keeps its old name in the shape")
    } else {
        report.help("for a member that is new, keep the old type beside this one, and write `changed(..)` on the field of the session struct")
    }
}

fn copied(attributes: &[Attribute]) -> Copied {
    let of = |name: &str| {
        attributes.iter().filter(|attribute| attribute.path().is_ident(name)).map(ToTokens::to_token_stream).collect::<Vec<_>>()
    };
    Copied { docs: of("doc"), cfg: of("cfg"), deprecated: of("deprecated") }
}

/// `HTTPCart` is `http_cart`.
pub(crate) fn snake_case(ident: &str) -> String {
    let chars: Vec<char> = ident.chars().collect();
    let mut snake = String::with_capacity(ident.len() + 4);
    for (i, c) in chars.iter().enumerate() {
        if c.is_uppercase() {
            let before = i.checked_sub(1).and_then(|i| chars.get(i));
            let word_ends = before.is_some_and(|before| before.is_lowercase() || before.is_ascii_digit());
            let acronym_ends =
                before.is_some_and(|before| before.is_uppercase()) && chars.get(i + 1).is_some_and(|next| next.is_lowercase());
            if word_ends || acronym_ends {
                snake.push('_');
            }
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests;
