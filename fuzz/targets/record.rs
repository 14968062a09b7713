//! Fuzzes `targets::record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::targets::record(bytes));
