//! Fuzzes `targets::cookie_policy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::targets::cookie_policy(bytes));
