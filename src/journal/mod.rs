//! The append-only record store.
