//! Cross-site request forgery: the token that a form carries, and the layer that refuses what other sites send.

mod layer;
mod origin;
mod source;
mod token;

pub(crate) use self::origin::Origin;
pub use self::{
    layer::{SameOriginFuture, SameOriginLayer, SameOriginService},
    origin::OriginError,
    token::CsrfToken,
};
