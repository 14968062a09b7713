//! Who a session belongs to: one field says it, others say what they may do, and what stays when they go.

use crate::{
    diag::{Errors, Report},
    model::{Role, Stay},
    syntax::{Attrs, RawMerge},
};
use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;

/// The owner field, once one was seen.
#[derive(Default)]
pub(super) struct Owner(Option<Ident>);

impl Owner {
    /// Without an owner nobody is signed in, whatever else a struct says.
    pub(super) fn check_authenticated(&self, authenticated: Option<&TokenStream>, errors: &mut Errors) {
        if let (None, Some(path)) = (&self.0, authenticated) {
            errors.push(
                Report::new(path, "`authenticated` says when somebody who is signed in may pass, and no field says who it is")
                    .help("mark the field that says it: `#[session(owner)] user: Option<UserId>`"),
            );
        }
    }
}

pub(super) fn role(ident: &Ident, attrs: &Attrs, seen: &mut Owner, errors: &mut Errors) -> Role {
    let Some(owner) = &attrs.owner else {
        return attrs.privilege.as_ref().map_or(Role::Data, |_| Role::Privilege);
    };
    match &seen.0 {
        Some(other) => errors.push(
            Report::new(owner, format!("a session has one owner, and `{other}` is it already"))
                .help("where this is another person, as with an administrator who acts for a user: `#[session(privilege)]`"),
        ),
        None => seen.0 = Some(ident.clone()),
    }
    // The record's header and its index hold a hash of the owner, which has to be that of the field at any time and in every version.
    let merge = attrs.merge.as_ref().map(|merge| match merge {
        RawMerge::Rule(rule) => rule.to_token_stream(),
        RawMerge::Function(path) => path.clone(),
    });
    let excluded = [
        (
            attrs.changed.first().map(|changed| changed.at.clone()),
            "changed",
            "every session would belong to somebody else then",
        ),
        (attrs.from.as_ref().map(|from| from.with.clone()), "from", "every session would belong to somebody else then"),
        (attrs.ttl.as_ref().map(ToTokens::to_token_stream), "ttl", "sessions end by their `Lifetime`, and all of them with it"),
        (attrs.lossy.as_ref().map(ToTokens::to_token_stream), "lossy", "what stays would be a session of nobody"),
        (merge, "merge", "of two people who sign in at once each has a session of their own"),
        (attrs.default.clone(), "default", "in a new session nobody is signed in"),
    ];
    for (at, what, why) in excluded {
        if let Some(at) = at {
            errors.push(
                Report::new(at, format!("the owner cannot have `{what}`: {why}"))
                    .help(format!("remove `{what}` from `{ident}`")),
            );
        }
    }
    if let Some(privilege) = &attrs.privilege {
        errors.push(Report::new(privilege, "a change of the owner rotates the token already").help("remove `privilege`"));
    }
    if let Some(keep) = &attrs.keep {
        errors.push(
            Report::new(keep, "`keep` is for what survives a change of owner, and the owner itself cannot")
                .help("remove `keep`"),
        );
    }
    Role::Owner
}

pub(super) fn stay(attrs: &Attrs, errors: &mut Errors) -> Stay {
    let Some(keep) = &attrs.keep else { return Stay::WithItsOwner };
    if attrs.privilege.is_some() {
        errors.push(
            Report::new(keep, "a privilege belongs to whoever is signed in, so it cannot be kept for the next one")
                .help("remove `keep`, or `privilege` if anybody at this browser may have it"),
        );
    }
    Stay::Kept
}
