//! The messages between manager and agent.
