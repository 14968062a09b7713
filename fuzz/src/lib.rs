//! What the fuzz targets have in common with the tests, which replay the corpus in every run.

#[path = "../../tests/src/allocations.rs"]
mod allocations;
mod everything;
#[path = "../../tests/src/grammar.rs"]
mod grammar;
pub mod targets;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;
