//! HTTP/1.1 (RFC 9110, RFC 9112), as little of it as the product needs: posting to a
//! webhook. No TLS, no redirects, one request a connection.
//!
//! Always: one deadline over all of it, and whatever the other side sends, what is kept of
//! it is bounded.

mod answer;
mod client;

pub use client::post;
