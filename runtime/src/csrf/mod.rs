//! Cross-site request forgery: the token that a form carries.

mod token;

pub use self::token::CsrfToken;
