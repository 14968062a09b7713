//! Fuzzes `targets::sealed_cookie`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::targets::sealed_cookie(bytes));
