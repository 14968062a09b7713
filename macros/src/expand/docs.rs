//! The words of the generated documentation, each line with the leading space that `///` gives.

use crate::model::{Field, Merge, Role, Rule, Schema, Secrecy, Stay, Storage};

/// Above the struct that a handler sees.
pub(super) fn accessors(schema: &Schema) -> String {
    format!(" The fields of [`{}`] in a session.", schema.ident)
}

/// Below the user's own words on a field.
pub(super) fn field(field: &Field) -> String {
    let storage = match field.storage {
        Storage::Shaped => "",
        Storage::Opaque(_) => ", in JSON",
    };
    let seal = match field.secrecy {
        Secrecy::Plain => "",
        Secrecy::OfField(_) | Secrecy::OfStruct => ", sealed",
    };
    let merge = match &field.merge {
        Merge::Last => "of two concurrent changes the later wins".to_owned(),
        Merge::Strict => "of two concurrent changes the later is refused".to_owned(),
        Merge::Rule(Rule::Add, _) => "concurrent changes add up".to_owned(),
        Merge::Rule(Rule::Max, _) => "of two concurrent changes the larger value wins".to_owned(),
        Merge::Rule(Rule::Min, _) => "of two concurrent changes the smaller value wins".to_owned(),
        Merge::Rule(Rule::Union, _) => "concurrent additions and removals all count".to_owned(),
        Merge::Function(path) => format!("`{}` merges concurrent changes", path.to_string().replace(' ', "")),
    };
    let role = match field.role {
        Role::Data => "",
        Role::Owner => " The owner of the session: a change rotates the token, and takes the other fields with it.",
        Role::Privilege => " A change rotates the token.",
    };
    let stay = match field.stay {
        Stay::WithItsOwner => "",
        Stay::Kept => " It stays when the owner changes.",
    };
    format!(" Stored as `{}`{storage}{seal}; {merge}.{role}{stay}", field.key())
}
