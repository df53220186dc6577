//! Alerts: what each receiver is told, and how it gets there.
//!
//! What is so comes from the board; each receiver compares it with what it was told, and
//! what differs becomes a message that waits in its queue on disk until it is delivered.

pub mod command;
pub mod deliver;
pub mod forms;
mod posts;
pub mod receiver;
pub mod run;

pub use posts::{Posts, load};

#[cfg(test)]
mod examples;
