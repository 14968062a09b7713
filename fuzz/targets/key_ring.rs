//! Fuzzes `targets::key_ring`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cloakroom_fuzz::targets::key_ring(bytes));
