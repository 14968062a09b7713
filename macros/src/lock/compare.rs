//! What a struct stores today against what its lock says. Tokens decide where they can; where a type's shape decides, the compiler is
//! left an assertion, with its words.

use super::{
    COMMAND, Field, Form, Lock, OF_A_TEST, Removed, Shape,
    record::{rule, sources},
    say::{change, listed, old, removal, removed},
    spell,
};
use crate::{
    diag::{Report, suggest},
    model::{self, Generation, Schema, Storage},
};
use proc_macro2::TokenStream;

/// What became of a schema since it was recorded.
#[derive(Default)]
pub(crate) struct Verdict {
    /// What the struct does not say about itself. Nothing but a change of the struct helps.
    pub(crate) refused: Vec<Report>,
    /// What it does say, and the lock does not know yet.
    pub(crate) pending: Vec<String>,
    /// What the compiler has to find out.
    pub(crate) assertions: Vec<Assertion>,
    /// What to say if all assertions hold.
    pub(crate) idle: Option<Report>,
}

/// A type that must have a recorded shape.
pub(crate) struct Assertion {
    pub(crate) ty: TokenStream,
    pub(crate) shape: u64,
    pub(crate) otherwise: Report,
}

/// Compares a struct with its lock, which lies at `path` as a person would write it.
pub(crate) fn compare(lock: &Lock, schema: &Schema, path: &str) -> Verdict {
    let mut comparison = Comparison { lock, schema, path, verdict: Verdict::default(), structural: false };
    comparison.run();
    comparison.verdict
}

struct Comparison<'a> {
    lock: &'a Lock,
    schema: &'a Schema,
    path: &'a str,
    verdict: Verdict,
    /// Whether something changed that a new version is needed for.
    structural: bool,
}

impl Comparison<'_> {
    fn run(&mut self) {
        let (lock, schema) = (self.lock, self.schema);
        let (now, recorded) = (schema.version, lock.version);
        if lock.name != schema.name {
            let (path, name, other) = (self.path, &schema.name, &lock.name);
            self.refuse(
                Report::at(
                    schema.ident.span(),
                    format!("{path} is the lock of `{other}`, and this struct is stored as `{name}`"),
                )
                .help(format!("to rename the struct in Rust only: `#[session(name = \"{other}\")]`"))
                .help(format!("for another struct use another file: `#[session(lock = \"{name}_2\")]`")),
            );
            return;
        }
        if now < recorded {
            self.refuse(
                Report::at(schema.version_at, format!("version {now} is older than the one recorded, which is {recorded}"))
                    .help(format!("write `version = {recorded}`, or take {} back to where the struct was", self.path)),
            );
            return;
        }
        if self.is_another_struct() {
            return;
        }
        self.gone_and_new();
        for field in &schema.fields {
            if let Some(locked) = lock.fields.get(field.stored()) {
                self.field(field, locked);
            }
            self.sources(field);
        }
        self.removed();
        if now > recorded && !self.structural && self.verdict.refused.is_empty() {
            let report = Report::at(
                schema.version_at,
                format!("version {now} changes nothing: the last change is in version {recorded}"),
            )
            .help(format!("write `version = {recorded}`"));
            self.verdict.idle = Some(self.noted(report));
        }
    }

    fn noted(&self, report: Report) -> Report {
        report.note(format!("recorded in {} (version {})", self.path, self.lock.version))
    }

    fn refuse(&mut self, report: Report) {
        let report = self.noted(report);
        self.verdict.refused.push(report);
    }

    /// A change that the struct declares.
    fn declared(&mut self, what: String) {
        self.structural = true;
        self.verdict.pending.push(what);
    }

    fn is_bumped(&self) -> bool {
        self.schema.version > self.lock.version
    }

    /// The version that an undeclared change belongs to.
    fn next(&self) -> u32 {
        self.schema.version.max(self.lock.version.saturating_add(1))
    }

    /// Where the version must be raised too, how.
    fn raised(&self, report: Report) -> Report {
        if self.is_bumped() {
            report
        } else {
            report.help(format!("and raise the version on the struct: `version = {}`", self.next()))
        }
    }

    /// Whether no field is what it was.
    fn has_nothing_in_common(&self) -> bool {
        let (lock, schema) = (self.lock, self.schema);
        let known = |name: &str| lock.fields.contains_key(name) || lock.removed.contains_key(name);
        !lock.fields.is_empty()
            && !schema.fields.is_empty()
            && !schema.fields.iter().any(|field| known(field.stored()))
            && !schema.removed.iter().any(|removed| known(&removed.key.stored))
    }

    /// Two structs of one name look like one that lost everything, unless its fields were renamed.
    fn is_another_struct(&mut self) -> bool {
        let (lock, schema) = (self.lock, self.schema);
        let new: Vec<&model::Field> = schema.fields.iter().collect();
        let is_renamed = |(key, locked): (&String, &Field)| renamed(key, &locked.now, &new).is_some();
        let strange = self.has_nothing_in_common() && !lock.fields.iter().any(is_renamed);
        if strange {
            let stored = lock.fields.keys().next().map_or("", String::as_str);
            let report = Report::at(
                schema.ident.span(),
                format!("`{}` has no field in common with the `{}` that is recorded", schema.ident, schema.name),
            )
            .help(format!(
                "if its fields were only renamed in Rust, let them keep their stored names: `#[session(key = \"{stored}\")]`"
            ))
            .help(OF_A_TEST)
            .help(format!("for another struct use another name, or another file: `#[session(lock = \"{}_2\")]`", schema.name))
            .help(format!("for one that starts anew: delete {} and run `{COMMAND}`", self.path));
            self.refuse(report);
        }
        strange
    }

    /// Names that only one of the two sides has.
    fn gone_and_new(&mut self) {
        let (lock, schema) = (self.lock, self.schema);
        let mut new: Vec<&model::Field> =
            schema.fields.iter().filter(|field| !lock.fields.contains_key(field.stored())).collect();
        let has = |key: &str| schema.fields.iter().any(|field| field.stored() == key);
        for (key, locked) in lock.fields.iter().filter(|(key, _)| !has(key)) {
            match schema.removed.iter().find(|removed| removed.key.stored == *key) {
                Some(removed) if removed.version <= lock.version => {
                    let next = self.next();
                    let report = Report::new(&removed.ident, format!("`{key}` was still there in version {}", lock.version))
                        .help(format!("write `{}`", removal(key, locked, next)));
                    let report = self.raised(report);
                    self.refuse(report);
                }
                Some(removed) if removed.key.generation != locked.generation() => {
                    let report =
                        Report::new(&removed.ident, format!("the stored name of `{key}` has its last generation in it"))
                            .help(format!("write `{}`", removal(key, locked, removed.version)));
                    self.refuse(report);
                }
                Some(_) => self.declared(format!("removes `{key}`")),
                None => match renamed(key, &locked.now, &new) {
                    Some(field) => {
                        new.retain(|other| !std::ptr::eq(*other, field));
                        self.rename(key, locked, field);
                    }
                    None => self.gone(key, locked),
                },
            }
        }
        for field in new {
            match lock.removed.get(field.stored()) {
                Some(removed) => self.revived(field, removed),
                None => self.added(field),
            }
        }
    }

    fn rename(&mut self, key: &str, locked: &Field, field: &model::Field) {
        let (name, next) = (&field.name, self.next());
        let report = Report::new(&field.ident, format!("`{name}` is new and `{key}` is gone: did you rename `{key}`?"))
            .help(format!("then keep its stored name: `#[session(key = \"{key}\")]`"))
            .help(format!(
                "if `{name}` is another field, say so on the struct: `#[session(version = {next}, {})]`",
                removal(key, locked, next)
            ));
        self.refuse(if self.has_nothing_in_common() { report.help(OF_A_TEST) } else { report });
    }

    fn gone(&mut self, key: &str, locked: &Field) {
        let (version, next) = (self.schema.version, self.next());
        self.refuse(
            Report::new(&self.schema.ident, format!("`{key}` is gone, and version {version} does not say so"))
                .help(format!("say so on the struct: `#[session(version = {next}, {})]`", removal(key, locked, next)))
                .help(OF_A_TEST),
        );
    }

    fn added(&mut self, field: &model::Field) {
        let (name, next, recorded) = (&field.name, self.next(), self.lock.version);
        if !self.is_bumped() {
            self.refuse(
                Report::new(&field.ident, format!("`{name}` is new, and version {recorded} does not say so"))
                    .help(format!("raise the version on the struct: `#[session(version = {next})]`")),
            );
        } else if (2..=recorded).contains(&field.since) {
            self.refuse(
                Report::new(
                    &field.ident,
                    format!("`{name}` was not there in version {recorded}, so not since version {}", field.since),
                )
                .help(format!("write `since = {next}`, or leave `since` out")),
            );
        } else {
            self.declared(format!("adds `{name}`"));
        }
    }

    /// A removed name in use again: what is still stored under it must be readable.
    fn revived(&mut self, field: &model::Field, removed: &Removed) {
        let (name, key, was, version) = (&field.name, field.stored(), &removed.ty, removed.in_version);
        let ty = spell(&field.ty);
        let report = |what: String| {
            Report::new(&field.ty, what)
                .help(format!(
                    "sessions may still hold the old value; store this one under another name: `#[session(key = \"{key}_2\")]`"
                ))
                .help(format!(
                    "and leave on the struct: `{}`",
                    self::removed(key, was, removed.shape, removed.generation, version)
                ))
        };
        if !self.is_bumped() {
            return self.added(field);
        }
        let otherwise = report(format!("`{name}` was a `{was}` before version {version} removed it, and is a `{ty}` now"));
        // Where nobody knows the old shape, only the same words are believed.
        if removed.shape == Shape::Unknown && *was != ty {
            return self.refuse(otherwise);
        }
        if removed.generation.is_some() || field.generations.len() > 1 {
            return self.refuse(report(format!("`{name}` was removed in version {version}, after its type had changed")));
        }
        self.declared(format!("adds `{key}` again"));
        if let Some(current) = field.generations.last() {
            self.same(current, removed.shape, otherwise);
        }
    }

    fn field(&mut self, field: &model::Field, locked: &Field) {
        self.merge(field, locked);
        self.from(field, locked);
        let forgotten = field.forget_before.unwrap_or(0);
        if let Some(before) = locked.forget_before.filter(|before| *before > forgotten) {
            return self.forgets_less(field, before);
        }
        if forgotten > locked.forget_before.unwrap_or(0) {
            // No cell changes, so no version is needed; but from here on the lock need not know the generations that end.
            self.verdict.pending.push(format!("forgets `{}` before version {forgotten}", field.name));
        }
        let recorded: Vec<&Form> = locked.past.iter().filter(|form| form.since >= forgotten).chain([&locked.now]).collect();
        let declared = field.in_use();
        // With the first of its generations a number is in the physical key as soon as those before it are forgotten.
        let numbered = locked.forget_before.is_some() || recorded.len() <= locked.past.len();
        let oldest = declared.first().and_then(|oldest| oldest.key.generation);
        if !numbered && oldest.is_some() {
            return self.nothing_to_forget(field);
        }
        for (i, form) in recorded.iter().enumerate() {
            match declared.get(i) {
                // Which version began the oldest makes no difference, unless its physical key says so.
                Some(_) if i == 0 => {
                    if oldest.is_some_and(|generation| generation != form.since) {
                        return self.other_key(field, &recorded);
                    }
                }
                Some(generation) if generation.since == form.since => {}
                Some(early) if declared.iter().any(|generation| generation.since == form.since) => {
                    return self.late(field, early);
                }
                _ => return self.history_gone(field, &recorded),
            }
        }
        let changes = declared.get(recorded.len()..).unwrap_or_default();
        for (i, (form, generation)) in recorded.iter().zip(declared).enumerate() {
            let own = i + 1 == recorded.len() && changes.is_empty();
            let otherwise = match (generation.storage, form.shape) {
                (Storage::Opaque(_), Shape::Hash(_)) | (Storage::Shaped, Shape::Opaque) => {
                    self.stored_otherwise(field, generation, form)
                }
                _ if own => self.retyped(field, form),
                _ => self.misnamed(field, generation, form),
            };
            self.same(generation, form.shape, otherwise);
        }
        for change in changes {
            if change.since <= self.lock.version {
                return self.late(field, change);
            }
            self.declared(format!("changes `{}` to `{}`", field.name, spell(&change.ty)));
        }
    }

    fn merge(&mut self, field: &model::Field, locked: &Field) {
        let (name, merge, was) = (&field.name, rule(&field.merge), &locked.merge);
        if merge == was {
        } else if self.is_bumped() {
            self.declared(format!("merges concurrent changes of `{name}` by `{merge}`, no longer by `{was}`"));
        } else {
            let report = Report::new(
                &field.ident,
                format!("concurrent changes of `{name}` merge by `{merge}`, and version {} says by `{was}`", self.lock.version),
            )
            .help(format!(
                "old and new versions will decide differently; raise the version on the struct: `#[session(version = {})]`",
                self.next()
            ));
            self.refuse(report);
        }
    }

    /// What a field was computed from is all that sessions hold of it which were not written since.
    fn from(&mut self, field: &model::Field, locked: &Field) {
        let (name, now, was) = (&field.name, sources(field), &locked.from);
        if now == *was {
            return;
        }
        let what = if now.is_empty() {
            format!("no longer computes `{name}` from {}", listed(was))
        } else {
            format!("computes `{name}` from {}", listed(&now))
        };
        if self.is_bumped() {
            return self.declared(what);
        }
        let (version, next) = (self.lock.version, self.next());
        let lost: Vec<(&String, &Removed)> =
            was.iter().filter(|key| !now.contains(key)).filter_map(|key| Some((key, self.lock.removed.get(key)?))).collect();
        let Some(last) = lost.iter().map(|(_, removed)| removed.in_version).max() else {
            let report = Report::new(
                &field.ident,
                format!("`{name}` is computed from {}, and version {version} does not say so", listed(&now)),
            )
            .help(format!("raise the version on the struct: `#[session(version = {next})]`"));
            return self.refuse(report);
        };
        let attribute: Vec<String> = lost.iter().map(|(key, removed)| format!("{key}: {}", removed.ty)).collect();
        self.refuse(
            Report::new(&field.ident, format!("`{name}` is no longer computed from {}", listed(lost.iter().map(|(key, _)| *key))))
                .help(format!("stored sessions may hold nothing else of it; put it back: `#[session(from({}, with = <fn>))]`", attribute.join(", ")))
                .help(format!("or, once no version before {last} has run for as long as a session can live, raise the version on the struct: `version = {next}`")),
        );
    }

    fn forgets_less(&mut self, field: &model::Field, before: u32) {
        let name = &field.name;
        self.refuse(
            Report::new(
                &field.ident,
                format!("`{name}` has forgotten what was before version {before}, and does not say so any more"),
            )
            .help(format!(
                "write `#[session(forget_before = {before})]`: the number is part of the name that `{name}` is stored under"
            )),
        );
    }

    fn nothing_to_forget(&mut self, field: &model::Field) {
        let name = &field.name;
        self.refuse(
            Report::new(&field.ident, format!("`{name}` has only ever been stored as one type, so there is nothing to forget"))
                .help("remove `forget_before`: it would have the field stored under another name, and what is stored now would be lost"),
        );
    }

    /// `changed(..)` entries that are missing, of a field whose recorded generations are these.
    fn history_gone(&mut self, field: &model::Field, recorded: &[&Form]) {
        let name = &field.name;
        let declares = |form: &Form| field.in_use().iter().any(|generation| generation.since == form.since);
        let gone = || recorded.windows(2).filter(|pair| !declares(pair[1])).map(|pair| (pair[0], pair[1]));
        let (Some((from, to)), Some((_, last))) = (gone().next(), gone().next_back()) else {
            return self.other_key(field, recorded);
        };
        let (since, was, is, last) = (to.since, &from.ty, &to.ty, last.since);
        let changes: Vec<_> = gone().map(|(from, to)| change(to.since, &from.ty, &to.ty)).collect();
        self.refuse(
            Report::new(&field.ident, format!("version {since} changed `{name}` from `{was}` to `{is}`, and the struct no longer says so"))
                .help(format!("stored sessions may still hold a `{was}`; put it back:\n          #[session({})]", changes.join(", ")))
                .help(format!(
                    "or, once no version before {last} has run for as long as a session can live: `#[session(forget_before = {last})]`"
                )),
        );
    }

    /// The number in the stored name is another than the one recorded.
    fn other_key(&mut self, field: &model::Field, recorded: &[&Form]) {
        let (name, since) = (&field.name, recorded.first().map_or(1, |form| form.since));
        self.refuse(
            Report::new(&field.ident, format!("`{name}` is stored as generation {since}, and is looked for as another")).help(
                format!(
                    "write `#[session(forget_before = {since})]`: the number is part of the name that `{name}` is stored under"
                ),
            ),
        );
    }

    /// A change declared for a version that is over.
    fn late(&mut self, field: &model::Field, change: &Generation) {
        let (name, since, next) = (&field.name, change.since, self.next());
        let report = Report::new(
            &field.ident,
            format!("`changed(in = {since}, ..)` of `{name}` is not in what version {} recorded", self.lock.version),
        )
        .help(format!("a change belongs to a version of its own: write `changed(in = {next}, ..)`"));
        let report = self.raised(report);
        self.refuse(report);
    }

    fn retyped(&self, field: &model::Field, form: &Form) -> Report {
        let (name, was, is, version, next) = (&field.name, &form.ty, spell(&field.ty), self.schema.version, self.next());
        let report = if *was == is {
            Report::new(&field.ty, format!("what `{is}` stores changed, and version {version} of `{name}` does not say so"))
                .help(format!(
                    "a type inside it has other members, variants or names than stored sessions hold; keep the old one beside it, and write\n          #[session({})]",
                    change(next, &old(name, &is), &is)
                ))
                .help("if only variants were added at the end of an enum, mark them `#[session(appended)]`: then nothing changed".to_owned())
                .help("if something was only renamed in Rust, give it its old name: `#[session(key = \"old_name\")]` inside that type".to_owned())
        } else {
            Report::new(&field.ty, format!("`{name}` changed type from `{was}` to `{is}`, and version {version} does not say so"))
                .help(format!("stored sessions still hold a `{was}`; write\n          #[session({})]", change(next, was, &is)))
                .help(format!(
                    "or let older versions see the default:\n          #[session(changed(in = {next}, from = {was}, up = <fn({was}) -> {is}>, forget))]"
                ))
        };
        self.noted(self.raised(report))
    }

    /// `opaque` came or went.
    fn stored_otherwise(&self, field: &model::Field, generation: &Generation, form: &Form) -> Report {
        let (name, key, was, is, next) = (&field.name, field.stored(), &form.ty, spell(&field.ty), self.next());
        let report = match generation.storage {
            Storage::Opaque(span) => Report::at(span, format!("`{name}` was not `opaque`, and what is stored has the compact encoding"))
                .help(format!(
                    "remove `opaque`, or store it under another name, made of the old value:\n          #[session(opaque, key = \"{key}_2\", from({key}: {was}, with = <fn({was}) -> {is}>))]"
                ))
                .help(format!("and on the struct: `{}`", removed(key, was, form.shape, None, next))),
            Storage::Shaped => Report::new(&generation.ty, format!("`{name}` was `opaque`, and what is stored is JSON")).help(format!(
                "mark it `opaque` again, or say that this changed:\n          #[session(changed(in = {next}, from = {was}, opaque, up = <fn({was}) -> {is}>, down = <fn(&{is}) -> {was}>))]"
            )),
        };
        self.noted(self.raised(report))
    }

    /// A `from` type that is not what is stored.
    fn misnamed(&self, field: &model::Field, generation: &Generation, form: &Form) -> Report {
        let (name, is, was) = (&field.name, spell(&generation.ty), &form.ty);
        let report = if *was == is {
            Report::new(
                &generation.ty,
                format!("`{is}` is not what `{name}` was when version {} was recorded: its shape changed", self.lock.version),
            )
            .help(format!("keep the old type as it was, and name it here, e.g. `from = {}`", old(name, &is)))
        } else {
            Report::new(&generation.ty, format!("`{name}` changes from `{was}`, not from `{is}`"))
                .help(format!("write `from = {was}`"))
        };
        self.noted(report)
    }

    /// What a field is computed from, where it is recorded.
    fn sources(&mut self, field: &model::Field) {
        let Some(from) = &field.from else { return };
        for source in &from.sources {
            let key = &source.key.stored;
            let (shape, was) = match (self.lock.fields.get(key), self.lock.removed.get(key)) {
                (Some(field), _) => (field.now.shape, &field.now.ty),
                (None, Some(removed)) => (removed.shape, &removed.ty),
                (None, None) => continue,
            };
            let otherwise = self.misread(field, source, shape, was);
            let (ty, storage) = (source.ty.clone(), source.storage);
            self.same_type(ty, storage, shape, otherwise);
        }
    }

    /// A source that is not what is stored.
    fn misread(&self, field: &model::Field, source: &model::Source, shape: Shape, was: &str) -> Report {
        let (name, key, is) = (&field.name, &source.key.stored, spell(&source.ty));
        let gone = self.schema.removed.iter().find(|removed| removed.key == source.key);
        let version = gone.map_or_else(|| self.next(), |removed| removed.version);
        let attribute = removed(key, was, shape, source.key.generation, version);
        let report = match (source.storage, shape) {
            (Storage::Opaque(span), Shape::Hash(_)) => {
                Report::at(span, format!("`{key}` was not `opaque`, and what is stored has the compact encoding"))
                    .help(format!("write `{attribute}`"))
            }
            (Storage::Shaped, Shape::Opaque) => {
                Report::new(&source.ty, format!("`{key}` was `opaque`, and what is stored is JSON"))
                    .help(format!("say so on the struct: `{attribute}`"))
            }
            _ if was == is => Report::new(
                &source.ty,
                format!("`{is}` is not what `{key}` was when version {} was recorded: its shape changed", self.lock.version),
            )
            .help(format!("keep the old type as it was, and name it here and on the struct, e.g. `{key}: {}`", old(key, &is))),
            _ => {
                Report::new(&source.ty, format!("`{name}` is computed from `{key}`, which is stored as `{was}`, not as `{is}`"))
                    .help(format!("write `from({key}: {was}, ..)`, and on the struct `{attribute}`"))
            }
        };
        self.noted(report)
    }

    /// Names that are out of use stay out of use.
    fn removed(&mut self) {
        let (lock, schema) = (self.lock, self.schema);
        for (key, locked) in &lock.removed {
            let version = locked.in_version;
            let attribute = removed(key, &locked.ty, locked.shape, locked.generation, version);
            match schema.removed.iter().find(|removed| removed.key.stored == *key) {
                Some(removed) if removed.version == version && removed.key.generation == locked.generation => {}
                Some(removed) => self.refuse(
                    Report::new(&removed.ident, format!("`{key}` was removed otherwise, in version {version}"))
                        .help(format!("write `{attribute}`")),
                ),
                None if schema.fields.iter().any(|field| field.stored() == key) => {}
                None => self.refuse(
                    Report::new(
                        &schema.ident,
                        format!("`{key}` was removed in version {version}, and the struct no longer says so"),
                    )
                    .help(format!("put it back, so that nobody takes the name for something else: `#[session({attribute})]`")),
                ),
            }
        }
        for removed in &schema.removed {
            let key = &removed.key.stored;
            if !lock.removed.contains_key(key) && !lock.fields.contains_key(key) {
                self.declared(format!("keeps the name `{key}` from being used"));
            }
        }
    }

    fn same(&mut self, generation: &Generation, shape: Shape, otherwise: Report) {
        let otherwise = if otherwise.has_note() { otherwise } else { self.noted(otherwise) };
        self.same_type(generation.ty.clone(), generation.storage, shape, otherwise);
    }

    /// A type must have a recorded shape; where either is self-describing, no compiler is needed to tell.
    fn same_type(&mut self, ty: TokenStream, storage: Storage, shape: Shape, otherwise: Report) {
        match (storage, shape) {
            (Storage::Shaped, Shape::Hash(shape)) => self.verdict.assertions.push(Assertion { ty, shape, otherwise }),
            (Storage::Opaque(_), Shape::Opaque) => {}
            (Storage::Shaped, Shape::Opaque) | (Storage::Opaque(_), Shape::Hash(_)) => self.verdict.refused.push(otherwise),
            // There is nothing to compare with; a recorded lock has no holes.
            (_, Shape::Unknown | Shape::Of(_)) => {}
        }
    }
}

/// The new field that a missing one probably became: of the same type, and of the nearest name.
fn renamed<'a>(gone: &str, was: &Form, new: &[&'a model::Field]) -> Option<&'a model::Field> {
    let alike: Vec<&str> = new.iter().filter(|field| spell(&field.ty) == was.ty).map(|field| field.name.as_str()).collect();
    let likely = match alike[..] {
        [] => suggest(gone, new.iter().map(|field| field.name.as_str())),
        [only] => Some(only),
        _ => suggest(gone, alike.iter().copied()).or(alike.first().copied()),
    };
    new.iter().copied().find(|field| Some(field.name.as_str()) == likely)
}
