//! HTTP/1.1 (RFC 9110, RFC 9112), as little of it as the product needs: posting to a
//! receiver, and answering GET and HEAD. No TLS, no redirects.
//!
//! Always: whatever the other side sends or does not read, there is a deadline over it, and
//! what is kept of it is bounded.

pub mod access;
mod answer;
mod client;
pub mod reply;
pub mod request;
pub mod server;

pub use client::{ask, post};
