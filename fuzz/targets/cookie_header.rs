//! Fuzzes `targets::cookie_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::targets::cookie_header(bytes));
