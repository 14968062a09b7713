//! The derives of cloakroom.
use proc_macro::TokenStream;
/// x
#[proc_macro_derive(SessionData, attributes(session))]
pub fn a(_: TokenStream) -> TokenStream { TokenStream::new() }
/// x
#[proc_macro_derive(SessionValue, attributes(session))]
pub fn b(_: TokenStream) -> TokenStream { TokenStream::new() }
