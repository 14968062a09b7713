//! Stores on real servers that the tests start for themselves.

mod mysql;
