//! Cross-site request forgery: the token that a form carries, and the layer that refuses what other sites send.

mod layer;
mod origin;
mod source;
mod token;

pub use self::{
    layer::{SameOriginFuture, SameOriginLayer, SameOriginService},
    origin::OriginError,
    token::CsrfToken,
};
pub(crate) use self::{origin::Origin, source::is_safe};
