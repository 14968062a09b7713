//! Names of fields, types and modules around the derive never get in its way.
#![deny(warnings)]
#![allow(dead_code)]

use cloakroom::{SessionData as _, SessionValue as _};

mod std {}
mod core {}
mod alloc {}
mod cloakroom_private {}

/// Methods on everything, with the names of the methods that the expansion calls.
trait Nosy {
    fn field(&self) {}
    fn default(&self) {}
    fn unbound(&self) {}
    fn merge(&self) {}
    fn eq(&self) {}
    fn validate(&self) {}
    fn text(&self) {}
    fn finish(&self) {}
}
impl<T> Nosy for T {}

#[allow(unused_macros)]
macro_rules! concat {
    () => {};
}
#[allow(unused_macros)]
macro_rules! module_path {
    () => {};
}

mod result {
    #[derive(cloakroom::SessionData)]
    pub struct Result {
        pub r#type: u8,
        pub self_: u8,
        pub save: u8,
        pub get: u8,
        pub id: u8,
        pub def: u8,
        pub field: u8,
        pub from: u8,
        pub visit: u8,
        pub r#async: bool,
    }
}

mod option {
    #[derive(cloakroom::SessionData)]
    pub struct Option {
        pub some: u8,
    }
}

mod values {
    #[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
    pub struct Default {
        pub r#type: u8,
    }
    #[allow(clippy::enum_variant_names)]
    #[derive(serde::Serialize, serde::Deserialize, cloakroom::SessionValue)]
    pub enum Shape {
        Ok,
        Err { r#fn: u8 },
        Some(u8),
    }
}

#[derive(cloakroom::SessionData)]
struct Field {
    value: u8,
}

#[derive(cloakroom::SessionData)]
struct SessionData {
    bool: bool,
}

#[allow(non_camel_case_types)]
#[derive(cloakroom::SessionData)]
struct r#struct {
    inner: u8,
}

fn main() {
    let mut fields = result::ResultFields::from(result::Result::initial());
    *fields.r#type += 1;
    *fields.save += 1;
    ::std::assert_eq!(fields.r#type, 1);
    let fields = option::OptionFields::from(option::Option::initial());
    ::std::assert_eq!(fields.some, 0);
    let _ = (FieldFields::from(Field::initial()), structFields::from(r#struct::initial()));
    let _ = (values::Default::SHAPE, values::Shape::SHAPE);
}
